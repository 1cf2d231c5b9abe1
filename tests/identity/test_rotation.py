"""A cluster's signing key changes, and a token that its cluster no longer accepts ends, without anybody's restart."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.access.session import ClusterSession
from gateway.kube.errors import InvalidToken
from gateway.kube.exec import ExecLimits, exec_query
from gateway.kube.request import Request
from gateway.policy.options import PolicyOptions
from gateway.tools.naming import resource_type
from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import describe, running_gateway
from tests.workbench import MakeWorkbench

CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "resource_get", "arguments": {"resource": "namespace", "name": "demo"}},
}


async def called(http: httpx2.AsyncClient, url: str, token: str) -> tuple[int, str]:
    """Call a tool and return the status, and the text of the answer."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    headers |= {"Content-Type": "application/json"}
    answer = await http.post(url, headers=headers, content=json.dumps(CALL))
    return answer.status_code, answer.text


@pytest.mark.slow
async def test_a_signing_key_is_exchanged_without_a_restart(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Who holds a token of the old key or the new is served on; when the old one goes, its tokens end at once."""
    with running_gateway(tmp_path, describe(fresh_cluster), rateLimiting=False) as gateway:
        async with httpx2.AsyncClient(timeout=30) as http:

            async def works(token: str) -> None:
                status, text = await called(http, gateway.url, token)
                assert (status, '"isError":true' in text, "fresh" in text) == (200, False, True), text

            old, unseen = await fresh_cluster.token(), await fresh_cluster.token(service_account="demo/viewer")
            await works(old)
            await fresh_cluster.rotate_signing_key(keep_old=True)
            new = await fresh_cluster.token()
            for _ in range(5):
                await works(old)
                await works(new)
                # Signed by the old key, and never seen before the exchange.
                assert (await called(http, gateway.url, unseen))[0] == 200
            await fresh_cluster.rotate_signing_key(keep_old=False)
            newest = await fresh_cluster.token()
            # The gateway learns of it by the cluster's own 401, and from then on says it in HTTP's words.
            for ended in (old, new):
                status, text = await called(http, gateway.url, ended)
                assert (status, "no longer accepts the token" in text) == (200, True)
                assert (await called(http, gateway.url, ended))[0] == 401
            for _ in range(3):
                await works(newest)


async def _list(session: ClusterSession, kind: Any) -> None:
    await session.request(Request(verb="list", group="", version="v1", resource="pods", namespace="demo"), kind)


async def _watch(session: ClusterSession, kind: Any) -> None:
    request = Request(verb="watch", group="", version="v1", resource="pods", namespace="demo", query=(("watch", "1"),))
    async with session.watch(request, kind):
        raise AssertionError


async def _exec(session: ClusterSession, kind: Any) -> None:
    query = exec_query(("true",), "main", stdin=False)
    request = Request(
        verb="create", group="", version="v1", resource="pods", namespace="demo", name="web", subresource="exec",
        query=query,
    )  # fmt: skip
    await session.exec(request, kind, ExecLimits(5, 100, 100))


@pytest.mark.parametrize("door", [_list, _watch, _exec])
async def test_a_401_through_any_door_ends_the_verdict(workbench: MakeWorkbench, door: Any) -> None:
    """Whichever request meets it, the token is no longer believed, and the next one is judged anew."""
    bench = await workbench(PolicyOptions(writes=frozenset({"post"}), subresources=frozenset({"pods/exec"})))
    async with bench.session() as session:
        kind = await resource_type(session, "pods")
        assert bench.identity.state().verdicts == 1
        bench.cluster.rotate_keys()
        with pytest.raises(InvalidToken):
            await door(session, kind)
        assert bench.identity.state().verdicts == 0
