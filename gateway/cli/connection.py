"""Boundary to hypercorn's connections: what one client may hold, and how a connection ends.

hypercorn 0.18 trusts its clients further than an endpoint for strangers can. Held here: a client that has gone, one
that sends what nobody reads, one that reads nothing, and HTTP/2's floods (rapid reset, CVE-2023-44487; priorities).
Floods of PING and SETTINGS end when their answers are not read, or with the idle time; those of CONTINUATION
(CVE-2024-27316) and of headers are h2's to refuse.
"""

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import h11
import hypercorn.asyncio.run
import hypercorn.asyncio.tcp_server
import hypercorn.protocol
import structlog
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from hypercorn import Config
from hypercorn.asyncio.task_group import TaskGroup, _handle
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from gateway.admin import BACKLOG
from gateway.edge.options import ListenOptions

STREAMS: Final = 100
"""HTTP/2 streams that a connection may have open at once."""
UNREAD: Final = 10
"""Parts of a request's body that may wait for whoever reads them."""
STALLED: Final = 30.0
"""Seconds after which a client that takes nothing of an answer is given up."""

CLOSING: Final = 10.0
"""Seconds that streams and pools may take to close after the last call."""
_LOW_WATER: Final = 16 * 1024
"""Bytes waiting to be written at which asyncio's transports resume, at the latest."""

Message = dict[str, Any]

_log = structlog.get_logger(__name__)


