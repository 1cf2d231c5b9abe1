import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest
from quart import typing as quart_typing

from gateway.admin.options import AdminOptions
from gateway.app import Gateway, create_app
from gateway.clusters.options import ClusterOptions
from gateway.demo import EmbeddedCluster
from gateway.settings import Settings, SettingsError
from tests.workbench import listed

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "resource_list", "arguments": {}}}


def settings(*clusters: ClusterOptions, **more: Any) -> Settings:
    """Return settings for these clusters, with ports that are free."""
    return Settings(clusters=clusters, admin=AdminOptions(port=0), **more)


async def call(client: quart_typing.TestClientProtocol, token: str, resource: str) -> str:
    """List something over HTTP, and return the answer's text."""
    parameters = {"name": "resource_list", "arguments": {"resource": resource}}
    response = await client.post(
        "/mcp",
        json=LIST | {"params": parameters},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"},
    )
    assert response.status_code == 200, await response.get_data()
    text: str = json.loads(await response.get_data())["result"]["content"][0]["text"]
    return text


async def test_the_app_serves_a_listed_cluster(cluster: EmbeddedCluster) -> None:
    """From the Bearer header to the cluster's own table, with nothing but what the settings say."""
    app = create_app(settings(listed(cluster)))
    async with app.test_app() as running:
        text = await call(running.test_client(), await cluster.token(), "namespaces")
    assert text.startswith("cluster east · namespaces · 5 in all\nNAME\tSTATUS\tAGE\ndefault\tActive\t")


async def test_starting_dials_nobody(cluster: EmbeddedCluster) -> None:
    """Neither building nor starting nor being ready asks a cluster anything: a dead one holds nobody up."""
    dead = ClusterOptions(name="dead", server="https://127.0.0.1:1")
    app = create_app(settings(listed(cluster), dead))
    gateway: Gateway = app.extensions["gateway"]
    async with app.test_app() as running:
        assert gateway.readiness.ready
        health = await running.test_client().get("/health")
        assert (health.status_code, await health.get_data()) == (200, b"ok\n")
        assert (cluster.connections, repr(gateway.pool)) == (0, "<Pool 0 open, 0 draining>")
    assert not gateway.readiness.ready


async def test_one_clusters_trouble_is_its_own(cluster: EmbeddedCluster) -> None:
    """A token for a dead cluster gets 503 with when to come back; another cluster's callers notice nothing."""
    async with EmbeddedCluster("west") as west:
        dead_token = await west.token()
        dead = listed(west)
    app = create_app(settings(listed(cluster), dead))
    async with app.test_app() as running:
        client = running.test_client()
        response = await client.post("/mcp", json=LIST, headers={"Authorization": f"Bearer {dead_token}"})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert "namespaces" in await call(client, await cluster.token(), "namespaces")


async def test_a_session_belongs_to_one_cluster(cluster: EmbeddedCluster) -> None:
    """Two clusters of equal issuers and subjects, as all kind clusters are, do not share what a client opened."""
    opening = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
    }
    accept = {"Accept": "application/json, text/event-stream"}
    async with EmbeddedCluster("west") as west:
        app = create_app(settings(listed(cluster), listed(west)))
        async with app.test_app() as running:
            client = running.test_client()
            ours = accept | {"Authorization": f"Bearer {await cluster.token()}"}
            theirs = accept | {"Authorization": f"Bearer {await west.token()}"}
            opened = await client.post("/mcp", json=opening, headers=ours)
            session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
            listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            statuses = [
                (await client.post("/mcp", json=listing, headers=who | session)).status_code
                for who in (ours, theirs, ours)
            ]
    assert statuses == [200, 404, 200]


async def test_metrics_are_on_the_admin_listener_alone(cluster: EmbeddedCluster) -> None:
    """Calls, requests, pool, verdicts and discovery are there, and no token is."""
    token = await cluster.token()
    app = create_app(settings(listed(cluster)))
    async with app.test_app() as running:
        client = running.test_client()
        await call(client, token, "pods")
        assert (await client.get("/metrics")).status_code == 404
        async with httpx2.AsyncClient() as http:
            scraped = (await http.get(f"{app.extensions['admin_url']}/metrics")).text
    for sample in (
        'kube_mcp_gateway_tool_calls_total{cluster="east",outcome="ok",tool="resource_list"} 1.0',
        'kube_mcp_gateway_api_requests_total{cluster="east",status="200",verb="list"} 1.0',
        "kube_mcp_gateway_pool_clients 1.0",
        "kube_mcp_gateway_pool_leases 0.0",
        "kube_mcp_gateway_identity_verdicts 1.0",
        "kube_mcp_gateway_identity_key_reads_total 1.0",
        'kube_mcp_gateway_discovery_fetches_total{cluster="east",outcome="read"} 1.0',
        "kube_mcp_gateway_insecure_clusters 0.0",
    ):
        assert sample in scraped
    assert not any(part in scraped for part in token.split("."))


async def test_ending_closes_everything(cluster: EmbeddedCluster) -> None:
    """No connection, client or listener outlives the app."""
    app = create_app(settings(listed(cluster)))
    gateway: Gateway = app.extensions["gateway"]
    async with app.test_app() as running:
        await call(running.test_client(), await cluster.token(), "pods")
        assert gateway.pool.state().open == 1
        admin: str = app.extensions["admin_url"]
    assert repr(gateway.pool) == "<Pool 0 open, 0 draining>"
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"{admin}/healthz")


async def test_a_cluster_that_is_not_verified_shows_in_the_metrics(cluster: EmbeddedCluster) -> None:
    """An operator sees that somebody in between could read every token."""
    app = create_app(settings(listed(cluster, certificate_authority_data=None, insecure=True)))
    gateway: Gateway = app.extensions["gateway"]
    assert "kube_mcp_gateway_insecure_clusters 1.0" in generate_latest(gateway.metrics.registry).decode()


async def test_without_settings_the_environment_names_the_file(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that plain hypercorn on the factory runs the same app as the command."""
    (tmp_path / "ca.crt").write_bytes(cluster.ca_pem)
    entry = {"name": "named", "server": cluster.server, "certificateAuthority": "ca.crt"}
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps({"admin": {"port": 0}, "clusters": [entry]}))
    monkeypatch.setenv("KUBE_MCP_GATEWAY_CONFIG", str(file))
    app = create_app()
    async with app.test_app() as running:
        text = await call(running.test_client(), await cluster.token(), "nodes")
    assert text == "cluster named · nodes · none"


def test_mistakes_in_the_settings_start_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of them are named, and there is no app."""
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps({"listen": {"port": "many"}, "clusters": [{"name": "UPPER"}]}))
    monkeypatch.setenv("KUBE_MCP_GATEWAY_CONFIG", str(file))
    with pytest.raises(SettingsError) as caught:
        create_app()
    assert len(caught.value.problems) == 3
