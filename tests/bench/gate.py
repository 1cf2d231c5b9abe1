"""The regression gate of the warm call: what is counted, by itself or as a ratio to the floor's; never a time alone.

`python -m tests.bench.gate` takes a minute and fails with a line for each bound that does not hold. After a change that
is worth its cost, `--record` writes what is counted now into gate.json, as the bound for this version of Python.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gateway.cli.serve import loop_factory
from tests.bench.embedded import Embedded, World, embedded
from tests.bench.inprocess import App, both, counted, microseconds
from tests.bench.instructions import available, instructions
from tests.bench.load import GENERATIONS

RECORDED: Final = Path(__file__).with_name("gate.json")
ROOM: Final = 1.05
"""How far above what was recorded the number of Python functions may be."""
INSTRUCTIONS: Final = 1.03
"""How many times the floor's instructions a call may take, every check, metric and audit line included."""
CPU_RATIO: Final = 1.5
"""The same in CPU time, where instructions can't be counted; for machines that do something else meanwhile."""
CALLS: Final = 100
TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What warm calls took: requests and new connections each, Python functions, and how many times the floor.

    That is in `instructions`, or else, where these were not counted, in CPU time.
    """

    requests: float
    connections: float
    functions: int
    of_the_floor: float
    instructions: bool = field(default=True, kw_only=True)

    @property
    def unit(self) -> str:
        """In what it is compared with the floor."""
        return "instructions" if self.instructions else "CPU time"

    @property
    def bound(self) -> float:
        """How many times the floor it may be."""
        return INSTRUCTIONS if self.instructions else CPU_RATIO


def main() -> None:
    """Measure, show, and end with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="take what is counted now as the bound")
    record = parser.parse_args().record
    with embedded(World()) as world, asyncio.Runner(loop_factory=loop_factory()) as runner:
        seen = {
            generation: runner.run(_seen(world, generation, _instructions(world, generation)))
            for generation in GENERATIONS
        }
    bounds: dict[str, dict[str, int]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    version = ".".join(platform.python_version_tuple()[:2])
    if record:
        bounds[version] = {generation: found.functions for generation, found in seen.items()}
        RECORDED.write_text(json.dumps(bounds, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for generation, found in seen.items():
        bound = f"recorded {bounds[version][generation]}" if version in bounds else f"none recorded for {version}"
        sys.stdout.write(
            f"{generation}: {found.requests:g} API requests and {found.connections:g} new connections a call, "
            f"{found.functions} Python functions ({bound}), {found.of_the_floor:.3f} of the floor's {found.unit}\n"
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
        if found.of_the_floor > found.bound:
            what = f"{found.of_the_floor:.3f} of the floor's {found.unit}"
            yield f"{generation}: a warm call takes {what}; the bound is {found.bound}"


def _instructions(world: Embedded, generation: str) -> float | None:
    """Return how many times the floor's instructions a call takes, None where they can't be counted."""
    if not available():
        sys.stdout.write("Instructions are not counted: valgrind is missing.\n")
        return None
    with TemporaryDirectory() as folder:
        try:
            found = instructions(world.clusters[0], generation, Path(folder))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            sys.stdout.write(f"Instructions are not counted: {error}\n")
            return None
    return found["gateway"] / found["floor"]


async def _seen(world: Embedded, generation: str, ratio: float | None) -> Seen:
    with TemporaryDirectory() as folder:
        async with both(Path(folder), world.clusters[0], generation) as (floor, gateway):
            before = world.asked()[0]
            for _ in range(CALLS):
                await gateway.call()
            after = world.asked()[0]
            functions = (await counted(gateway)).python
            of_the_floor = await _ratio(floor, gateway) if ratio is None else ratio
    requests, connections = after.requests - before.requests, after.connections - before.connections
    return Seen(requests / CALLS, connections / CALLS, functions, of_the_floor, instructions=ratio is not None)


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
