"""The real gateway as a process of its own, and the official MCP client in front of it."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.subscriptions import ResourceUpdated

from tests.cluster.cluster import RealCluster

MODES = ("legacy", "auto")
"""The handshake era, and the stateless generation (2026-07-28), which a client finds by asking first."""
START_SECONDS = 90


@dataclass(slots=True)
class GatewayProcess:
    """One `kube-mcp-gateway serve`: where it answers, and what it wrote so far."""

    process: subprocess.Popen[str]
    url: str
    admin: str
    lines: list[str] = field(default_factory=list)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels, read now."""
        total = 0.0
        for line in httpx2.get(f"{self.admin}/metrics").text.splitlines():
            sample, _, value = line.rpartition(" ")
            found, _, listed = sample.partition("{")
            if found == name and all(f'{key}="{word}"' in listed for key, word in labels.items()):
                total += float(value)
        return total


def describe(*clusters: RealCluster, **more: Any) -> list[dict[str, Any]]:
    """Return the `clusters` section for these clusters; `more` stands in each."""
    return [
        {
            "name": cluster.name,
            "server": cluster.server,
            "certificateAuthority": str(cluster.ca_file),
            "defaultAudience": "https://kubernetes.default.svc",
            **more,
        }
        for cluster in clusters
    ]


@contextmanager
def running_gateway(folder: Path, clusters: Sequence[dict[str, Any]], **settings: Any) -> Iterator[GatewayProcess]:
    """Run the gateway with these clusters; it must end cleanly when asked to."""
    file = folder / "gateway.yaml"
    listen = {"port": 0, **settings.pop("listen", {})}
    base = {"listen": listen, "admin": {"port": 0}, "log": {"format": "json"}, "clusters": list(clusters)}
    file.write_text(json.dumps(base | settings))
    process = subprocess.Popen(
        [sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--config", str(file)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("KUBE_MCP_GATEWAY_")},
    )
    lines: list[str] = []
    started: Queue[dict[str, Any]] = Queue()
    reader = threading.Thread(target=_collect, args=(process, lines, started), daemon=True)
    reader.start()
    try:
        try:
            serving = started.get(timeout=START_SECONDS)
        except Empty:
            pytest.fail("the gateway did not start:\n" + "\n".join(lines))
        yield GatewayProcess(process, serving["url"], serving["admin"], lines)
    finally:
        process.terminate()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()
    assert status == 0, "\n".join(lines[-20:])


def _collect(process: subprocess.Popen[str], lines: list[str], started: "Queue[dict[str, Any]]") -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.rstrip("\n"))
        if re.search(r'"event": ?"serving"', line):
            started.put(json.loads(line))


@asynccontextmanager
async def connected(url: str, token: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """Connect the official client with a Bearer header, in one protocol generation."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool and return its text; a tool error is an assertion error."""
    result = await client.call_tool(tool, arguments)
    text = _text(result)
    assert not result.is_error, text
    return text


async def failing(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must answer with a tool error, and return its text."""
    result = await client.call_tool(tool, arguments)
    text = _text(result)
    assert result.is_error, text
    return text


def _text(result: Any) -> str:
    assert [content.type for content in result.content] == ["text"]
    text: str = result.content[0].text
    return text


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each protocol generation in turn."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def gateway(
    real_clusters: tuple[RealCluster, RealCluster], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One read-only gateway in front of both real clusters, for tests that leave it as it was."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), describe(*real_clusters), rateLimiting=False) as running:
        yield running


@asynccontextmanager
async def subscribed(url: str, token: str, mode: str, *uris: str) -> AsyncIterator["asyncio.Queue[str]"]:
    """Subscribe in the generation's own way; give the URIs that the client is told of."""
    told: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: Any) -> None:
        if mode == "legacy" and isinstance(message, types.ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))

    async with connected(url, token, mode, message_handler=on_message) as client:
        if mode == "legacy":
            for uri in uris:
                await client.subscribe_resource(uri)  # type: ignore[deprecated]  # the way of this generation
            yield told
            return
        async with client.listen(resource_subscriptions=uris) as subscription:
            assert subscription.honored.resource_subscriptions == list(uris)

            async def pump() -> None:
                async for event in subscription:
                    if isinstance(event, ResourceUpdated):
                        told.put_nowait(event.uri)

            task = asyncio.create_task(pump())
            try:
                yield told
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
