"""What one warm call costs: work that is counted, CPU time beside the floor's, and the share of watching it.

Floor and gateway are ASGI apps in this process, before an embedded cluster in another. What can't be switched off is
timed by itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from gateway.cli.serve import loop_factory
from gateway.telemetry.audit import AuditOptions, AuditRecord, AuditTrail
from gateway.telemetry.metrics import Metrics
from tests.bench.embedded import Embedded, World, embedded
from tests.bench.inprocess import both, counted, microseconds
from tests.bench.instructions import available
from tests.bench.load import GENERATIONS, MODERN
from tests.bench.plan import Plan
from tests.bench.processes import tell
from tests.bench.report import Result, Spread, Table
from tests.bench.traced import traced

CALLS = 100
TURNS = 40
TRACED = {"every call": 1.0, "one call in ten": 0.1, "one call in twenty": 0.05, "no call": 0.0}
"""What part of the calls the sampler chooses, in the rows of the table."""


def run(plan: Plan) -> Result:
    """Measure both generations, and then what watching costs in the newer one."""
    turns = TURNS * plan.rounds
    with embedded(World()) as world, asyncio.Runner(loop_factory=loop_factory()) as runner:
        calls = [row for each in GENERATIONS for row in runner.run(_costs(world, each, turns))]
        whole = next(row["cpu"]["least"] for row in calls if (row["server"], row["generation"]) == ("gateway", MODERN))
        watching = [*_by_itself(whole), *_traced(world)]
    return Result("costs", [_calls_table(calls), _watching_table(watching)], {"calls": calls, "watching": watching})


async def _costs(world: Embedded, generation: str, turns: int) -> list[dict[str, Any]]:
    tell(f"costs: {generation}")
    with TemporaryDirectory() as folder:
        async with both(Path(folder), world.clusters[0], generation) as apps:
            rows = []
            for app in apps:
                before = world.asked()[0]
                for _ in range(CALLS):
                    await app.call()
                after = world.asked()[0]
                rows.append(
                    {
                        "server": app.name,
                        "generation": generation,
                        "requests": (after.requests - before.requests) / CALLS,
                        "connections": (after.connections - before.connections) / CALLS,
                        **asdict(await counted(app)),
                    }
                )
            times = await microseconds(apps, turns=turns)
    for row in rows:
        own, floor = times[row["server"]], times["floor"]
        row["cpu"] = Spread.of(own).json()
        row["cpu_ratio_of_least"] = min(own) / min(floor)
        row["cpu_ratio"] = Spread.of([each / least for each, least in zip(own, floor, strict=True)]).json()
    return rows


def _by_itself(whole: float) -> Iterator[dict[str, Any]]:
    """Time what is written and counted for one call, which can't be left out."""
    tell("costs: audit and metrics by themselves")
    with TemporaryDirectory() as folder, AuditTrail(AuditOptions(to="file", path=Path(folder) / "audit")) as trail:
        yield _share("an audit record, to a file", whole, _least(lambda: trail(_record())))
    metrics = Metrics()

    def count() -> None:
        metrics.tool_call("resource_get", "c0", "ok", 0.002, 0.001, "0123456789abcdef")
        metrics.api_request("c0", "get", 200, 0.001)

    yield _share("metrics", whole, _least(count))


def _record() -> AuditRecord:
    return AuditRecord(
        request_id="0123456789abcdef",
        issuer="https://kubernetes.default.svc",
        subject="system:serviceaccount:demo:mcp",
        token_id="00000000-0000-4000-8000-000000000000",
        cluster="c0",
        tool="resource_get",
        verb="get",
        group="",
        resource="configmaps",
        subresource="",
        namespace="demo",
        name="two-kilobytes",
        decision="allowed",
        status=200,
        bytes=2048,
        ms=1.234,
        api_audit_id="00000000-0000-4000-8000-000000000000",
    )


def _least(do: Callable[[], None]) -> float:
    """Return the least µs of many turns."""
    least = float("inf")
    for _ in range(50):
        started = perf_counter()
        for _ in range(200):
            do()
        least = min(least, (perf_counter() - started) / 200 * 1e6)
    return least


def _share(what: str, whole: float, own: float) -> dict[str, Any]:
    return {"what": what, "us": own, "share": own / whole}


def _traced(world: Embedded) -> Iterator[dict[str, Any]]:
    """Count instructions: the exporter's thread sends when it likes, so that no turn's time has its own part of it."""
    if not available():
        return
    tell("costs: calls with traces off and on")
    with TemporaryDirectory() as folder:
        found = traced(world.clusters[0], Path(folder))
    for what, ratio in TRACED.items():
        more = ratio * found["every"] + (1 - ratio) * found["none"] - found["off"]
        yield {"what": f"traces of {what}", "share": more / found["off"]}


def _calls_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "One warm call, without the HTTP server in front",
        (
            "protocol, server",
            "API requests",
            "new connections",
            "Python functions",
            "C functions",
            "most memory KB",
            "CPU µs, least",
            "of the floor",
            "of the floor, turn by turn",
        ),
        [
            (
                f"{row['generation']}, {row['server']}",
                f"{row['requests']:g}",
                f"{row['connections']:g}",
                str(row["python"]),
                str(row["native"]),
                f"{row['peak_bytes'] / 1024:.0f}",
                f"{row['cpu']['least']:.0f}",
                f"{row['cpu_ratio_of_least']:.2f}",
                str(Spread(**row["cpu_ratio"])) if row["server"] != "floor" else "1",
            )
            for row in rows
        ],
        "A coroutine that goes on counts as a function entered again. Of the memory, 256 KB are the buffer of TLS.",
    )


def _watching_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "What watching a call costs",
        ("", "µs", "share of the call"),
        [(row["what"], f"{row['us']:.1f}" if "us" in row else "", f"{row['share']:.1%}") for row in rows],
        "Audit and metrics are always on, so they are timed by themselves. Of traces, instructions are counted: with "
        "them off, of all calls, and of none (a sampler that says no); what lies between follows from these. Encoding "
        "and sending them, in a thread, is included. Aim: 5 %.",
    )
