"""Any tools behind the real endpoint under hypercorn, and the official MCP client in front, in one process."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from hypercorn.asyncio import serve
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server

from gateway.access.sealing import SealingKeys
from gateway.access.session import ClusterSession
from gateway.cli.connection import ListenerConfig
from gateway.clusters.registry import ClusterRegistry
from gateway.edge.endpoint import McpEndpoint
from gateway.edge.managers import Managers
from gateway.edge.options import ListenOptions
from gateway.edge.origins import origins_for
from gateway.edge.responses import Receive, Scope, Send
from gateway.edge.sources import Sources
from gateway.protocol.calls import Calls
from gateway.protocol.server import create_server
from gateway.tools.tool import Arguments, Tool
from tests.workbench import Workbench

MODES = ("legacy", "auto")
"""The handshake era, and the stateless generation (2026-07-28)."""


class NoArguments(Arguments):
    """A tool that takes no arguments."""


def tool(
    run: Callable[[ClusterSession], Awaitable[str]], arguments: type[Arguments] = NoArguments, **more: Any
) -> Tool[Any]:
    """Return a tool that runs this, named after it."""

    async def running(session: ClusterSession, _arguments: Arguments) -> str:
        return await run(session)

    name = getattr(run, "__name__", "tool")
    return Tool(name=name, title=name, description=name, arguments=arguments, run=running, **more)


async def _lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def serving(bench: Workbench, *tools: Tool[Any], lapses_after: float = 10) -> AsyncIterator[str]:
    """Serve these tools to callers of the workbench's cluster, at the URL that comes."""
    calls = Calls(bench.access, tools, lapses_after=lapses_after)
    server: Server[Any] = create_server(
        bench.access, calls, version="1", sealing_keys=SealingKeys(), lapses_after=lapses_after
    )
    managers = Managers.of(server)
    endpoint = McpEndpoint(
        _lifespan,
        identity=bench.identity,
        registry=ClusterRegistry([bench.options]),
        managers=managers,
        calls=calls,
        origins=origins_for("127.0.0.1", (), ()),
        sources=Sources(()),
        metrics=bench.metrics,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = ListenerConfig(ListenOptions(drain_seconds=1))
    config.bind = [f"fd://{listening.detach()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    stop = asyncio.Event()
    async with managers.run():
        served = asyncio.create_task(serve(endpoint, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]  # any ASGI app
        try:
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            await endpoint.close_streams()
            stop.set()
            await served


@asynccontextmanager
async def connected(bench: Workbench, url: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """Connect the official client as demo/mcp, in one protocol generation."""
    headers = {"Authorization": f"Bearer {await bench.cluster.token()}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
    ):
        yield client


async def call(client: Client, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> tuple[bool, str]:
    """Call a tool and return whether it failed, and its text."""
    result = await client.call_tool(name, arguments or {}, **options)
    [content] = result.content
    text: str = getattr(content, "text", "")
    return bool(result.is_error), text


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each protocol generation in turn."""
    chosen: str = request.param
    return chosen
