"""The endpoint in front of real rooms and an embedded cluster, called as an ASGI server calls it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from mcp.server.lowlevel import Server

from gateway import __version__
from gateway.access.sealing import SealingKeys
from gateway.clusters.registry import ClusterRegistry
from gateway.edge.endpoint import McpEndpoint
from gateway.edge.managers import Managers
from gateway.edge.origins import Origins, origins_for
from gateway.edge.responses import Message, Receive, Scope, Send, answer
from gateway.edge.sources import Sources
from gateway.protocol.calls import Calls
from gateway.protocol.server import create_server
from gateway.tools.tool import Tool
from tests.workbench import Workbench

HOST = "127.0.0.1:8080"
LIST: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON, also from the one event of a stream."""
        text = self.body.decode()
        return orjson.loads(text.partition("data: ")[2] or text)


@dataclass(slots=True)
class Edge:
    """The endpoint and the workbench behind it."""

    bench: Workbench
    endpoint: McpEndpoint
    token: str

    def headers(self, *more: tuple[str, str], token: str | None = "", host: str = HOST) -> Headers:
        """Return the headers of a good request, with another token or none, and more."""
        chosen = self.token if token == "" else token
        return [
            ("Host", host),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            *([("Authorization", f"Bearer {chosen}")] if chosen is not None else []),
            *more,
        ]

    async def send(
        self,
        method: str = "POST",
        path: str = "/mcp",
        *,
        headers: Headers | None = None,
        body: Any = LIST,
        receive: Receive | None = None,
    ) -> Response:
        """Make one request; `receive` stands for a body that comes otherwise than at once."""
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode("latin-1")) for name, value in (headers or self.headers())
            ],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
        }
        answered = Answered()
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        await self.endpoint(scope, receive or answered.receiving([raw]), answered.send)
        return answered.response()


@dataclass(slots=True)
class Answered:
    """What an ASGI server would have been told."""

    messages: list[Message] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        """Take one message of the answer."""
        self.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.over.set()

    def receiving(self, parts: Iterable[bytes]) -> Receive:
        """Give the body in these parts, and then that the client has gone once it was answered."""
        pending = [*parts]

        async def receive() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(0), "more_body": bool(pending)}
            await self.over.wait()
            return {"type": "http.disconnect"}

        return receive

    def response(self) -> Response:
        """Return the whole answer."""
        start, *rest = self.messages
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Response(start["status"], headers, b"".join(message.get("body", b"") for message in rest))


MakeEdge = Callable[..., Awaitable[Edge]]


async def _other(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, 404, b"of another app")


@pytest.fixture
async def make_edge(bench: Workbench) -> AsyncIterator[MakeEdge]:
    """Give a way to stand an endpoint in front of the workbench's rooms."""
    stop = asyncio.Event()
    lives: list[asyncio.Task[None]] = []

    async def make(
        origins: Origins | None = None,
        server: Server[Any] | None = None,
        tools: Iterable[Tool[Any]] | None = None,
        **options: Any,
    ) -> Edge:
        calls = Calls(bench.access, tools or bench.tools.values(), lapses_after=10)
        ours = create_server(bench.access, calls, version=__version__, sealing_keys=SealingKeys(), lapses_after=10)
        managers = Managers.of(server or ours)
        ready = asyncio.Event()

        async def live() -> None:
            # Its task groups must end in the task that began them.
            async with managers.run():
                ready.set()
                await stop.wait()

        lives.append(asyncio.create_task(live()))
        await ready.wait()
        endpoint = McpEndpoint(
            _other,
            identity=bench.identity,
            registry=ClusterRegistry([bench.options]),
            managers=managers,
            calls=calls,
            origins=origins or origins_for("127.0.0.1", (), ()),
            sources=Sources(()),
            metrics=bench.metrics,
            audit=bench.records.append,
            **options,
        )
        return Edge(bench, endpoint, await bench.cluster.token())

    yield make
    stop.set()
    await asyncio.gather(*lives)


@pytest.fixture
async def edge(make_edge: MakeEdge) -> Edge:
    """Give an endpoint with every setting at its default."""
    return await make_edge()
