"""What a client may do to its connection, in either HTTP; on a real socket, against the listener as it is served."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hypercorn.asyncio import serve

from gateway.admin import bind
from gateway.cli import connection as bounds
from gateway.cli.connection import STREAMS, ListenerConfig, install
from gateway.edge.options import ListenOptions

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PATIENCE = 20.0
HEADERS = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "gateway")]


@dataclass(slots=True)
class App:
    """Answers at once without reading the body; `/hold` when it is let go, `/large` with a megabyte."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        await self._count(1)
        try:
            if scope["path"] == "/hold":
                await self.go.wait()
            body = b"x" * 2**20 if scope["path"] == "/large" else b"no"
            fields = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": fields})
            await send({"type": "http.response.body", "body": body})
        finally:
            await self._count(-1)

    async def _count(self, more: int) -> None:
        async with self.changed:
            self.running += more
            self.most = max(self.most, self.running)
            self.changed.notify_all()

    async def until(self, running: int) -> None:
        """Wait until so many requests are at work."""
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.running == running)


@dataclass(slots=True)
class Listening:
    """A listener on a free port."""

    port: int
    config: ListenerConfig
    app: App

    async def until_closed(self) -> None:
        """Wait until the server has let go of every connection, its tasks among it."""
        async with asyncio.timeout(PATIENCE):
            while self.config.connections:  # noqa: ASYNC110  # hypercorn has no event for it
                await asyncio.sleep(0.01)


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    """Serve the app with the connections that the gateway has."""
    install()
    sock = bind("127.0.0.1", 0, otherwise="")
    port = sock.getsockname()[1]
    config = ListenerConfig(ListenOptions(drain_seconds=1))
    config.bind = [f"fd://{sock.detach()}"]
    app, opened, end = App(), asyncio.Event(), asyncio.Event()

    async def until_end() -> None:
        opened.set()
        await end.wait()

    serving = asyncio.create_task(serve(app, config, shutdown_trigger=until_end))  # type: ignore[arg-type]
    await opened.wait()
    yield Listening(port, config, app)
    app.go.set()
    end.set()
    await serving


@dataclass(slots=True)
class Client:
    """One HTTP/2 connection with prior knowledge, whose frames the test chooses."""

    http: H2Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Event] = field(default_factory=list)

    def request(self, path: str = "/", *, end: bool = True) -> int:
        """Open a stream."""
        stream: int = self.http.get_next_available_stream_id()
        headers = [(name, path if name == ":path" else value) for name, value in HEADERS]
        self.http.send_headers(stream, headers, end_stream=end)
        return stream

    async def flush(self) -> None:
        """Send what was made."""
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    async def wait_for(self, kind: type[Event], stream: int | None = None) -> Any:
        """Read until such an event, on this stream; None where the connection ended before."""

        def found() -> Event | None:
            of_kind = (event for event in self.seen if isinstance(event, kind))
            return next((event for event in of_kind if stream in (None, getattr(event, "stream_id", None))), None)

        async with asyncio.timeout(PATIENCE):
            while (event := found()) is None and (data := await self.reader.read(65536)):
                self.seen += self.http.receive_data(data)
                await self.flush()
        return event


@asynccontextmanager
async def http2(port: int, settings: dict[SettingCodes | int, int] | None = None) -> AsyncIterator[Client]:
    """Connect."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(H2Connection(H2Configuration(client_side=True)), reader, writer)
    client.http.initiate_connection()
    if settings:
        client.http.update_settings(settings)
    await client.flush()
    try:
        yield client
    finally:
        writer.transport.abort()


async def test_a_body_that_nobody_reads_holds_nothing(listening: Listening) -> None:
    """A request that is answered before its body was read ends, however many small parts the body has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    head = b"POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"1\r\na\r\n" * 50)
    assert (await asyncio.wait_for(reader.readuntil(b"no"), PATIENCE)).startswith(b"HTTP/1.1 401")
    writer.transport.abort()
    await listening.until_closed()


async def test_an_early_answer_leaves_the_other_streams_alone(listening: Listening) -> None:
    """A body that arrives after its answer ends its own stream, not the connection (RFC 9113, 8.1)."""
    async with http2(listening.port) as client:
        held, refused = client.request("/hold"), client.request(end=False)
        await client.flush()
        assert await client.wait_for(StreamEnded, refused)
        for _ in range(50):
            client.http.send_data(refused, b"a")
        await client.flush()
        listening.app.go.set()
        answer = await client.wait_for(ResponseReceived, held)
        assert dict(answer.headers)[b":status"] == b"401"
        assert (await client.wait_for(StreamReset, refused)).error_code == ErrorCodes.NO_ERROR


