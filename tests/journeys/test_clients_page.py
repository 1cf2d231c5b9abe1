"""Every command and every entry of docs/clients.md works as it stands, but for the gateway's URL."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.cluster.cluster import RealCluster
from tests.documented import ROOT, Block, blocks
from tests.journeys.conftest import GatewayProcess, call, connected
from tests.operator.kubeconfigs import certificate, kubeconfig

PAGE = blocks(ROOT / "docs" / "clients.md")
URL = "https://mcp.example/mcp"
pytestmark = pytest.mark.slow

COMMANDS = [block for block in PAGE if block.language == "sh"]
ENTRIES = [block for block in PAGE if block.language == "json"]
PROGRAMS = [block for block in PAGE if block.language == "python"]
ACCOUNT = """
apiVersion: v1
kind: Namespace
metadata: {name: kube-mcp-gateway}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent-ada, namespace: kube-mcp-gateway}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent-ada}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: agent-ada, namespace: kube-mcp-gateway}]
"""


def _line(block: Block) -> str:
    return f"line {block.line}"


@dataclass(frozen=True, slots=True)
class Machine:
    """Ada's machine: her home with a kubeconfig, the command on her PATH, and the gateway she was told of."""

    environment: Mapping[str, str]
    gateway: GatewayProcess

    async def run(self, text: str) -> str:
        """Run this in her shell and return what it prints; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", text, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    def real(self, text: str) -> str:
        """Return the text with the gateway's real URL."""
        return text.replace(URL, self.gateway.url)


@pytest.fixture
async def machine(gateway: GatewayProcess, real_clusters: tuple[RealCluster, RealCluster], tmp_path: Path) -> Machine:
    """Ada's machine, and her service account on both clusters."""
    for cluster in real_clusters:
        await cluster.apply(ACCOUNT)
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", {c.name: (c, certificate(c)) for c in real_clusters})
    program = tmp_path / "bin" / "kube-mcp-gateway"
    program.parent.mkdir()
    start = shlex.join([sys.executable, "-c", "from gateway.cli import main; main()"])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {start} "$@"\n')
    program.chmod(0o700)
    path = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return Machine({"HOME": str(tmp_path), "LOGNAME": "ada", "PATH": path}, gateway)


@pytest.mark.parametrize("block", COMMANDS, ids=_line)
async def test_a_command_works_and_prints_the_entry_below_it(machine: Machine, block: Block) -> None:
    """Each command must succeed as it is written; where an entry follows, that must be what it prints."""
    printed = await machine.run(block.text)
    following = dict(pairwise(PAGE))
    if re.search("--output (?!header)", block.text):
        assert json.loads(printed) == json.loads(following[block].text)


@asynccontextmanager
async def _as_the_client_does(machine: Machine, entry: Mapping[str, Any]) -> AsyncIterator[Client]:
    """Connect with one server's entry: start its command, or send the header that it names."""
    if "command" in entry:
        parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=dict(machine.environment))
        async with Client(stdio_client(parameters)) as client:
            yield client
        return
    helper = entry.get("headersHelper")
    headers = json.loads(await machine.run(helper)) if helper else entry["headers"]
    token = await machine.run("kube-mcp-gateway token --context east")
    authorization = re.sub(r"\$\{(env:|input:)?[\w-]+\}", token.strip(), headers["Authorization"])
    assert authorization.startswith("Bearer eyJ")
    async with connected(entry["url"], authorization.removeprefix("Bearer "), "auto") as client:
        yield client


@pytest.mark.parametrize("block", ENTRIES, ids=_line)
async def test_an_entry_connects(machine: Machine, block: Block) -> None:
    """Each entry, used the way its client uses it, must lead to an answer of its cluster."""
    document = json.loads(machine.real(block.text))
    (entry,) = (document.get("mcpServers") or document["servers"]).values()
    async with _as_the_client_does(machine, entry) as client:
        (types, *_) = (await client.list_tools()).tools
        several = types.input_schema["properties"].get("cluster", {}).get("enum", [])
        for cluster in several or ["east"]:
            where = {"cluster": cluster} if several else {}
            text = await call(client, "resource_list", resource="namespaces", **where)
            assert text.startswith(f"cluster {cluster} ·")


@pytest.mark.parametrize("block", PROGRAMS, ids=_line)
async def test_a_program_works(machine: Machine, block: Block) -> None:
    """Each program must run as it is written, and show both clusters."""
    printed = await machine.run(f"{shlex.quote(sys.executable)} -c {shlex.quote(machine.real(block.text))}")
    assert [line for line in printed.splitlines() if line.startswith("cluster ")] != []
    assert "cluster east ·" in printed
    assert "cluster west ·" in printed
