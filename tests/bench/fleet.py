"""Many clusters: what a listed one costs while nobody calls it, what a warm one costs, and how long a start takes.

`python -m tests.bench.run --only fleet` runs embedded clusters in one process and gateways in others.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from gateway.demo.identity import Authority
from tests.bench import processes
from tests.bench.embedded import NAME, NAMESPACE, Reached, World, embedded
from tests.bench.load import MODERN, Client, Target
from tests.bench.plan import Plan
from tests.bench.processes import tell
from tests.bench.report import Result, Spread, Table

LISTED = (1, 200, 1000)
WARM = 200
BATCH = 50
AT_ONCE = 16
ARGUMENTS = {"resource": "configmaps", "name": NAME, "namespace": NAMESPACE}


def run(plan: Plan) -> Result:
    """Start gateways with more and more clusters, then call each of many."""
    with TemporaryDirectory() as folder:
        starts = _starts(Path(folder), plan.rounds)
        warm = asyncio.run(_warm(Path(folder)))
    return Result("fleet", [_starts_table(starts), _warm_table(warm)], {"starts": starts, "warm": warm})


def _starts(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Start with so many clusters in the settings, each with a CA of its own, in turns, as what is installed starts."""
    tell(f"fleet: making {max(LISTED)} CAs")
    sections = [
        {
            "name": f"idle-{n}",
            "server": f"https://192.0.2.1:{1024 + n}",
            "certificateAuthorityData": Authority.new(f"idle-{n}").pem().decode(),
        }
        for n in range(max(LISTED))
    ]
    # pip and the image compile what they install. Here the first start does, whose times nobody wants.
    installed = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    with processes.gateway(folder, sections[:1], environment=installed):
        pass
    seen: dict[int, list[dict[str, float]]] = {count: [] for count in LISTED}
    for number in range(rounds):
        for count in LISTED:
            tell(f"fleet: start with {count} clusters, round {number + 1}")
            with processes.gateway(folder, sections[:count], environment=installed) as served:
                seen[count].append(
                    {
                        "seconds": served.start_seconds,
                        "cpu": served.start_cpu,
                        "kib": processes.resident(served.pid),
                        "sockets": processes.sockets(served.pid),
                    }
                )
    least = {key: median(each[key] for each in seen[LISTED[0]]) for key in ("kib", "sockets")}
    return [
        {
            "clusters": count,
            "seconds": Spread.of([each["seconds"] for each in found]).json(),
            "cpu": Spread.of([each["cpu"] for each in found]).json(),
            "more_kib": median(each["kib"] for each in found) - least["kib"],
            "more_sockets": median(each["sockets"] for each in found) - least["sockets"],
        }
        for count, found in seen.items()
    ]


async def _warm(folder: Path) -> list[dict[str, Any]]:
    """Call each cluster once, so many at a time, and see what the process holds after each batch."""
    tell(f"fleet: starting {WARM} embedded clusters")
    with embedded(World(clusters=WARM)) as world:
        sections = [cluster.listed() for cluster in world.clusters]
        with processes.gateway(folder, sections) as served:
            url = f"http://127.0.0.1:{served.port}/mcp"
            rows = []
            # The first cluster pays for what all share.
            held = await _batch(url, world.clusters[:1], served.pid)
            for start in range(1, WARM, BATCH):
                tell(f"fleet: first calls from cluster {start}")
                batch = world.clusters[start : start + BATCH]
                began = perf_counter()
                kib = await _batch(url, batch, served.pid)
                ms = (perf_counter() - began) / len(batch) * 1000
                rows.append({"warm": start + len(batch), "kib_each": (kib - held) / len(batch), "ms_each": ms})
                held = kib
            return rows


async def _batch(url: str, clusters: Sequence[Reached], pid: int) -> float:
    """Call each cluster once and return the gateway's memory in KiB then."""
    free = asyncio.Semaphore(AT_ONCE)

    async def call(cluster: Reached) -> None:
        async with free:
            target = Target(cluster.name, url, cluster.tokens[0], "resource_get", ARGUMENTS)
            client = await Client.opened(target, MODERN)
            await client.call()
            client.close()

    await asyncio.gather(*(call(cluster) for cluster in clusters))
    return processes.resident(pid)


def _starts_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "Starting with many clusters in the settings, each with its own CA",
        ("clusters", "seconds to /readyz", "CPU seconds", "memory over one cluster MB", "sockets over one cluster"),
        [
            (
                f"{row['clusters']:,}",
                str(Spread(**row["seconds"])),
                str(Spread(**row["cpu"])),
                f"{row['more_kib'] / 1024:.1f}",
                f"{row['more_sockets']:.0f}",
            )
            for row in rows
        ],
        "Nobody is dialled; modules are compiled, as installed ones are. The aims: 1.5 s, and 5 MB for a thousand.",
    )


def _warm_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        f"One call to each of {WARM} clusters",
        ("clusters warm", "memory of each further one KB", "ms of a first call"),
        [(str(row["warm"]), f"{row['kib_each']:.0f}", f"{row['ms_each']:.0f}") for row in rows],
        f"First calls are made {AT_ONCE} at a time. The aim is 250 KB.",
    )