async def test_rapid_reset_is_ended(listening: Listening) -> None:
    """Requests whose streams are reset at once can't pile up behind the limit of open streams (CVE-2023-44487)."""
    async with http2(listening.port) as client:
        for _ in range(20):
            for _ in range(STREAMS):
                client.http.reset_stream(client.request("/hold"))
            await client.flush()
        ended = await client.wait_for(ConnectionTerminated)
        assert ended.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert listening.app.most <= 2 * STREAMS
    listening.app.go.set()
    await listening.until_closed()


async def test_streams_that_are_open_are_bounded(listening: Listening) -> None:
    """A client that opens more streams than it was granted loses its connection."""
    async with http2(listening.port) as client:
        client.http.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
        client.http.remote_settings.acknowledge()
        for _ in range(STREAMS + 1):
            client.request("/hold")
        await client.flush()
        assert await client.wait_for(ConnectionTerminated)
    assert listening.app.most <= STREAMS


async def test_an_answer_that_is_not_taken_is_given_up(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that opens no window for its answer can't hold the request for ever."""
    monkeypatch.setattr(bounds, "STALLED", 0.2)
    async with http2(listening.port, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as client:
        client.request("/large")
        await client.flush()
        await listening.app.until(1)
        await listening.app.until(0)
        await listening.until_closed()


async def test_an_answer_that_is_not_read_is_given_up(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over HTTP/1.1, where the network's buffers are the window."""
    monkeypatch.setattr(bounds, "STALLED", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port, limit=1024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: gateway\r\n\r\n" * 20)
    await reader.readexactly(1)
    await listening.until_closed()
    writer.transport.abort()


async def test_an_answer_that_is_taken_slowly_arrives(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client on a slow line, which takes longer than a stalled one may but never stops, gets all of its answer."""
    monkeypatch.setattr(bounds, "STALLED", 0.3)
    async with http2(listening.port, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as client:
        stream = client.request("/large")
        await client.flush()
        for window in (*[2**16] * 8, 2**20):
            await asyncio.sleep(0.1)
            client.http.increment_flow_control_window(window, stream)
            client.http.increment_flow_control_window(window)
            await client.flush()
        assert await client.wait_for(StreamEnded, stream)


@pytest.mark.parametrize("flood", ["ping", "priority", "continuation", "empty data"])
async def test_floods_of_frames_do_no_harm(listening: Listening, flood: str, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of frames that ask for nothing ends the connection or is answered, and fails nowhere in the server."""
    frames = {
        "ping": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"p" * 8,
        "continuation": b"\x00\x00\x01\x09\x00\x00\x00\x00\x01a",
        "empty data": b"\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    }
    async with http2(listening.port) as client:
        client.request(end=False)
        await client.flush()
        if flood == "priority":
            many = (b"\x00\x00\x05\x02\x00" + n.to_bytes(4) + b"\x00\x00\x00\x00\x10" for n in range(3, 8001, 2))
            client.writer.write(b"".join(many))
        else:
            client.writer.write(frames[flood] * 20_000)
        client.writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            while await client.reader.read(65536):
                pass
    await listening.until_closed()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_headers_are_bounded_once_they_are_unpacked(listening: Listening) -> None:
    """Headers that are small on the wire and large in memory are refused (RFC 7541, 7.3)."""
    async with http2(listening.port) as client:
        stream = client.http.get_next_available_stream_id()
        client.http.remote_settings[SettingCodes.MAX_HEADER_LIST_SIZE] = 10**9
        client.http.remote_settings.acknowledge()
        client.http.send_headers(stream, HEADERS + [("x-bomb", "b" * 3000)] * 100, end_stream=True)
        await client.flush()
        assert await client.wait_for(ConnectionTerminated)
    assert listening.app.most == 0


async def test_clients_are_sent_elsewhere(listening: Listening) -> None:
    """A connection that is to end says so, finishes what it began, and what comes later may be sent again elsewhere."""
    async with http2(listening.port) as client:
        held = client.request("/hold")
        await client.flush()
        await listening.app.until(1)
        await listening.config.send_clients_elsewhere()
        also = client.request()
        await client.flush()
        listening.app.go.set()
        for stream in (held, also):
            assert await client.wait_for(StreamEnded, stream)
        assert (await client.wait_for(ConnectionTerminated)).last_stream_id == also
    async with http2(listening.port) as idle:
        await idle.wait_for(RemoteSettingsChanged)
        await listening.config.send_clients_elsewhere()
        assert (await idle.wait_for(ConnectionTerminated)).last_stream_id == 0
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
    assert b"connection: close" in await asyncio.wait_for(reader.readuntil(b"no"), PATIENCE)
    writer.close()
    await writer.wait_closed()


async def test_no_upgrade_gets_past_a_proxy(listening: Listening) -> None:
    """A request to go on with HTTP/2 (h2c) is answered over HTTP/1.1, as RFC 9113 wants it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    upgrade = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n" + upgrade + b"\r\n")
    assert (await asyncio.wait_for(reader.read(12), PATIENCE)) == b"HTTP/1.1 401"
    writer.close()
    await writer.wait_closed()