class ListenerConfig(Config):
    """hypercorn's settings for the agents' endpoint, with the TLS context and the connections that are open."""

    def __init__(self, listen: ListenOptions, tls: ssl.SSLContext | None = None) -> None:
        """Take the limits that agents and the proxies before them need."""
        super().__init__()
        self.tls = tls
        self.connections: set[Connection] = set()
        self._headers_at = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self.bind = [f"{f'[{listen.host}]' if ':' in listen.host else listen.host}:{listen.port}"]
        self.backlog = BACKLOG
        # A token of 16 KiB is the gateway's to refuse, with its own words; both limits are for all headers together.
        self.h11_max_incomplete_size = self.h2_max_header_list_size = 64 * 1024
        self.h2_max_concurrent_streams = STREAMS
        # Agents keep their connection; proxies in front commonly keep theirs for 60 s and must not be the second to
        # close.
        self.keep_alive_timeout = 75
        self.keep_alive_max_requests = sys.maxsize
        self.include_server_header = False
        self.accesslog = None
        self.errorlog = logging.getLogger("hypercorn.error")
        self.ssl_handshake_timeout = 10
        self.graceful_timeout = listen.drain_seconds
        # The process ends itself before that; hypercorn's own limit would be told as a failure.
        self.shutdown_timeout = listen.drain_seconds + 2 * CLOSING

    @property
    def ssl_enabled(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.tls is not None

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer, which change once a second."""
        second = int(time.time())
        if self._headers_at != second:
            self._headers_at, self._headers = second, super().response_headers(protocol)
        return self._headers

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return the context that was handed over, whose certificate may change."""
        return self.tls

    async def send_clients_elsewhere(self) -> None:
        """Tell clients to use another connection, with the next answer (RFC 9112, 9.6) or at once (RFC 9113, 6.8)."""
        self.keep_alive_max_requests = 0
        await asyncio.gather(*(connection.send_elsewhere() for connection in self.connections))


def install() -> None:
    """Have hypercorn use the classes of this module, for which it has no setting."""
    for module, name, own in (
        (hypercorn.asyncio.run, "TCPServer", Connection),
        (hypercorn.asyncio.tcp_server, "TaskGroup", _Tasks),
        (hypercorn.protocol, "H2Protocol", _Http2),
        (hypercorn.protocol, "H11Protocol", _Http1),
    ):
        setattr(module, name, own)


class Connection(TCPServer):
    """One client's connection, which is closed as soon as the client has gone.

    hypercorn's own waits for the idle time to pass before that, so that whoever connects and leaves, over and over,
    uses up the process' file descriptors without holding a single connection.
    """

    async def run(self) -> None:
        """Serve it to its end."""
        connections: set[Connection] = getattr(self.config, "connections", set())  # the admin listener has no list
        connections.add(self)
        try:
            await super().run()
        finally:
            connections.discard(self)

    async def send_elsewhere(self) -> None:
        """Have the client use another connection for what it has not sent yet, where the protocol has a word for it."""
        protocol = getattr(self, "protocol", None)  # there once the handshake is over
        if protocol is not None and isinstance(protocol.protocol, _Http2):
            await protocol.protocol.announce_end()

    async def protocol_send(self, event: Event) -> None:
        """Take one event of the protocol; what has no client is not idle, but over."""
        if isinstance(event, RawData):
            await self._write(event)
        elif not (isinstance(event, Updated) and event.idle and self.reader.at_eof()):
            await super().protocol_send(event)

    async def _write(self, event: RawData) -> None:
        async with self.send_lock:
            try:
                self.writer.write(event.data)
                # Below the mark at which a transport resumes, there is nothing to wait for.
                if self.writer.transport.get_write_buffer_size() > _LOW_WATER:
                    await self._drain()
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    async def _drain(self) -> None:
        left = self.writer.transport.get_write_buffer_size()
        while True:
            try:
                async with asyncio.timeout(STALLED):
                    await self.writer.drain()
            except TimeoutError:
                if (now := self.writer.transport.get_write_buffer_size()) < left:
                    left = now  # slow, and not gone
                    continue
                self.writer.transport.abort()
            return

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        except Exception as error:  # noqa: BLE001  # whatever a client can bring hypercorn to
            # Its text and its causes may hold what was on the wire, tokens among it.
            _log.warning("connection_failed", error=type(error).__name__)
            await self.protocol.handle(Closed())
        await self.idle_task.stop()


class _Inbox:
    """What was received for one request and nobody has read yet. Without a reader nothing waits and nothing is kept."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_reader = True

    async def put(self, message: Message) -> None:
        while self._has_reader and self._messages.qsize() >= UNREAD and message["type"] != "http.disconnect":
            self._has_room.clear()
            await self._has_room.wait()
        if self._has_reader or message["type"] == "http.disconnect":
            self._messages.put_nowait(message)

    async def get(self) -> Message:
        message = await self._messages.get()
        self._has_room.set()
        return message

    def close(self) -> None:
        self._has_reader = False
        self._has_room.set()


class _Tasks(TaskGroup):
    """hypercorn's own, but for a body that nobody reads because it was answered early: that held both ends for ever."""

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        inbox = _Inbox()

        async def sending(message: Message | None) -> None:
            if message is None or (message["type"] == "http.response.body" and not message.get("more_body", False)):
                inbox.close()
            await send(message)

        self.spawn(_handle, app, config, scope, inbox.get, sending, _no_threads, _no_threads)
        return inbox.put


def _no_threads(*_: object) -> Any:
    raise RuntimeError("only WSGI apps need threads")


class _Http1(H11Protocol):
    """HTTP/1.1 without the upgrade to HTTP/2 (h2c), by which requests get past a proxy's rules; RFC 9113 dropped it."""

    _head = b""

    async def _send_h11_event(self, event: Any) -> None:
        """Write one part of an answer; the head of one whose length is known goes out together with its body."""
        try:
            data = self._head + (self.connection.send(event) or b"")
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        waits = isinstance(event, h11.Response) and any(name == b"content-length" for name, _ in event.headers)
        self._head = data if waits else b""
        if data and not waits:
            await self.send(RawData(data))

    async def _check_protocol(self, event: Any) -> None:
        if event.method == b"PRI":  # a proxy that knows what it speaks to
            await super()._check_protocol(event)


class _Http2(H2Protocol):
    """HTTP/2, bounded where hypercorn counts on its clients' good will."""

    def __init__(self, app: Any, *more: Any, **named: Any) -> None:
        async def counted(*arguments: Any) -> None:
            try:
                await app(*arguments)
            finally:
                self._running -= 1

        super().__init__(counted, *more, **named)  # type: ignore[arg-type]  # the app's arguments, as they come
        self._running = 0
        self._is_ending = False
        self._patience: dict[int, asyncio.Timeout] = {}

    async def handle(self, event: Event) -> None:
        """Take what was received; where that is the end, let nobody wait for a client that reads no more."""
        await super().handle(event)
        if self.closed:
            for buffer in tuple(self.stream_buffers.values()):
                await buffer.close()

    async def announce_end(self) -> None:
        """Say that nothing more is served (GOAWAY), once nothing is in flight: many a client takes it for the end."""
        if not self.streams and not self._is_ending:
            self._is_ending = True
            self.connection.close_connection()
            await self._flush()

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                self._refuse(event.stream_id, ErrorCodes.NO_ERROR)  # it was answered before its end (RFC 9113, 8.1)
            elif isinstance(event, RequestReceived) and self.context.terminated.is_set():
                self._refuse(event.stream_id, ErrorCodes.REFUSED_STREAM)  # which clients may send again
            elif isinstance(event, RequestReceived) and self._running >= 2 * STREAMS:
                # Rapid reset: streams that were given up, but whose requests are still at work.
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            else:
                await self._handle_event(event)
        await self._flush()

    async def _handle_event(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            self._running += 1
            self.keep_alive_requests = -1  # hypercorn's own end of a connection loses what is in flight
        elif isinstance(event, StreamReset) and (buffer := self.stream_buffers.get(event.stream_id)):
            buffer.set_complete()  # or its place in the tree of priorities would stay taken
        await super()._handle_events([event])

    def _refuse(self, stream: int, code: ErrorCodes) -> None:
        with suppress(ProtocolError):  # it is closed already
            self.connection.reset_stream(stream, code)

    async def stream_send(self, event: Any) -> None:
        """Send a part of an answer, unless the client opens no window for it."""
        try:
            async with asyncio.timeout(STALLED) as self._patience[event.stream_id]:
                await super().stream_send(event)
        except TimeoutError:
            await self.send(Closed())
        finally:
            self._patience.pop(event.stream_id, None)
        if isinstance(event, StreamClosed) and self.config.keep_alive_max_requests == 0:
            await self.announce_end()

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        left = len(buffer.buffer) if buffer else 0
        await super()._send_data(stream_id)
        patience = self._patience.get(stream_id)
        if buffer and patience and len(buffer.buffer) < left and not patience.expired():
            patience.reschedule(asyncio.get_running_loop().time() + STALLED)

    async def _priority_updated(self, event: Any) -> None:
        """Take no notice: RFC 9113 dropped priorities, and a crowd of them breaks the tree that keeps them."""
