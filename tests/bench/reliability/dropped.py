"""Sessions that are opened and never ended, and calls that nobody waits for: what stays behind?"""

import asyncio
import re
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.embedded import World, embedded
from tests.bench.load import HANDSHAKE, MODERN, CallFailedError, Client, Target
from tests.bench.processes import Served, gateway, resident, sockets, tell
from tests.bench.reliability.choice import Choice, on_cores
from tests.bench.reliability.paced import target, warm
from tests.bench.report import Result, Table

AT_ONCE = 16
SETTLED = 120.0
"""Seconds within which all that belonged to dropped calls must be gone; idle connections to a cluster end after 100."""


def metric(served: Served, name: str) -> float:
    """Return the sum of a metric's samples."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(rf"^kube_mcp_gateway_{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def sessions(choice: Choice) -> Result:
    """Open sessions without ever ending one, and see that calls still work and memory is bounded."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = stack.enter_context(embedded(World(clusters=4, callers=5)))
        served = stack.enter_context(gateway(Path(folder), [each.listed() for each in world.clusters]))
        on_cores(served.pid, world.pid)
        targets = [target(served, cluster, number) for number in range(5) for cluster in world.clusters]
        return asyncio.run(_sessions(choice, served, targets))


async def _sessions(choice: Choice, served: Served, targets: list[Target]) -> Result:
    await warm(targets)
    before, open_before = resident(served.pid) / 1024, sockets(served.pid)
    at_once = asyncio.Semaphore(AT_ONCE)
    refused = 0

    async def drop(number: int) -> None:
        nonlocal refused
        async with at_once:
            if number % 500 == 0:
                tell(f"sessions: {number}")
            try:
                client = await Client.opened(targets[number % len(targets)], HANDSHAKE)
            except CallFailedError:
                refused += 1
            else:
                client.close()

    await asyncio.gather(*(drop(number) for number in range(choice.sessions)))
    after, held = resident(served.pid) / 1024, metric(served, "sessions")
    await warm(targets)
    left = await _settled(lambda: sockets(served.pid) - open_before)
    rows = [(f"{choice.sessions:,}", str(refused), f"{held:,.0f}", f"{before:.1f}", f"{after:.1f}", str(left))]
    table = Table(
        "Sessions opened and dropped, by 20 principals",
        ("opened", "refused", "still held", "MiB before", "MiB after", "sockets left"),
        rows,
        "None is ever ended by its client; afterwards every principal's call is answered.",
    )
    return Result("sessions", [table], {"opened": choice.sessions, "refused": refused, "held": held})


def cancelled(choice: Choice) -> Result:
    """Hang up on calls while the cluster thinks about them, and look for what they leave."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = stack.enter_context(embedded(World(latency=2.0)))
        served = stack.enter_context(gateway(Path(folder), [each.listed() for each in world.clusters]))
        on_cores(served.pid, world.pid)
        return asyncio.run(_cancelled(choice, served, target(served, world.clusters[0])))


async def _cancelled(choice: Choice, served: Served, one: Target) -> Result:
    await warm([one])
    before, memory = sockets(served.pid), resident(served.pid) / 1024
    at_once = asyncio.Semaphore(AT_ONCE)
    most = 0.0

    async def give_up(number: int) -> None:
        nonlocal most
        async with at_once:
            client = await Client.opened(one, MODERN)
            calling = asyncio.create_task(client.call())
            await asyncio.sleep(0.1)
            if number % 100 == 0:
                most = max(most, await asyncio.to_thread(metric, served, "pool_leases"))
                tell(f"cancelled: {number}, {most:.0f} leases")
            calling.cancel()
            client.close()

    await asyncio.gather(*(give_up(number) for number in range(choice.calls)))
    leases = await _settled(lambda: int(metric(served, "pool_leases") + metric(served, "gate_inside")))
    left = await _settled(lambda: sockets(served.pid) - before)
    after = resident(served.pid) / 1024
    await warm([one])
    rows = [(f"{choice.calls:,}", f"{most:.0f}", str(leases), str(left), f"{memory:.1f}", f"{after:.1f}")]
    table = Table(
        "Calls given up while the cluster worked on them",
        ("calls", "most at once", "leases left", "sockets left", "MiB before", "MiB after"),
        rows,
        "The cluster takes 2 s for an answer, callers hang up after 0.1 s. What is left is counted at most "
        f"{SETTLED:g} s later. That no task is left either is held by tests/faults. Aim: nothing left.",
    )
    figures = {"calls": choice.calls, "most_leases": most, "leases_left": leases, "sockets_left": left}
    return Result("cancelled", [table], figures)


async def _settled(count: Callable[[], int]) -> int:
    """Wait until nothing is left, and return what is after all."""
    until = asyncio.get_running_loop().time() + SETTLED
    while (left := await asyncio.to_thread(count)) > 0 and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return max(left, 0)
