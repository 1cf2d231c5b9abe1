"""Agents over the gateway's own TLS and HTTP/2: the real process, a real API server, the official client."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ResponseReceived
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.cluster.cluster import RealCluster
from tests.cluster.pki import Authority, new_authority
from tests.journeys.conftest import GatewayProcess, call, describe, running_gateway

PATIENCE = 30.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Give the authority that issues the gateway's certificates."""
    return new_authority("agents trust this")


@pytest.fixture(scope="module")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the gateway's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    renew(folder, authority)
    return folder


@pytest.fixture(scope="module")
def encrypted(
    real_cluster: RealCluster, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Run a gateway that speaks TLS."""
    tls = {"certificate": str(files / "tls.crt"), "key": str(files / "tls.key")}
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, describe(real_cluster), listen={"tls": tls}, rateLimiting=False) as running:
        yield running


def renew(folder: Path, authority: Authority) -> None:
    """Put a new certificate where the gateway looks."""
    pair = authority.serving("gateway", ["127.0.0.1"])
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)


@asynccontextmanager
async def http2(authority: Authority, token: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Open an HTTP/2 client that shows this token."""
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(http1=False, http2=True, verify=trust, headers=headers, timeout=60) as client:
        yield client


async def test_many_calls_share_one_http2_connection(
    encrypted: GatewayProcess, real_cluster: RealCluster, authority: Authority, mode: str
) -> None:
    """Tool calls, sessions and streams of the official client work over HTTP/2, side by side on one connection."""
    await real_cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: tls, namespace: demo}}")
    async with http2(authority, await real_cluster.token()) as http:
        answer = await http.get(encrypted.url.replace("/mcp", "/health"))
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        async with Client(streamable_http_client(encrypted.url, http_client=http), mode=mode) as client:
            get = {"resource": "configmaps", "name": "tls", "namespace": "demo"}
            texts = await asyncio.gather(*(call(client, "resource_get", **get) for _ in range(60)))
            assert all('"name":"tls"' in text for text in texts)


async def test_a_reset_stream_ends_its_call(
    encrypted: GatewayProcess, real_cluster: RealCluster, authority: Authority
) -> None:
    """A client that gives up one call (RST_STREAM) ends what the call does at the cluster, and goes on."""
    arguments = {"resource": "configmaps", "name": "never", "namespace": "demo", "condition": "exists", "timeout": 60}
    version = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "resource_wait", "arguments": arguments, "_meta": version},
    }
    # httpx leaves a stream that it gave up as it is; other clients reset it.
    url = httpx2.URL(encrypted.url)
    headers = {
        ":method": "POST",
        ":path": url.path,
        ":scheme": "https",
        ":authority": url.netloc.decode(),
        "authorization": f"Bearer {await real_cluster.token()}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "resource_wait",
    }
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=trust)
    http = H2Connection(H2Configuration(client_side=True))
    http.initiate_connection()
    http.send_headers(1, list(headers.items()))
    http.send_data(1, json.dumps(body).encode(), end_stream=True)
    writer.write(http.data_to_send())
    await _until(encrypted, watches=1)
    http.reset_stream(1, ErrorCodes.CANCEL)
    http.send_headers(
        3, [(name, "GET" if name == ":method" else value) for name, value in headers.items()], end_stream=True
    )
    writer.write(http.data_to_send())
    await _until(encrypted, watches=0)
    events = http.receive_data(await reader.read(65536))
    assert any(isinstance(event, ResponseReceived) and event.stream_id == 3 for event in events)
    writer.close()
    await writer.wait_closed()


async def test_a_renewed_certificate_serves_new_connections(
    encrypted: GatewayProcess, real_cluster: RealCluster, authority: Authority, files: Path
) -> None:
    """A certificate from another authority is in use seconds after it is on disk, and open connections go on."""
    other = new_authority("and later this")
    token = await real_cluster.token()
    async with http2(authority, token) as before:
        health = encrypted.url.replace("/mcp", "/health")
        assert (await before.get(health)).status_code == 200
        renew(files, other)
        try:
            async with asyncio.timeout(PATIENCE):
                while not any("certificate_replaced" in line for line in encrypted.lines):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            async with http2(other, token) as after:
                assert (await after.get(health)).status_code == 200
            assert (await before.get(health)).status_code == 200
            async with http2(authority, token) as distrusting:
                with pytest.raises(httpx2.ConnectError):
                    await distrusting.get(health)
        finally:
            renew(files, authority)
            async with asyncio.timeout(PATIENCE):
                while sum("certificate_replaced" in line for line in encrypted.lines) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    assert encrypted.metric("kube_mcp_gateway_tls_certificate_stale") == 0
    assert encrypted.metric("kube_mcp_gateway_tls_certificate_expires_timestamp_seconds") > 0


async def _until(gateway: GatewayProcess, watches: int) -> None:
    """Wait until so many watches are open in the gateway."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(gateway.metric, "kube_mcp_gateway_watches") != watches:  # noqa: ASYNC110  # scraped
            await asyncio.sleep(0.05)
