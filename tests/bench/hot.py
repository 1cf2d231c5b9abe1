"""The warm `resource_get` of a 2 KB ConfigMap: the gateway beside the floor, and whoever else is named, in turns.

Rounds alternate, so that a machine whose speed drifts slows all alike; what counts is the ratio to the floor.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import processes
from tests.bench.embedded import TEXT
from tests.bench.load import GENERATIONS, CallFailedError, Figures, Target, measure
from tests.bench.plan import Plan
from tests.bench.report import Result, Spread, Table
from tests.cluster.cluster import RealCluster

CONNECTIONS = (1, 8)
CONFIG_MAP = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: two-kilobytes, namespace: demo}}
data: {{text: "{TEXT}"}}
"""
PATH = "/api/v1/namespaces/demo/configmaps/two-kilobytes"
ARGUMENTS = {"resource": "configmaps", "name": "two-kilobytes", "namespace": "demo"}
COLUMNS = ("protocol, connections", "server", "calls/s", "of the floor", "p50 ms", "p99 ms", "CPU µs a call")


def run(plan: Plan) -> Result:
    """Start an API server, floor and gateway, and measure."""
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster("bench", controllers=False))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        token = asyncio.run(prepared(cluster))
        targets = [*both(stack, cluster, token, folder), *plan.against]
        rows = asyncio.run(_measured(targets, plan))
    return Result("hot", [_table(rows)], rows)


async def prepared(cluster: RealCluster) -> str:
    """Make the ConfigMap and return an administrator's token."""
    await cluster.apply(CONFIG_MAP)
    return await cluster.token()


def both(stack: ExitStack, cluster: RealCluster, token: str, folder: Path) -> list[Target]:
    """Start the floor and the gateway before this cluster."""
    floor = stack.enter_context(processes.floor(cluster.server, cluster.ca_file, PATH, token))
    gateway = stack.enter_context(processes.gateway(folder, [listed(cluster)]))
    return [
        Target(name, f"http://127.0.0.1:{served.port}/mcp", token, "resource_get", ARGUMENTS, served.pid)
        for name, served in (("floor", floor), ("gateway", gateway))
    ]


def listed(cluster: RealCluster, **limits: int) -> dict[str, Any]:
    """Return the cluster as the settings list it; calls are counted, but never too many."""
    limits = {"readsPerMinute": 1_000_000, **limits}
    return {"name": "bench", "server": cluster.server, "certificateAuthority": str(cluster.ca_file), "limits": limits}


async def _measured(targets: Sequence[Target], plan: Plan) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for generation in GENERATIONS:
        for connections in CONNECTIONS:
            seen: dict[str, list[Figures | None]] = {target.name: [] for target in targets}
            for number in range(plan.rounds):
                for target in targets:
                    processes.tell(f"hot: {generation}, {connections} connections, round {number + 1}, {target.name}")
                    seen[target.name].append(await _one(target, generation, connections, plan.seconds))
            floor = [figures for figures in seen["floor"] if figures]
            for target in targets:
                figures = [each for each in seen[target.name] if each]
                if len(figures) == plan.rounds:
                    rows.append(_row(target.name, generation, connections, figures, floor))
    return rows


async def _one(target: Target, generation: str, connections: int, seconds: float) -> Figures | None:
    """Measure once; None where an endpoint that is not ours does not take such calls."""
    try:
        return await measure(target, generation, connections=connections, seconds=seconds)
    except (CallFailedError, OSError, EOFError) as error:
        if target.pid:
            raise
        processes.tell(f"{target.name} does not take part: {error}\n")
        return None


def _row(
    name: str, generation: str, connections: int, figures: Sequence[Figures], floor: Sequence[Figures]
) -> dict[str, Any]:
    together = list(zip(figures, floor, strict=True))
    return {
        "server": name,
        "generation": generation,
        "connections": connections,
        **{key: median(asdict(each)[key] for each in figures) for key in asdict(figures[0])},
        "calls_ratio": Spread.of([own.calls_per_second / least.calls_per_second for own, least in together]).json(),
        "p50_ratio": Spread.of([own.p50 / least.p50 for own, least in together]).json(),
        "cpu_ratio": Spread.of([own.cpu / least.cpu if least.cpu else 0.0 for own, least in together]).json(),
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "One warm resource_get of a 2 KB ConfigMap",
        COLUMNS,
        [
            (
                f"{row['generation']}, {row['connections']}",
                row["server"],
                f"{row['calls_per_second']:,.0f}",
                str(Spread(**row["calls_ratio"])) if row["server"] != "floor" else "1",
                f"{row['p50']:.2f}",
                f"{row['p99']:.2f}",
                f"{row['cpu']:.0f}" if row["cpu"] else "",
            )
            for row in rows
        ],
        "Ratios are medians of rounds that alternate, with the least and the most of them.",
    )
