"""What warm and first calls cost a real API server, counted by its own metrics."""

import asyncio
from collections import Counter
from pathlib import Path

from gateway.kube.client import AGENT
from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import call, connected, describe, running_gateway

CALLS = 100
FIRST = {f"GET {path}": 1 for path in ("/openid/v1/jwks", "/api", "/apis")}
"""What a first call asks besides: whose tokens these are, and what the cluster serves."""


async def _requests(cluster: RealCluster, resource: str) -> float:
    return api_requests(await cluster.metrics(), resource=resource)


def api_requests(metrics: str, **labels: str) -> float:
    """Sum the API server's own count of requests with these labels."""
    total = 0.0
    for line in metrics.splitlines():
        if line.startswith("apiserver_request_total{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


async def test_a_warm_get_is_one_request_on_an_open_connection(real_cluster: RealCluster, tmp_path: Path) -> None:
    """A hundred warm gets must be a hundred requests, and no new connection."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        async with connected(gateway.url, await real_cluster.token(), "auto") as client:
            arguments = {"resource": "configmaps", "name": "kube-root-ca.crt", "namespace": "demo"}
            await call(client, "resource_get", **arguments)
            connections = await real_cluster.new_connections()
            before = api_requests(await real_cluster.metrics())
            gets = await _requests(real_cluster, "configmaps")
            for _ in range(CALLS):
                await call(client, "resource_get", **arguments)
            after = api_requests(await real_cluster.metrics())
            assert await _requests(real_cluster, "configmaps") - gets == CALLS
            assert await real_cluster.new_connections() == connections
            # Controllers go on meanwhile; nothing of the gateway's is among what they cause.
            assert after - before >= CALLS


async def test_a_hundred_first_calls_cause_what_one_does(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Callers that come at once to a cluster never seen must share one fetch of discovery and of keys."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        token = await real_cluster.token()
        before = len(await real_cluster.requests_by(AGENT))

        async def first_call() -> None:
            async with connected(gateway.url, token, "auto") as client:
                await call(client, "resource_list", resource="namespaces")

        await asyncio.gather(*(first_call() for _ in range(100)))
        asked = Counter((await real_cluster.requests_by(AGENT))[before:])
        own = [request for request in asked if "/api/v1/namespaces?" in request]
        assert sum(asked.pop(request) for request in own) == 100
        assert asked == FIRST
        assert gateway.metric("kube_mcp_gateway_discovery_fetches_total", outcome="read") == 1
        assert gateway.metric("kube_mcp_gateway_identity_key_reads_total") == 1
