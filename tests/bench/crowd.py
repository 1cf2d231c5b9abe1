"""Many callers with live sessions over many clusters: how evenly they are served, and whether memory stays flat."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from tests.bench import processes
from tests.bench.embedded import World, embedded
from tests.bench.fleet import ARGUMENTS
from tests.bench.load import HANDSHAKE, Client, Figures, Target, figures_of
from tests.bench.plan import Plan
from tests.bench.processes import tell
from tests.bench.report import Result, Table

PRINCIPALS = 500
CLUSTERS = 20
PAUSES = (4.0, 0.0)
"""Seconds between two calls of one caller: as many as agents are, and none at all."""
LOADS = 3
"""Loads of each kind one after another, between which memory is looked at."""


@dataclass(frozen=True, slots=True)
class _Load:
    figures: Figures
    kib: float


def run(plan: Plan) -> Result:
    """Open all sessions, then let everybody call for a while."""
    rows = asyncio.run(_measured(max(plan.seconds * 2, 4.0)))
    return Result("crowd", [_table(rows)], rows)


async def _measured(seconds: float) -> list[dict[str, Any]]:
    tell(f"crowd: starting {CLUSTERS} embedded clusters")
    world_of = World(clusters=CLUSTERS, callers=PRINCIPALS // CLUSTERS)
    with TemporaryDirectory() as folder, embedded(world_of) as world:
        sections = [cluster.listed() for cluster in world.clusters]
        with processes.gateway(Path(folder), sections) as served:
            url = f"http://127.0.0.1:{served.port}/mcp"
            clients = []
            for cluster in world.clusters:
                for token in cluster.tokens:
                    target = Target(cluster.name, url, token, "resource_get", ARGUMENTS, served.pid)
                    clients.append(await Client.opened(target, HANDSHAKE))
                    await clients[-1].call()
                tell(f"crowd: {len(clients)} sessions")
            loads = {pause: await _loads(clients, served.pid, pause, seconds) for pause in PAUSES}
            for client in clients:
                client.close()
    return [_row(pause, found) for pause, found in loads.items()]


async def _loads(clients: Sequence[Client], pid: int, pause: float, seconds: float) -> list[_Load]:
    loads = []
    for number in range(LOADS + 1):
        tell(f"crowd: {len(clients)} callers, {pause:g} s between calls, load {number} of {LOADS}")
        times: list[float] = []
        cpu, started = processes.cpu_seconds(pid), perf_counter()
        until = started + seconds
        await asyncio.gather(*(_calls(client, pause, until, times) for client in clients))
        found = figures_of(times, perf_counter() - started, processes.cpu_seconds(pid) - cpu)
        loads.append(_Load(found, processes.resident(pid)))
    return loads


async def _calls(client: Client, pause: float, until: float, times: list[float]) -> None:
    """Call at times that hang on nobody else's, with a pause between that is this long on average."""
    while True:
        wait = random.uniform(0, 2 * pause)  # noqa: S311  # no secret hangs on it
        if perf_counter() + wait >= until:
            return
        if wait:
            await asyncio.sleep(wait)
        started = perf_counter()
        await client.exchange(client.prepared)
        times.append(perf_counter() - started)


def _row(pause: float, loads: Sequence[_Load]) -> dict[str, Any]:
    # The first one warms: buffers and counters that come with the first call of many at once.
    counted = [load.figures for load in loads[1:]]
    return {
        "pause": pause,
        "calls_per_second": median(each.calls_per_second for each in counted),
        "p50": median(each.p50 for each in counted),
        "p99": median(each.p99 for each in counted),
        "p99_over_p50": median(each.p99 / each.p50 for each in counted),
        "cpu": median(each.cpu for each in counted),
        "megabytes": [load.kib / 1024 for load in loads],
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        f"{PRINCIPALS} principals with live sessions over {CLUSTERS} clusters",
        ("each calls", "calls/s", "p50 ms", "p99 ms", "p99 over p50", "MB after each load"),
        [
            (
                f"every {row['pause']:g} s or so" if row["pause"] else "without a pause",
                f"{row['calls_per_second']:,.0f}",
                f"{row['p50']:.1f}",
                f"{row['p99']:.1f}",
                f"{row['p99_over_p50']:.1f}",
                ", ".join(f"{each:.1f}" for each in row["megabytes"]),
            )
            for row in rows
        ],
        "Handshake era, one connection each; clusters, callers and gateway share the machine. The aim is 3.",
    )
