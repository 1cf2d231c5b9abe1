"""Calls that nobody waits for any more leave nothing behind."""

import asyncio
import random
from typing import Any

import pytest

from gateway.clusters.options import LimitOptions
from gateway.demo.faults import Fault, Hang, HugeList, Latency, Slow, too_many_requests
from gateway.policy.options import PolicyOptions
from tests.workbench import MakeWorkbench

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resource_list", {"resource": "configmaps", "output": "json"}),
    ("resource_get", {"resource": "namespace", "name": "demo"}),
    ("diagnose", {"namespace": "demo"}),
    ("resource_wait", {"resource": "namespace", "name": "demo", "condition": "deleted"}),
    ("resource_apply", {"manifest": '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"demo"}}'}),
)


@pytest.mark.parametrize(
    "fault", [Latency(0.05), Hang("tls"), Hang("half"), Slow(500), HugeList(4 << 20), too_many_requests(1)]
)
async def test_calls_given_up_at_any_moment_leave_no_task_lease_or_place(
    workbench: MakeWorkbench, fault: Fault
) -> None:
    """Whatever a call was waiting for: a place, an answer, its body, a busy API server, room in memory."""
    policy = PolicyOptions(writes=frozenset({"apply"}), confirmation="none")
    bench = await workbench(policy, LimitOptions(connections=4))
    await bench.call("resource_list", {"resource": "namespaces"})
    before = asyncio.all_tasks()
    chance = random.Random(7)  # noqa: S311  # no secret hangs on it
    with bench.cluster.fault(fault, paths=["/api/*", "/apis/*"]):
        calls = [asyncio.create_task(bench.call(*CALLS[number % len(CALLS)])) for number in range(100)]
        for call in chance.sample(calls, len(calls)):
            await asyncio.sleep(chance.random() / 100)
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ended) > 30
    [state] = bench.pool.state().clusters
    assert (state.leases, state.inside, state.waiting, bench.pool.memory.held) == (0, 0, 0, 0)
    assert state.breaker.failures == 0
    async with asyncio.timeout(5):
        while left := [task for task in asyncio.all_tasks() - before if not is_the_clusters(task)]:
            await asyncio.wait(left)
    await bench.call("resource_list", {"resource": "namespaces"})


def is_the_clusters(task: "asyncio.Task[Any]") -> bool:
    """Whether a task serves one of the embedded cluster's connections."""
    return "RequestHandler" in repr(task.get_coro())
