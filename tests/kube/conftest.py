"""An API server that says what a test tells it to, byte for byte, over real TLS."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pytest

from gateway.clusters.trust import TrustStore, bundle_from
from gateway.demo.identity import Authority
from gateway.kube.client import Address, ApiServer, Timeouts

AUTHORITY = Authority.new("scripted")
FRUGAL = Timeouts(connect=5, first_byte=5, call=10)
Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Scripted:
    """A TLS server: `speak` answers each request; `heads` and `bodies` are what came; a client came, and hung up."""

    speak: Speak
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        context = AUTHORITY.serving_context()
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0, ssl=context)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    (line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")), "0"
                )
                self.bodies.append(await reader.readexactly(int(length)))
                self.heads.append(head)
                self.came.set()
                await self.speak(writer)
                await writer.drain()
        self.hung_up.set()
        writer.transport.abort()


def saying(*parts: bytes, close: bool = False) -> Speak:
    """Answer each request with these bytes, and hang up after them if told to."""

    async def speak(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        if close:
            writer.close()

    return speak


def ok(body: bytes = b"{}", *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP answer."""
    fields = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*fields, "", ""]).encode() + body


async def silence(_writer: asyncio.StreamWriter) -> None:
    """Answer nothing, ever."""
    await asyncio.Event().wait()


Connect = Callable[..., ApiServer]
Script = Callable[..., Awaitable[Scripted]]


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """Give a way to start scripted servers, by what they say."""
    async with AsyncExitStack() as stack:

        async def start(speak: Speak) -> Scripted:
            return await stack.enter_async_context(Scripted(speak))

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Give a way to make clients that trust the scripted servers."""
    clients: list[ApiServer] = []
    trust = TrustStore(lambda: 0.0)

    def make(
        url: str, *, timeouts: Timeouts = FRUGAL, ca: bytes = AUTHORITY.pem(), name: str = "", **more: Any
    ) -> ApiServer:
        context = trust.context(bundle_from(ca.decode()))
        clients.append(ApiServer(Address(url, name), context, timeouts, **{"connections": 4, **more}))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
