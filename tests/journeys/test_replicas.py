"""Two replicas behind a balancer that knows nothing of MCP: what any client can do, and what only affinity brings."""

import asyncio
import json
import os
import time
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp_types import ElicitResult

from gateway.demo import EmbeddedCluster
from tests.balancer import Balancer, Replica, balancing
from tests.journeys.conftest import GatewayProcess, call, connected, running_gateway, subscribed
from tests.ports import free_port
from tests.store import running_store

ROUND_ROBIN = "roundrobin"
AFFINITY = "hdr(authorization)"
"""Whoever comes with one token comes to one replica."""
YES = ElicitResult(action="accept", content={"answer": "yes"})
AGAIN = "  retries 3\n  option redispatch 1\n  default-server inter 200ms fall 5 rise 1"
"""What a replica's port did not even take goes to the other, and a slow probe is forgiven, as is usual."""


def config_map(name: str, color: str = "red") -> str:
    """Return the manifest of a ConfigMap."""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: demo}}\ndata: {{color: {color}}}\n"


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"r-{uuid.uuid4().hex[:8]}"


@dataclass(slots=True)
class Pair:
    """Two replicas with one ring of sealing keys, and the balancer before them."""

    balance: str
    balancer: Balancer
    replicas: tuple[GatewayProcess, GatewayProcess]
    cluster: EmbeddedCluster


