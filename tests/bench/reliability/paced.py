"""A load at a fixed pace: who is answered slowly does not call less, so a stall shows in the figures as it is."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.embedded import NAME, NAMESPACE, Reached
from tests.bench.load import MODERN, CallFailedError, Client, Target, figures_of
from tests.bench.processes import Served

ARGUMENTS = {"resource": "configmaps", "name": NAME, "namespace": NAMESPACE}


def target(served: Served, cluster: Reached, caller: int = 0) -> Target:
    """Return the call of one caller: a warm read of two kilobytes."""
    url = f"http://127.0.0.1:{served.port}/mcp"
    return Target(cluster.name, url, cluster.tokens[caller], "resource_get", ARGUMENTS, served.pid)


@dataclass(slots=True)
class Paced:
    """What callers at a pace saw: the seconds of each call from when it was due, and how the calls ended."""

    times: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return figures_of(self.times, 1.0, 0.0).p99 if self.times else 0.0


async def call_at_pace(targets: Sequence[Target], per_second: float, seconds: float) -> Paced:
    """Let each target be called so often a second over a connection of its own; late calls are made late, not left out.

    A call of each that does not count comes first.
    """
    seen = Paced()
    clients = [await Client.opened(each, MODERN) for each in targets]
    began = time.perf_counter()
    await asyncio.gather(*(_caller(client, seen, began, per_second, seconds) for client in clients))
    for client in clients:
        client.close()
    return seen


async def _caller(client: Client, seen: Paced, began: float, per_second: float, seconds: float) -> None:
    spread = random.random() / per_second  # noqa: S311  # no secret hangs on it
    for number in range(int(seconds * per_second)):
        due = began + spread + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            _, body = await client.exchange(client.prepared)
        except (CallFailedError, OSError, asyncio.IncompleteReadError) as error:
            seen.ends[type(error).__name__] += 1
        else:
            seen.ends["error" if b'"isError":true' in body else "ok"] += 1
        seen.times.append(time.perf_counter() - due)


async def warm(targets: Sequence[Target]) -> None:
    """Call each target once, so that keys and catalogs are there.

    Raises:
        CallFailedError: A call fails.
    """
    at_once = asyncio.Semaphore(8)

    async def one(each: Target) -> None:
        async with at_once:
            client = await Client.opened(each, MODERN)
            await client.call()
            client.close()

    await asyncio.gather(*(one(each) for each in targets))
