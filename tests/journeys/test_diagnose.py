"""An agent asks what is wrong: one call through the real gateway on a real cluster."""

import json

import pytest

from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, call, connected, failing

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: diagnose}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: diagnose}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: diagnose}
spec: {ingressClassName: ngnix, defaultBackend: {service: {name: wbe, port: {number: 80}}}}
"""

pytestmark = pytest.mark.asyncio


async def test_one_call_names_the_cause(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """Kind and name as people type them are enough; the first line is the cause, and requests stay within the bound."""
    await real_cluster.apply(WORLD)
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        await call(client, "resource_types")
        before = gateway.metric("kube_mcp_gateway_api_requests_total", cluster=real_cluster.name)
        text = await call(client, "diagnose", resource="ingress/shop", namespace="diagnose")
        requests = gateway.metric("kube_mcp_gateway_api_requests_total", cluster=real_cluster.name) - before
        assert text.splitlines()[0].startswith(
            f"cluster {real_cluster.name} · ingress diagnose/shop leads to service diagnose/wbe, which does not exist"
        )
        assert requests <= 12
        answer = json.loads(await call(client, "diagnose", namespace="diagnose", output="json"))
        assert "service-selects-nothing" in {finding["id"] for finding in answer["findings"]}
        assert answer["requests"] <= 30


async def test_the_whole_cluster_is_asked_without_arguments(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Nothing given means the cluster: what stands in its namespaces is found, and no restricted kind is named."""
    await real_cluster.apply(WORLD)
    async with connected(gateway.url, await real_cluster.token(), mode) as client:
        text = await call(client, "diagnose", detail=True)
    assert "diagnose/wbe" in text
    assert "secrets" not in text


async def test_what_the_token_may_not_read_is_said(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Where RBAC hides the object itself the refusal is Kubernetes' own; where it hides more, that is told."""
    await real_cluster.apply(WORLD)
    token = await real_cluster.token(service_account="demo/viewer")
    async with connected(gateway.url, token, mode) as client:
        assert "orbidden" in await failing(client, "diagnose", resource="svc", name="web", namespace="diagnose")
        text = await call(client, "diagnose", namespace="demo")
        assert "not read:" in text
