"""How long everybody else waits while a large list is parsed in a thread: at once, and in pieces."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import orjson

from gateway.kube import pieces
from tests.bench.processes import tell
from tests.bench.reliability.choice import Choice
from tests.bench.report import Result, Spread, Table

MEGABYTES = (1, 2, 4, 8)


def pods(size: int) -> bytes:
    """Return a list of pods of about this many bytes, with managedFields, as an API server writes it."""
    item = {
        "metadata": {
            "name": "web",
            "namespace": "demo",
            "labels": {f"label-{number}": "v" * 10 for number in range(8)},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{n}": {"f:x": {}} for n in range(60)}}],
        },
        "spec": {"containers": [{"name": "c", "env": [{"name": f"E{n}", "value": "x" * 30} for n in range(40)]}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}] * 5},
    }
    count = size // len(orjson.dumps(item))
    return orjson.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [item] * count})


def run(choice: Choice) -> Result:
    """Measure the longest time for which the event loop stood still."""
    # As the gateway does once it has started: what lives on is not looked through again.
    gc.collect()
    gc.freeze()
    ways: dict[str, Callable[[bytes], Any]] = {"at once": orjson.loads, "in pieces": pieces.loads}
    found: dict[int, dict[str, list[float]]] = {}
    for megabytes in MEGABYTES:
        tell(f"parsing: {megabytes} MB")
        body = pods(megabytes * 1024 * 1024)
        found[megabytes] = {
            way: [asyncio.run(_longest_stall(body, parse)) for _ in range(choice.rounds)] for way, parse in ways.items()
        }
    rows = [(f"{size} MB", *(str(Spread.of(times)) for times in by_way.values())) for size, by_way in found.items()]
    table = Table(
        "How long the event loop stands still while a list is parsed in a thread",
        ("list", *(f"{way}, ms" for way in ways)),
        rows,
        "The longest of all pauses, freeing the objects included. The gateway parses in pieces.",
    )
    return Result("parsing", [table], {str(size): by_way for size, by_way in found.items()})


async def _longest_stall(body: bytes, parse: Callable[[bytes], Any]) -> float:
    """Return milliseconds."""
    longest = 0.0
    parsing = asyncio.create_task(asyncio.to_thread(parse, body))
    last = time.perf_counter()
    while not parsing.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    del parsing
    gc.collect(0)
    return max(longest, time.perf_counter() - last) * 1000
