"""An agent reads two real clusters through one endpoint: the main job, end to end."""

import asyncio
import json
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp_types import ElicitResult

from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, call, connected, describe, failing, running_gateway

SHOP = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
  namespace: demo
  annotations: {note: only when asked}
data: {where: %s}
"""

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module", autouse=True)
def shop(real_clusters: tuple[RealCluster, RealCluster]) -> None:
    """Give each cluster a ConfigMap that says where it is."""
    for cluster in real_clusters:
        asyncio.run(cluster.apply(SHOP % cluster.name))


async def test_the_token_picks_the_cluster(
    gateway: GatewayProcess, real_clusters: tuple[RealCluster, RealCluster], mode: str
) -> None:
    """Two tokens of equal issuer and subject, at one URL, must lead to two clusters."""
    for cluster in real_clusters:
        async with connected(gateway.url, await cluster.token(), mode) as client:
            text = await call(client, "resource_get", resource="cm", name="shop", namespace="demo")
        assert text.splitlines()[0] == f"cluster {cluster.name} · configmaps/shop in namespace demo"
        assert f'"where":"{cluster.name}"' in text
        assert "only when asked" not in text
        assert "managedFields" not in text


async def test_tools_and_greeting_name_the_cluster(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """A client must be told which cluster it has, and be offered reading tools only."""
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        tools = (await client.list_tools()).tools
        assert f"cluster {real_cluster.name}" in str(client.instructions)
    assert [tool.name for tool in tools][:3] == ["resource_types", "resource_list", "resource_get"]
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools)


async def test_lists_are_tables_in_pages(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """Following `continue` must give every item once, and the last page must offer no more."""
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        seen: list[str] = []
        following: str | None = ""
        while following is not None:
            more = {"continue": following} if following else {}
            text = await call(client, "resource_list", resource="configmaps", limit=5, output="name", **more)
            *lines, last = text.splitlines()[1:]
            following = last.removeprefix("continue: ") if last.startswith("continue: ") else None
            seen += lines if following is not None else [*lines, last]
    assert len(seen) == len(set(seen)) > 2
    assert "demo\tshop" in seen


async def test_a_kind_is_found_as_people_type_it(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """Kind, plural, short name, group and version in any letter case must mean the same type."""
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        spellings = (
            "deploy",
            "Deployment",
            "DEPLOYMENTS",
            "deployments.apps",
            "deployments.v1.apps",
            "apps/v1/Deployment",
        )
        answers = {await call(client, "resource_list", resource=typed, namespace="demo") for typed in spellings}
        assert len(answers) == 1
        assert "Did you mean deployments.apps" in await failing(client, "resource_list", resource="deploymnts")


async def test_restricted_kinds_do_not_exist(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """Secrets and RBAC must be answered in the words of a kind that nobody ever heard of."""
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        for typed in (
            "secrets",
            "Secret",
            "v1/Secret",
            "sa",
            "serviceaccounts",
            "clusterroles",
            "roles.v1.rbac.authorization.k8s.io",
        ):
            text = await failing(client, "resource_list", resource=typed)
            assert text.startswith(f"Cluster {real_cluster.name} serves no {typed!r}.")
        types = await call(client, "resource_types")
    assert "secret" not in types.lower()
    assert "rbac" not in types


async def test_an_ambiguous_namespace_is_asked_for(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Where a name is in several namespaces, a person who can be asked decides, in both protocol generations."""
    asked: list[str] = []

    async def answer(_context: object, params: object) -> object:
        asked.append(getattr(params, "message", ""))
        return ElicitResult(action="accept", content={"answer": "demo"})

    async with connected(gateway.url, await real_cluster.token(), mode, elicitation_callback=answer) as client:
        text = await call(client, "resource_get", resource="cm", name="kube-root-ca.crt")
    assert text.startswith(f"cluster {real_cluster.name} · configmaps/kube-root-ca.crt in namespace demo")
    assert asked == ["ConfigMap kube-root-ca.crt exists in several namespaces. Which one?"]
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        refused = await failing(client, "resource_get", resource="cm", name="kube-root-ca.crt")
        assert refused.startswith("ConfigMap kube-root-ca.crt is in several namespaces: ")
        assert " demo," in refused