@pytest.fixture
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Start everything; the parameter is (balance, confirmation, whether a store is shared)."""
    balance, confirmation, shared = request.param
    keys = tmp_path / "sealing-keys"
    keys.write_text(b64encode(os.urandom(32)).decode())
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(EmbeddedCluster("east"))
        (tmp_path / "ca.crt").write_bytes(cluster.ca_pem)
        listed: dict[str, Any] = {
            "name": "east",
            "server": cluster.server,
            "certificateAuthority": str(tmp_path / "ca.crt"),
        }
        listed |= {"policy": {"writes": ["apply"], "confirmation": confirmation}}
        settings: dict[str, Any] = {"sealingKeys": str(keys), "rateLimiting": False}
        if shared:
            settings["sharedStore"] = stack.enter_context(running_store(tmp_path)).url
        places = [Replica(name, free_port(), free_port()) for name in ("a", "b")]
        started = []
        for place in places:
            (tmp_path / place.name).mkdir()
            running = running_gateway(
                tmp_path / place.name, [listed], listen={"port": place.port}, admin={"port": place.admin}, **settings
            )
            started.append(await asyncio.to_thread(running.__enter__))
            stack.push_async_callback(asyncio.to_thread, _ended, running, started[-1])
        balancer = stack.enter_context(balancing(tmp_path, places, balance=balance, more=AGAIN))
        await asyncio.to_thread(balancer.wait_for, a="UP", b="UP")
        yield Pair(balance, balancer, (started[0], started[1]), cluster)


def _ended(running: Any, replica: GatewayProcess) -> None:
    if replica.process.poll() is None:
        running.__exit__(None, None, None)


async def written(pair: Pair, name: str) -> bool:
    """Whether the ConfigMap is there."""
    status, _ = await pair.cluster.request("GET", f"/api/v1/namespaces/demo/configmaps/{name}")
    return status == 200


async def served(pair: Pair) -> Counter[str]:
    """Count the tool calls of each replica."""
    names = ("a", "b")
    counts = [await asyncio.to_thread(one.metric, "kube_mcp_gateway_tool_calls_total") for one in pair.replicas]
    return Counter(dict(zip(names, map(int, counts), strict=True)))


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(ROUND_ROBIN, "plan", True), (AFFINITY, "plan", True)], indirect=True, ids=str)
async def test_any_client_is_served(pair: Pair, mode: str, name: str) -> None:
    """Calls, pages and plans work in both generations, wherever each request of them comes to."""
    token = await pair.cluster.token()
    async with connected(pair.balancer.url, token, mode) as client:
        assert (await client.list_tools()).tools
        for _ in range(6):
            assert "cluster east" in await call(client, "resource_list", resource="namespaces")
        first = await call(client, "resource_list", resource="namespaces", limit=1, output="name")
        page = first.rpartition("continue: ")[2].split()[0]
        second = await call(client, "resource_list", **{"resource": "namespaces", "output": "name", "continue": page})
        assert second != first
        shown = await call(client, "resource_apply", manifest=config_map(name))
        assert not await written(pair, name)
        plan = shown.rpartition("plan: ")[2].split()[0]
        await call(client, "resource_apply", manifest=config_map(name), plan=plan)
        assert await written(pair, name)
    counts = await served(pair)
    assert counts.total() == 10
    assert (min(counts.values()) > 0) == (pair.balance == ROUND_ROBIN)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(ROUND_ROBIN, "person", True)], indirect=True, ids=str)
async def test_a_person_is_asked_by_one_replica_and_answers_another(pair: Pair, name: str) -> None:
    """From 2026-07-28 on nothing of a question is kept here: the answer comes with its sealed state, to any replica."""
    questions = 0

    async def person(_context: object, _params: object) -> ElicitResult:
        nonlocal questions
        questions += 1
        return YES

    async with connected(pair.balancer.url, await pair.cluster.token(), "auto", elicitation_callback=person) as client:
        for number in range(4):
            assert "1 created" in await call(client, "resource_apply", manifest=config_map(f"{name}-{number}"))
    assert questions == 4
    assert min((await served(pair)).values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(AFFINITY, "person", False)], indirect=True, ids=str)
async def test_affinity_keeps_sessions_and_their_questions(pair: Pair, mode: str, name: str) -> None:
    """With affinity a handshake-era session can ask its person too, and no store is needed for a plan to be used."""

    async def person(_context: object, _params: object) -> ElicitResult:
        return YES

    async with connected(pair.balancer.url, await pair.cluster.token(), mode, elicitation_callback=person) as client:
        for number in range(3):
            assert "1 created" in await call(client, "resource_apply", manifest=config_map(f"{name}-{number}"))


async def _planned(client: Client, name: str) -> str:
    return (await call(client, "resource_apply", manifest=config_map(name))).rpartition("plan: ")[2].split()[0]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(ROUND_ROBIN, "plan", True)], indirect=True, ids=str)
async def test_a_plan_of_one_replica_is_used_once_at_another(pair: Pair, name: str) -> None:
    """With a shared store, wherever it is presented, however often at once."""
    token = await pair.cluster.token()
    one, two = pair.replicas
    async with connected(one.url, token, "auto") as first, connected(two.url, token, "auto") as second:
        plan = await _planned(first, name)
        tries = [client.call_tool("resource_apply", {"manifest": config_map(name), "plan": plan})
                 for client in (second, first, second, first)]  # fmt: skip
        results = await asyncio.gather(*tries)
    texts = [str(result.content) for result in results]
    assert sum("written: 1 created" in text for text in texts) == 1
    others = ("used already", "has changed since", "has all of this already")
    assert sum(any(words in text for words in others) for text in texts) == 3
    assert await written(pair, name)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(ROUND_ROBIN, "plan", False)], indirect=True, ids=str)
async def test_without_a_store_a_plan_of_another_replica_says_why_it_can_not_be_used(pair: Pair, name: str) -> None:
    """Both could open it, and neither could know that the other has not used it."""
    token = await pair.cluster.token()
    one, two = pair.replicas
    async with connected(one.url, token, "auto") as first, connected(two.url, token, "auto") as second:
        plan = await _planned(first, name)
        refused = await second.call_tool("resource_apply", {"manifest": config_map(name), "plan": plan})
        assert refused.is_error
        assert "made by another replica" in str(refused.content)
        assert "sharedStore" in str(refused.content)
        assert not await written(pair, name)
        await call(first, "resource_apply", manifest=config_map(name), plan=plan)
    assert await written(pair, name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize(
    ("pair", "mode"),
    [
        ((ROUND_ROBIN, "person", False), "auto"),
        ((AFFINITY, "person", False), "auto"),
        ((AFFINITY, "person", False), "legacy"),
    ],
    indirect=["pair"],
)
async def test_subscribers_are_told_through_the_balancer(pair: Pair, mode: str, name: str) -> None:
    """A stream of 2026-07-28 is one connection, wherever it ends; a session's subscription needs affinity."""
    uri = f"k8s://namespaced/demo/core/v1/configmaps/{name}"
    await pair.cluster.apply(config_map(name))
    async with subscribed(pair.balancer.url, await pair.cluster.token(), mode, uri) as told:
        async with asyncio.timeout(20):
            while sum(replica.metric("kube_mcp_gateway_watches") for replica in pair.replicas) != 1:  # noqa: ASYNC110  # scraped
                await asyncio.sleep(0.05)
        await pair.cluster.apply(config_map(name, "blue"))
        assert await asyncio.wait_for(told.get(), 10) == uri


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(ROUND_ROBIN, "plan", False)], indirect=True, ids=str)
async def test_a_killed_replica_costs_only_what_it_had_in_hand(pair: Pair) -> None:
    """Of eight callers in a row of calls each loses at most the one that was on its way there."""
    token = await pair.cluster.token()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body |= {"params": {"name": "resource_get", "arguments": {"resource": "namespace", "name": "demo"}}}
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    headers |= {"Content-Type": "application/json"}
    answered: list[float] = []
    failed: list[tuple[float, float]] = []

    async def caller(until: asyncio.Event) -> None:
        async with httpx2.AsyncClient(timeout=30, headers=headers) as http:
            while not until.is_set():
                began = time.monotonic()
                try:
                    answer = await http.post(pair.balancer.url, content=json.dumps(body))
                    good = answer.status_code == 200 and "cluster east" in answer.text
                except httpx2.HTTPError:
                    good = False
                if good:
                    answered.append(time.monotonic())
                else:
                    failed.append((began, time.monotonic()))

    over = asyncio.Event()
    callers = [asyncio.create_task(caller(over)) for _ in range(8)]
    while len(answered) < 200:  # noqa: ASYNC110  # the load is under way
        await asyncio.sleep(0.01)
    killed = time.monotonic()
    pair.replicas[0].process.kill()
    await asyncio.to_thread(pair.balancer.wait_for, a="DOWN")
    seen = len(answered)
    while len(answered) < seen + 200:  # noqa: ASYNC110  # the load goes on
        await asyncio.sleep(0.01)
    over.set()
    await asyncio.gather(*callers)
    assert len(failed) <= 8, failed
    # None of them began after the replica was gone, but for what the balancer had sent before it knew.
    assert all(began <= killed + 1 for began, _ in failed), (killed, failed)
