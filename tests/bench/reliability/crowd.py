"""Many clusters and many principals for minutes on end: does the memory stay where it is?"""

import asyncio
import itertools
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.embedded import Embedded, World, embedded
from tests.bench.load import MODERN, Client
from tests.bench.processes import Served, gateway, resident, tell
from tests.bench.reliability.choice import Choice, on_cores
from tests.bench.reliability.paced import target, warm
from tests.bench.report import Result, Table

CONNECTIONS = 16
PACE = 100.0
"""Calls a second, in all."""
SAMPLE = 5.0
"""Seconds between two looks at the memory."""


def run(choice: Choice) -> Result:
    """Let all principals call in turn, and compare the memory after a fifth of the time with that at the end."""
    callers = max(1, round(choice.principals / choice.clusters))
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = stack.enter_context(embedded(World(clusters=choice.clusters, callers=callers + 1)))
        listed = [each.listed() for each in world.clusters]
        served = stack.enter_context(gateway(Path(folder), listed))
        on_cores(served.pid, world.pid)
        return asyncio.run(_measured(choice, served, world))


async def _measured(choice: Choice, served: Served, world: Embedded) -> Result:
    everybody = [(cluster, number) for number in range(len(world.clusters[0].tokens)) for cluster in world.clusters]
    targets = [target(served, cluster, number) for cluster, number in everybody[: choice.principals]]
    tell("crowd: first calls")
    await warm(targets)
    started = time.perf_counter()
    until = started + choice.minutes * 60
    turns = itertools.cycle(targets)
    samples: list[tuple[float, float]] = []
    calls = 0

    async def caller() -> None:
        nonlocal calls
        due = time.perf_counter()
        while due < until:
            client = await Client.opened(next(turns), MODERN)
            for _ in range(10):
                due += CONNECTIONS / PACE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await client.call()
                calls += 1
            client.close()

    async def look() -> None:
        while (now := time.perf_counter()) < until:
            samples.append((now - started, resident(served.pid) / 1024))
            tell(f"crowd: {(now - started) / 60:.1f} min, {samples[-1][1]:.1f} MiB, {calls} calls")
            await asyncio.sleep(SAMPLE)

    await asyncio.gather(look(), *(caller() for _ in range(CONNECTIONS)))
    early = [megabytes for seconds, megabytes in samples if seconds >= choice.minutes * 60 / 5][:6]
    late = [megabytes for _, megabytes in samples][-6:]
    first, last = max(early), max(late)
    rows = [(f"{calls:,}", f"{first:.1f}", f"{last:.1f}", f"{(last / first - 1) * 100:+.1f} %")]
    table = Table(
        f"Memory of one process with {len(world.clusters)} clusters and {len(targets)} principals",
        (
            "calls",
            f"MiB after {choice.minutes / 5:g} min",
            f"MiB after {choice.minutes:g} min",
            "growth",
        ),
        rows,
        f"About {PACE:g} calls a second, each principal in turn, on connections that end after ten calls. Aim: at most "
        "5 %.",
    )
    return Result("crowd", [table], {"calls": calls, "samples": samples})