async def test_rbac_is_the_boundary(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """What the token may not read must come back as Kubernetes' refusal with what to do next."""
    token = await real_cluster.token(service_account="demo/viewer")
    async with connected(gateway.url, token, mode) as client:
        assert "shop" in await call(client, "resource_list", resource="cm", namespace="demo")
        text = await failing(client, "resource_list", resource="cm", namespace="kube-system")
    assert text.startswith("Forbidden by the cluster's RBAC: User \"system:serviceaccount:")
    assert text.endswith("or ask a person to grant it.")


async def test_names_that_would_change_the_path_send_nothing(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Slashes, dots and percent signs in a name must be refused before a request is made."""
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        await call(client, "resource_get", resource="cm", name="shop", namespace="demo")
        requests = "kube_mcp_gateway_api_requests_total"
        before, refused = gateway.metric(requests), gateway.metric(requests, status="bad_argument")
        for name in ("../secrets/x", "a/b", "one%2Flog", "..", ".", "a\\b", "x\ny"):
            for arguments in ({"name": name, "namespace": "demo"}, {"name": "shop", "namespace": name}):
                await failing(client, "resource_get", resource="pods", **arguments)
        refused = gateway.metric(requests, status="bad_argument") - refused
        assert (refused, gateway.metric(requests) - refused) == (14, before)


@pytest.mark.slow
async def test_a_restart_in_the_middle_of_a_session_is_not_noticed(
    real_cluster: RealCluster, tmp_path: Path, unused_tcp_port: int
) -> None:
    """A client that goes on with a session of the process before must be served without one."""
    clusters = describe(real_cluster)
    listen = {"port": unused_tcp_port}
    token = await real_cluster.token()
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        with running_gateway(tmp_path, clusters, listen=listen) as first:
            session = await _initialized(http, first.url)
            assert "shop" in await _listed(http, first.url, session)
        with running_gateway(tmp_path, clusters, listen=listen) as second:
            assert "shop" in await _listed(http, second.url, session)


async def _initialized(http: httpx2.AsyncClient, url: str) -> str:
    parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answer = await _posted(http, url, {"id": 1, "method": "initialize", "params": parameters})
    session = str(answer.headers["mcp-session-id"])
    await _posted(http, url, {"method": "notifications/initialized"}, session)
    return session


async def _listed(http: httpx2.AsyncClient, url: str, session: str) -> str:
    arguments = {"resource": "configmaps", "namespace": "demo"}
    message = {"id": 2, "method": "tools/call", "params": {"name": "resource_list", "arguments": arguments}}
    answer = await _posted(http, url, message, session)
    text: str = json.loads(answer.text)["result"]["content"][0]["text"]
    return text


async def _posted(http: httpx2.AsyncClient, url: str, message: dict[str, object], session: str = "") -> httpx2.Response:
    headers = {"Accept": "application/json, text/event-stream"}
    if session:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"}
    answer = await http.post(url, json={"jsonrpc": "2.0", **message}, headers=headers)
    assert answer.status_code in {200, 202}, answer.text
    return answer


@pytest.mark.slow
async def test_the_official_client_survives_a_restart(
    real_cluster: RealCluster, tmp_path: Path, unused_tcp_port: int, mode: str
) -> None:
    """The client object that was connected before the restart must go on answering after it."""
    clusters = describe(real_cluster)
    listen = {"port": unused_tcp_port}
    with running_gateway(tmp_path, clusters, listen=listen) as first:
        manager = connected(first.url, await real_cluster.token(), mode)
        client: Client = await manager.__aenter__()
        assert "shop" in await call(client, "resource_list", resource="cm", namespace="demo")
        first.process.terminate()
        first.process.wait(20)
    with running_gateway(tmp_path, clusters, listen=listen):
        assert "shop" in await call(client, "resource_list", resource="cm", namespace="demo")
        await manager.__aexit__(None, None, None)
