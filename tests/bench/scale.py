"""More replicas behind a plain balancer: calls a second of each replica, and CPU time of a call, which must not grow.

The clusters answer after 20 ms, as one does that is some way off; a replica then waits more than it works.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from tests.bench import processes
from tests.bench.embedded import Embedded, World, embedded
from tests.bench.fleet import ARGUMENTS
from tests.bench.load import MODERN, Client, Target, figures_of
from tests.bench.plan import Plan
from tests.bench.processes import Served, tell
from tests.bench.report import Result, Spread, Table
from tests.ports import free_port, wait_for_port

REPLICAS = (1, 2, 4)
CLUSTERS = 4
LATENCY = 0.02
LOADS = {"1 caller a replica": 1, "32 callers a replica": 32}
"""Callers of each replica, one call at a time each: fewer, and more, than the machine has time for."""
BALANCER = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend agents
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    http-reuse always
"""


@dataclass(frozen=True, slots=True)
class _Load:
    """Calls a second, the median in ms, and µs of CPU a call: of its replica, the balancer, the clusters."""

    calls_per_second: float
    p50: float
    own: float
    balancer: float
    clusters: float


@dataclass(frozen=True, slots=True)
class Callers:
    """How many call this endpoint, and for how many seconds."""

    url: str
    count: int
    seconds: float


def run(plan: Plan) -> Result:
    """Start clusters and replicas once, and a balancer for each number of them."""
    if shutil.which("haproxy") is None:
        note = "Not measured: there is no haproxy here."
        return Result("scale", [Table("Replicas behind a balancer", ("replicas",), [], note)], [])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        tell("scale: starting clusters and replicas")
        world = stack.enter_context(embedded(World(clusters=CLUSTERS, latency=LATENCY)))
        sections = [cluster.listed() for cluster in world.clusters]
        replicas = [stack.enter_context(processes.gateway(folder, sections)) for _ in range(max(REPLICAS))]
        rows = _rows(plan, folder, world, replicas)
    return Result("scale", [_table(rows)], rows)


def _rows(plan: Plan, folder: Path, world: Embedded, replicas: Sequence[Served]) -> list[dict[str, Any]]:
    seen: dict[tuple[str, int], list[_Load]] = {(load, count): [] for load in LOADS for count in REPLICAS}
    with ExitStack() as stack:
        balancers = {n: stack.enter_context(_balancer(folder, replicas[:n])) for n in REPLICAS}
        for number in range(plan.rounds):
            for (load, count), found in seen.items():
                tell(f"scale: {count} replicas, {load}, round {number + 1}")
                port, pid = balancers[count]
                url = f"http://127.0.0.1:{port}/mcp"
                clients = Callers(url, LOADS[load] * count, plan.seconds)
                found.append(asyncio.run(_loaded(world, replicas[:count], pid, clients)))
    rows = []
    for (load, count), found in seen.items():
        one = seen[load, REPLICAS[0]]
        ratios = [
            each.calls_per_second / count / single.calls_per_second for each, single in zip(found, one, strict=True)
        ]
        rows.append(
            {
                "load": load,
                "replicas": count,
                "per_replica": median(each.calls_per_second for each in found) / count,
                "of_one": Spread.of(ratios).json(),
                **{key: median(getattr(each, key) for each in found) for key in _Load.__slots__},
            }
        )
    return rows


async def _loaded(world: Embedded, replicas: Sequence[Served], balancer: int, callers: Callers) -> _Load:
    clients = []
    for number in range(callers.count):
        cluster = world.clusters[number % CLUSTERS]
        target = Target(cluster.name, callers.url, cluster.tokens[0], "resource_get", ARGUMENTS)
        clients.append(await Client.opened(target, MODERN))
        for _ in replicas:  # so that each has met this token
            await clients[-1].call()
    pids = {"own": [each.pid for each in replicas], "balancer": [balancer], "clusters": [world.pid]}
    before = {name: sum(map(processes.cpu_seconds, each)) for name, each in pids.items()}
    times: list[float] = []
    started = perf_counter()
    await asyncio.gather(*(client.repeat(started + callers.seconds, times) for client in clients))
    elapsed = perf_counter() - started
    cpu = {name: sum(map(processes.cpu_seconds, each)) - before[name] for name, each in pids.items()}
    for client in clients:
        client.close()
    figures = figures_of(times, elapsed, 0)
    return _Load(figures.calls_per_second, figures.p50, **{name: each / len(times) * 1e6 for name, each in cpu.items()})


@contextmanager
def _balancer(folder: Path, replicas: Sequence[Served]) -> Iterator[tuple[int, int]]:
    """Run haproxy before these; return its port and process."""
    port = free_port()
    file = folder / f"haproxy-{port}.cfg"
    servers = [f"    server r{n} 127.0.0.1:{served.port}\n" for n, served in enumerate(replicas)]
    file.write_text("".join([BALANCER.format(port=port), *servers]))
    process = subprocess.Popen(["haproxy", "-db", "-q", "-f", file], stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port, process.pid
    finally:
        processes.end(process)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        f"Replicas behind haproxy, before {CLUSTERS} clusters that answer after {LATENCY * 1000:.0f} ms",
        ("load, replicas", "calls/s", "of each", "beside one alone", "p50 ms", "CPU µs a call", "balancer", "clusters"),
        [
            (
                f"{row['load']}, {row['replicas']}",
                f"{row['calls_per_second']:,.0f}",
                f"{row['per_replica']:,.0f}",
                str(Spread(**row["of_one"])),
                f"{row['p50']:.1f}",
                *(f"{row[name]:,.0f}" for name in ("own", "balancer", "clusters")),
            )
            for row in rows
        ],
        "Client, balancer, clusters and replicas share the machine. Where the CPU time of a call times the calls is "
        "about what its cores have, the machine is the limit, and CPU time a call is what can be compared.",
    )
