"""MCP's resources as JSON-RPC sees them: what is an error, of which code, and what it counts as."""

import asyncio
import dataclasses
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import mcp_types as types
import pytest
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from gateway.access.continuation import Continuation
from gateway.access.sealing import SealingKeys
from gateway.access.session import Access, Caller, ClusterSession
from gateway.clusters.options import LimitOptions
from gateway.clusters.rates import RateLimits
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Hang, server_error
from gateway.protocol.calls import CALLER
from gateway.protocol.elicitation import Context
from gateway.protocol.resources import Resources
from gateway.protocol.subscriptions import QUIET, Subscriptions, Watching
from tests.workbench import MakeWorkbench, Workbench

URI = "k8s://clustered/core/v1/namespaces/demo"
OTHER = "k8s://namespaced/demo/core/v1/configmaps/other"
CONFIG_MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: demo}, data: {a: '%s'}}"


def _context(caller: Caller, session: Any = None) -> Context:
    request = SimpleNamespace(scope={CALLER: caller})
    return ServerRequestContext(
        session=session, lifespan_context={}, protocol_version="2025-11-25", method="test", request=request
    )


def _resources(access: Access, *, listed: bool = False) -> Resources:
    return Resources(access, Continuation(SealingKeys()), listed=listed)


async def _read(bench: Workbench, uri: str = URI, access: Access | None = None) -> types.ReadResourceResult:
    context = _context(await bench.caller())
    return await _resources(access or bench.access).read(context, types.ReadResourceRequestParams(uri=uri))


def _counted(bench: Workbench, outcome: str) -> float:
    labels = {"tool": "resources/read", "cluster": "east", "outcome": outcome}
    found = [
        sample.value
        for family in bench.metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
    ]
    return sum(found)


async def test_a_read_counts_as_one_read(bench: Workbench) -> None:
    """Reading a resource must count against the caller's reads, and be in metrics and audit by its own name."""
    caller = await bench.caller()
    access = dataclasses.replace(bench.access, rates=RateLimits(clock=bench.clock))
    few = caller.cluster.model_copy(update={"limits": LimitOptions(reads_per_minute=1)})
    caller = dataclasses.replace(caller, cluster=few)
    params = types.ReadResourceRequestParams(uri=URI)
    await _resources(access).read(_context(caller), params)
    with pytest.raises(MCPError) as caught:
        await _resources(access).read(_context(caller), params)
    assert caught.value.error.code == types.INTERNAL_ERROR
    assert _counted(bench, "ok") == _counted(bench, "rate_limited") == 1
    assert {record.tool for record in bench.records} == {"resources/read"}


async def test_what_another_uri_mends_is_minus_32602(bench: Workbench) -> None:
    """A resource that is not there must carry its URI."""
    with pytest.raises(MCPError) as caught:
        await _read(bench, OTHER)
    assert (caught.value.error.code, caught.value.error.data) == (types.INVALID_PARAMS, {"uri": OTHER})


async def test_what_time_mends_is_minus_32603(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """A cluster that fails or does not answer in time must not read as a resource that is not there."""
    bench = await workbench(limits=LimitOptions(call_seconds=0.3, first_byte_seconds=0.2))
    await _read(bench)
    for fault in (server_error(500), Hang()):
        with cluster.fault(fault, paths=["/api/v1/*"]), pytest.raises(MCPError) as caught:
            await _read(bench)
        assert caught.value.error.code == types.INTERNAL_ERROR
    assert bench.pool.state().leases == 0


async def test_what_must_not_happen_shows_no_text(bench: Workbench) -> None:
    """A defect must not show its text to a client, only where to look for it."""
    caller = await bench.caller()

    class _Defect(RateLimits):
        async def take(self, *_: object) -> None:
            raise ZeroDivisionError("secret words")

    access = dataclasses.replace(bench.access, rates=_Defect())
    with pytest.raises(MCPError) as caught:
        await _read(bench, access=access)
    assert "secret words" not in caught.value.error.message
    assert caller.request_id in caught.value.error.message


async def test_a_cursor_is_its_callers_own(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """A cursor must be worth nothing to another caller, and be no way to another list."""
    bench = await workbench()
    for number in range(110):
        await cluster.request("POST", "/api/v1/namespaces/demo/configmaps", {"metadata": {"name": f"many-{number}"}})
    resources = _resources(bench.access, listed=True)
    first = await resources.list(_context(await bench.caller()), None)
    assert first.next_cursor
    params = types.PaginatedRequestParams(cursor=first.next_cursor)
    assert (await resources.list(_context(await bench.caller()), params)).resources
    with pytest.raises(MCPError) as caught:
        await resources.list(_context(await bench.caller("demo/viewer")), params)
    assert caught.value.error.code == types.INVALID_PARAMS


async def test_completion_of_a_silent_cluster_is_empty(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """A person who types must not get an error because a cluster is away."""
    bench = await workbench(limits=LimitOptions(first_byte_seconds=0.2))
    await _read(bench)
    params = types.CompleteRequestParams(
        ref=types.ResourceTemplateReference(uri="k8s://namespaced/{namespace}/{group}/{version}/{resource}/{name}"),
        argument=types.CompletionArgument(name="namespace", value="de"),
    )
    context = _context(await bench.caller())
    with cluster.fault(Hang(), paths=["/api/v1/*"]):
        assert (await _resources(bench.access).complete(context, params)).completion.values == []
    assert (await _resources(bench.access).complete(context, params)).completion.values == ["default", "demo"]


async def test_many_changes_are_one_word(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """An object that changes all the time must not flood its subscriber, and its last change must be told."""
    told: asyncio.Queue[str] = asyncio.Queue()

    def sessions() -> AbstractAsyncContextManager[ClusterSession]:
        return bench.session()

    watching = Watching(sessions)
    await watching.open(OTHER)
    telling = asyncio.create_task(watching.tell(told.put))
    try:
        began = asyncio.get_running_loop().time()
        for value in range(50):
            await cluster.apply(CONFIG_MAP % value)
            if not value:
                assert await asyncio.wait_for(told.get(), 5) == OTHER
        await asyncio.wait_for(told.get(), 5)
        assert asyncio.get_running_loop().time() - began >= QUIET
        assert told.empty()
    finally:
        telling.cancel()
        await watching.close()
        await asyncio.gather(telling, return_exceptions=True)
    assert bench.access.watches.open == 0


async def test_a_subscription_needs_a_session(bench: Workbench) -> None:
    """Where nothing could carry notifications, subscribing must say so instead of doing nothing."""

    class _Connection:
        session_id = None
        has_standalone_channel = False

    session = SimpleNamespace(_connection=_Connection())
    with pytest.raises(MCPError, match="need a session"):
        await Subscriptions(bench.access).subscribe(
            _context(await bench.caller(), session), types.SubscribeRequestParams(uri=URI)
        )
