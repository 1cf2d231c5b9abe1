"""An agent waits for real clusters: it sees how far things have come, and a wait ends with whoever asked for it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cluster.cluster import RealCluster
from tests.cluster.node import RealNodeCluster
from tests.journeys.conftest import GatewayProcess, call, connected, describe, failing, running_gateway

pytestmark = pytest.mark.asyncio

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: local.test/busybox:1
        imagePullPolicy: Never
        command: [sleep, "1000"]
        env: [{name: ROUND, value: "VALUE"}]
"""
JSON_RPC = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def _deployment(name: str, value: str = "1") -> str:
    return DEPLOYMENT.replace("NAME", name).replace("VALUE", value)


async def _until(gateway: GatewayProcess, watches: int) -> None:
    """Wait until so many watches are open in the gateway."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(gateway.metric, "kube_mcp_gateway_watches") != watches:  # noqa: ASYNC110  # scraped
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_real_rollout_is_waited_for_with_progress(
    real_node: RealNodeCluster, tmp_path: Path, mode: str
) -> None:
    """A client must see the steps of a real rollout, and get the answer when it is complete."""
    name = f"rolls-{mode}"
    seen: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    with running_gateway(tmp_path, describe(real_node)) as gateway:
        async with connected(gateway.url, await real_node.token(), mode) as client:
            for value in ("1", "2"):
                await real_node.apply(_deployment(name, value))
                result = await client.call_tool(
                    "resource_wait",
                    {"resource": "deploy", "name": name, "namespace": "demo", "condition": "rolled out", "timeout": 90},
                    progress_callback=on_progress,
                )
                text = result.content[0].text  # type: ignore[union-attr]  # it is text, or the test fails
                assert not result.is_error, text
                assert text.splitlines()[1] == "2 of 2 replicas are updated and available"
            pods = {"resource": "pods", "labelSelector": f"app={name}", "namespace": "demo"}
            assert "Ready" in await call(client, "resource_wait", **pods, condition="Ready")
            await real_node.request("DELETE", f"/apis/apps/v1/namespaces/demo/deployments/{name}")
            assert "· deleted" in await call(client, "resource_wait", **pods, condition="deleted")
    assert any("updated replicas are available" in str(message) for _, _, message in seen)
    assert all(total == 90 for _, total, _ in seen)


async def test_the_limit_says_what_is_missing(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """Where nothing runs pods, the answer must say after its time how far the rollout came."""
    await real_cluster.apply(_deployment("stuck"))
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        wait = {"resource": "deploy", "name": "stuck", "namespace": "demo"}
        # Its controller needs a moment to say anything, and to make the replicas.
        assert "Available=False" in await call(client, "resource_wait", **wait, condition="Available=False")
        wait["timeout"] = "0.5"
        text = await call(client, "resource_wait", **wait, condition="rolled out")
        assert "· NOT rolled out after" in text.splitlines()[0]
        assert "of 2" in text
        text = await call(client, "resource_wait", **wait, condition="Available")
        assert "Available=False (MinimumReplicasUnavailable: " in text
        text = await failing(client, "resource_wait", **{**wait, "resource": "secrets"}, condition="exists")
        assert "serves no 'secrets'" in text


async def test_a_viewer_may_wait_for_what_it_may_watch(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """RBAC must decide about watches as about everything else, in Kubernetes' own words."""
    token = await real_cluster.token(service_account="demo/viewer")
    async with connected(gateway.url, token, mode) as client:
        wait = {"resource": "cm", "name": "kube-root-ca.crt", "condition": "exists"}
        assert "exists already" in await call(client, "resource_wait", **wait, namespace="demo")
        text = await failing(client, "resource_wait", **wait, namespace="kube-system")
        assert "Forbidden by the cluster's RBAC" in text


@pytest.mark.parametrize("with_progress", [False, True], ids=["plain", "progress"])
@pytest.mark.parametrize("asks", [False, True], ids=["mute", "asking"])
async def test_a_cancelled_wait_ends_its_watch(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str, *, with_progress: bool, asks: bool
) -> None:
    """A client that gives up on its call must leave no watch and no lease behind, in either generation."""
    await real_cluster.apply(_deployment("stuck"))

    async def ignored(*_: Any) -> Any:
        raise AssertionError

    options = {"elicitation_callback": ignored} if asks else {}
    told = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert message, (progress, total)
        told.set()

    async with connected(gateway.url, await real_cluster.token(), mode, **options) as client:
        arguments = {"resource": "deploy", "name": "stuck", "namespace": "demo", "condition": "rolled out"}
        task = asyncio.create_task(
            client.call_tool("resource_wait", arguments, progress_callback=on_progress if with_progress else None)
        )
        await _until(gateway, 1)
        if with_progress:
            await told.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await _until(gateway, 0)
        # The session, where there is one, goes on.
        assert "configmaps" in await call(client, "resource_list", resource="cm", namespace="demo")
    assert gateway.metric("kube_mcp_gateway_pool_leases") == 0


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "stream"])
async def test_a_lost_connection_ends_the_watch(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str, *, streamed: bool
) -> None:
    """A caller that vanishes without a word must not leave a watch behind for minutes."""
    await real_cluster.apply(_deployment("stuck"))
    arguments = {"resource": "deploy", "name": "stuck", "namespace": "demo", "condition": "rolled out"}
    parameters: dict[str, Any] = {"name": "resource_wait", "arguments": arguments}
    meta: dict[str, Any] = {"progressToken": 1} if streamed else {}
    headers = {"authorization": f"Bearer {await real_cluster.token()}", **JSON_RPC}
    if mode == "auto":
        headers |= {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "resource_wait"}
        meta |= {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters | {"_meta": meta}}
    async with httpx2.AsyncClient(headers=headers) as http:
        task = asyncio.create_task(http.post(gateway.url, content=json.dumps(body)))
        await _until(gateway, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await _until(gateway, 0)
    assert gateway.metric("kube_mcp_gateway_pool_leases") == 0


@pytest.fixture(scope="module")
def gateway(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway in front of the real cluster."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), describe(real_cluster)) as running:
        yield running
