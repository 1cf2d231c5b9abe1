"""A real Prometheus watches the real gateway through four troubles, with the rules that are shipped."""

import asyncio
import datetime
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.alerts import RULES
from tests.cluster.cluster import RealCluster
from tests.cluster.pki import new_authority
from tests.cluster.plugin import unavailable
from tests.journeys.conftest import GatewayProcess, describe, running_gateway
from tests.ports import free_port

MINUTE = 60.0
CALL = {
    "name": "resource_list",
    "arguments": {"resource": "ns"},
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    },
}
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "resource_list",
}


class Prometheus:
    """A Prometheus that scrapes one gateway every second."""

    def __init__(self, url: str) -> None:
        """Speak to it at this URL."""
        self.url = url

    async def alerts(self) -> set[str]:
        """Return the alerts that are pending or firing."""
        async with httpx2.AsyncClient() as client:
            try:
                found = (await client.get(f"{self.url}/api/v1/alerts")).json()["data"]["alerts"]
            except httpx2.ConnectError:  # it is still starting
                return set()
        return {alert["labels"]["alertname"] for alert in found}

    async def scrapes(self) -> bool:
        """Tell whether it has the gateway's metrics."""
        async with httpx2.AsyncClient() as client:
            try:
                query = {"query": "kube_mcp_gateway_build_info"}
                answer = await client.get(f"{self.url}/api/v1/query", params=query)
            except httpx2.ConnectError:
                return False
        return answer.status_code == 200 and bool(answer.json()["data"]["result"])


@contextmanager
def prometheus(folder: Path, gateway: GatewayProcess) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped rules."""
    if shutil.which("prometheus") is None:
        unavailable("there is no prometheus; on Debian and Ubuntu: apt-get install prometheus")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "gateway", "static_configs": [{"targets": [gateway.admin.removeprefix("http://")]}]}
        ],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(20)


async def until(holds: Callable[[], Awaitable[bool]], doing: Callable[[], Awaitable[object]] | None = None) -> float:
    """Wait until it holds, doing something meanwhile; return the seconds it took, at most a minute."""
    started = time.monotonic()
    async with asyncio.timeout(MINUTE):
        while not await holds():
            if doing is not None:
                await doing()
            await asyncio.sleep(0.5)
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_each_trouble_is_told_within_a_minute(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """A certificate nears its end, a token ends, a caller floods, a cluster dies: each in its alert, in a minute."""
    authority = new_authority("agents")
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    pair = authority.serving("gateway", ["127.0.0.1"], until=soon)
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    tls = {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    listed = describe(fresh_cluster, limits={"readsPerMinute": 10, "connectSeconds": 1, "breakerFailures": 3})
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    token, ended = await fresh_cluster.token(), await fresh_cluster.token(seconds=-60)
    other = await fresh_cluster.token(service_account="demo/viewer")
    with (
        running_gateway(tmp_path, listed, listen={"tls": tls}) as gateway,
        prometheus(tmp_path, gateway) as watching,
    ):

        async def call(token: str = token) -> int:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
            async with httpx2.AsyncClient(verify=trust, timeout=30) as client:
                headers = HEADERS | {"authorization": f"Bearer {token}"}
                return (await client.post(gateway.url, json=body, headers=headers)).status_code

        async def told(alert: str) -> bool:
            return f"KubeMcpGateway{alert}" in await watching.alerts()

        await until(watching.scrapes)
        assert await call() == await call(other) == 200
        await until(lambda: told("CertificateEnds"))
        assert await watching.alerts() == {"KubeMcpGatewayCertificateEnds"}

        await until(lambda: told("TokensExpired"), lambda: call(ended))
        await until(lambda: told("CallerFloods"), call)
        assert not await told("ClusterDown")
        await fresh_cluster.kill_apiserver()
        await until(lambda: told("ClusterDown"), lambda: call(other))
