"""The regression gate of the warm call: work that is counted, and CPU time as a ratio to the floor's, never by itself.

`python -m tests.bench.gate` takes seconds and fails with a line for each bound that does not hold. After a change that
is worth its cost, `--record` writes what is counted now into gate.json, as the bound for this version of Python.
"""

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gateway.cli.serve import loop_factory
from tests.bench.embedded import Embedded, World, embedded
from tests.bench.inprocess import App, both, counted, microseconds
from tests.bench.load import GENERATIONS

RECORDED: Final = Path(__file__).with_name("gate.json")
ROOM: Final = 1.05
"""How far above what was recorded the number of Python functions may be."""
CPU_RATIO: Final = 1.5
"""How much more CPU time than the floor a call may take, every check, metric and audit line included; it is 1.0 to 1.3,
and the rest is for machines that do something else meanwhile. What is counted is exact."""
CALLS: Final = 100
TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What warm calls took: requests and new connections for each of them, Python functions, CPU time of the floor."""

    requests: float
    connections: float
    functions: int
    cpu_ratio: float


def main() -> None:
    """Measure, show, and end with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="take what is counted now as the bound")
    record = parser.parse_args().record
    with embedded(World()) as world, asyncio.Runner(loop_factory=loop_factory()) as runner:
        seen = {generation: runner.run(_seen(world, generation)) for generation in GENERATIONS}
    bounds: dict[str, dict[str, int]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    version = ".".join(platform.python_version_tuple()[:2])
    if record:
        bounds[version] = {generation: found.functions for generation, found in seen.items()}
        RECORDED.write_text(json.dumps(bounds, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for generation, found in seen.items():
        bound = f"recorded {bounds[version][generation]}" if version in bounds else f"none recorded for {version}"
        sys.stdout.write(
            f"{generation}: {found.requests:g} API requests and {found.connections:g} new connections a call, "
            f"{found.functions} Python functions ({bound}), {found.cpu_ratio:.2f} of the floor's CPU time\n"
        )
    found_problems = list(problems(seen, bounds.get(version, {})))
    sys.stdout.writelines(f"FAILED: {problem}\n" for problem in found_problems)
    sys.exit(1 if found_problems else 0)


def problems(seen: Mapping[str, Seen], recorded: Mapping[str, int]) -> Iterator[str]:
    """Name each bound that does not hold; where nothing was recorded, functions have none."""
    for generation, found in seen.items():
        if found.requests != 1:
            yield f"{generation}: a warm call makes {found.requests:g} API requests instead of 1"
        if found.connections:
            yield f"{generation}: a warm call opens {found.connections:g} connections instead of none"
        bound = recorded.get(generation, sys.maxsize) * ROOM
        if found.functions > bound:
            yield f"{generation}: a warm call enters {found.functions} Python functions; the bound is {bound:.0f}"
        if found.cpu_ratio > CPU_RATIO:
            yield f"{generation}: a warm call takes {found.cpu_ratio:.2f} of the floor's CPU; the bound is {CPU_RATIO}"


async def _seen(world: Embedded, generation: str) -> Seen:
    with TemporaryDirectory() as folder:
        async with both(Path(folder), world.clusters[0], generation) as (floor, gateway):
            before = world.asked()[0]
            for _ in range(CALLS):
                await gateway.call()
            after = world.asked()[0]
            functions = (await counted(gateway)).python
            ratio = await _ratio(floor, gateway)
    requests, connections = after.requests - before.requests, after.connections - before.connections
    return Seen(requests / CALLS, connections / CALLS, functions, ratio)


async def _ratio(floor: App, gateway: App) -> float:
    """Compare the least that each took; a busy machine only ever adds, so it is given more turns before it fails."""
    least = {floor.name: float("inf"), gateway.name: float("inf")}
    for _ in range(TRIES):
        for name, times in (await microseconds((floor, gateway), turns=30)).items():
            least[name] = min(least[name], *times)
        if least[gateway.name] <= CPU_RATIO * least[floor.name]:
            break
    return least[gateway.name] / least[floor.name]


if __name__ == "__main__":
    main()
