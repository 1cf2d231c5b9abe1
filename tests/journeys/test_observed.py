"""What an agent did is told from what a person did, on the cluster's side too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, call, connected, describe, running_gateway


@pytest.fixture
def audited(real_cluster: RealCluster, tmp_path: Path) -> Iterator[tuple[GatewayProcess, Path]]:
    """A gateway whose audit trail goes to a file."""
    file = tmp_path / "audit.jsonl"
    with running_gateway(tmp_path, describe(real_cluster), audit={"to": "file", "path": str(file)}) as gateway:
        yield gateway, file


async def test_the_api_server_s_log_names_tool_and_request(
    real_cluster: RealCluster, audited: tuple[GatewayProcess, Path]
) -> None:
    """Its line for a request has our request id and our record has its audit id, so each leads to the other."""
    gateway, file = audited
    async with connected(gateway.url, await real_cluster.token(), "auto") as client:
        await call(client, "resource_get", resource="namespaces", name="kube-system")
    [record] = [json.loads(line) for line in file.read_text().splitlines()]
    assert (record["tool"], record["verb"], record["name"]) == ("resource_get", "get", "kube-system")
    assert record["api_audit_id"]
    real_cluster.admin.must("GET", "/version")  # after which what was answered before stands in the log
    log = (real_cluster.directory / "kube-apiserver.log").read_text(errors="replace")
    [line] = [line for line in log.splitlines() if f'audit-ID="{record["api_audit_id"]}"' in line and '"HTTP"' in line]
    agent = re.search(r'userAgent="([^"]*)"', line)
    assert agent is not None
    assert re.fullmatch(rf"kube-mcp-gateway/\S+ \(tool=resource_get; request={record['request_id']}\)", agent.group(1))
    assert not any("kubernetes_request" in each for each in gateway.lines)
