"""The first call to a cluster that was never seen: what it asks of the API server beside itself, and how long it takes.

Each round has a gateway of its own; what it asked is read from the API server's log.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from gateway.kube.client import AGENT
from tests.bench import processes
from tests.bench.hot import ARGUMENTS, listed, prepared
from tests.bench.load import MODERN, Client, Target
from tests.bench.plan import Plan
from tests.bench.report import Result, Spread, Table
from tests.cluster.cluster import RealCluster

AT_ONCE = (1, 100)
OWN = "/configmaps/two-kilobytes"


def run(plan: Plan) -> Result:
    """Start an API server, then a gateway for each round."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster("bench-first", controllers=False))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        token = asyncio.run(prepared(cluster))
        for callers in AT_ONCE:
            rounds = []
            for number in range(plan.rounds):
                processes.tell(f"first: {callers} at once, round {number + 1}")
                rounds.append(asyncio.run(_round(cluster, folder, token, callers)))
            rows.append(_row(callers, rounds))
    return Result("first", [_table(rows)], rows)


async def _round(cluster: RealCluster, folder: Path, token: str, callers: int) -> dict[str, Any]:
    before = await cluster.requests_by(AGENT)
    with processes.gateway(folder, [listed(cluster)]) as served:
        url = f"http://127.0.0.1:{served.port}/mcp"
        target = Target("gateway", url, token, "resource_get", ARGUMENTS, served.pid)
        # 2026-07-28 has no handshake, so opening sends nothing yet.
        clients = [await Client.opened(replace(target), MODERN) for _ in range(callers)]
        started = perf_counter()
        await asyncio.gather(*(client.call() for client in clients))
        first = perf_counter() - started
        asked = (await cluster.requests_by(AGENT))[len(before) :]
        started = perf_counter()
        await clients[0].call()
        warm = perf_counter() - started
        for client in clients:
            client.close()
    besides = [request for request in asked if OWN not in request]
    return {"besides": besides, "own": len(asked) - len(besides), "first_ms": first * 1000, "warm_ms": warm * 1000}


def _row(callers: int, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "callers": callers,
        "besides": max(len(each["besides"]) for each in rounds),
        "asked": dict(Counter(request for each in rounds for request in each["besides"])),
        "own": max(each["own"] for each in rounds),
        "first_ms": Spread.of([each["first_ms"] for each in rounds]).json(),
        "warm_ms": Spread.of([each["warm_ms"] for each in rounds]).json(),
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "First calls to a cluster that was never seen",
        (
            "callers at once",
            "API requests besides theirs",
            "of their own",
            "ms until all have answers",
            "ms of a next call",
        ),
        [
            (
                str(row["callers"]),
                str(row["besides"]),
                str(row["own"]),
                str(Spread(**row["first_ms"])),
                str(Spread(**row["warm_ms"])),
            )
            for row in rows
        ],
        "Keys, `/api` and `/apis`: each read once, however many wait. The aim is three.",
    )
