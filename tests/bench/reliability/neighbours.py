"""Twenty healthy clusters with none, five and twenty dead ones beside them, which are called just as much."""

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.embedded import Embedded, World, embedded
from tests.bench.processes import Served, gateway, tell
from tests.bench.reliability.choice import Choice, on_cores
from tests.bench.reliability.paced import call_at_pace, target, warm
from tests.bench.report import Result, Spread, Table

HEALTHY, DEAD = 20, (5, 15)
PACE = 5.0
"""Calls a second to each cluster."""


def run(choice: Choice) -> Result:
    """Measure, in turns, and return the 99th percentiles of the healthy clusters' callers."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        healthy = stack.enter_context(embedded(World(clusters=HEALTHY)))
        dying = [stack.enter_context(embedded(World(clusters=count))) for count in DEAD]
        listed = [each.listed() for each in healthy.clusters]
        for number, world in enumerate(dying):
            listed += [{**each.listed(), "name": f"dead{number}-{each.name}"} for each in world.clusters]
        served = stack.enter_context(gateway(Path(folder), listed, rateLimiting=False))
        on_cores(served.pid, healthy.pid, *(world.pid for world in dying))
        return asyncio.run(_measured(choice, served, healthy, dying))


async def _measured(choice: Choice, served: Served, healthy: Embedded, dying: list[Embedded]) -> Result:
    well = [target(served, each) for each in healthy.clusters]
    dead = [[target(served, each) for each in world.clusters] for world in dying]
    await warm([*well, *dead[0], *dead[1]])
    for world in dying:
        os.kill(world.pid, signal.SIGSTOP)
    beside = {0: [], 5: dead[0], 20: [*dead[0], *dead[1]]}
    found: dict[int, list[float]] = {count: [] for count in beside}
    ends: dict[int, dict[str, int]] = {}
    try:
        for number in range(choice.rounds):
            for count, others in beside.items():
                tell(f"neighbours: round {number + 1}, {count} dead")
                well_seen, dead_seen = await asyncio.gather(
                    call_at_pace(well, PACE, choice.seconds), call_at_pace(others, PACE, choice.seconds)
                )
                assert set(well_seen.ends) == {"ok"}, well_seen.ends
                assert "ok" not in dead_seen.ends, dead_seen.ends
                found[count].append(well_seen.p99)
                ends[count] = dict(dead_seen.ends)
    finally:
        for world in dying:
            os.kill(world.pid, signal.SIGCONT)
    base = Spread.of(found[0]).median
    rows = [
        (str(count), str(Spread.of(times)), f"{Spread.of(times).median / base:.2f}", str(sum(ends[count].values())))
        for count, times in found.items()
    ]
    table = Table(
        f"p99 of {HEALTHY} healthy clusters' calls",
        ("dead clusters beside them", "p99 in ms (least-most)", "ratio", "calls to the dead in a round"),
        rows,
        f"Each cluster is called {PACE:g} times a second for {choice.seconds:g} s. The dead accept connections and say "
        "nothing; all of their calls end as errors. Aim: at most 1.10.",
    )
    return Result("neighbours", [table], {str(count): times for count, times in found.items()})
