"""The boundary between sockets and the embedded cluster: accepts connections, does TLS, hands requests over.

Sockets are accepted here and not by asyncio's server, so that a connection can be left hanging before its handshake,
and the certificate can be another one for the next connection.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.demo.faults import Active, ExpiredCertificate, Hang
from gateway.demo.identity import Authority

Respond = Callable[[web.BaseRequest, int], Awaitable[web.StreamResponse]]

_BACKLOG = 1024
_LARGEST = 3 << 20
"""Bytes of a request body, as the real server limits it."""


class Listener:
    """One listening socket on loopback. Connections are numbered from 1 as they are accepted."""

    def __init__(
        self, respond: Respond, authority: Authority, faults: list[Active], certificate_days: int = 365
    ) -> None:
        self.connections = 0
        self.port = 0
        self._authority = authority
        self._context = authority.serving_context(days=certificate_days)
        self._faults = faults
        self._listening: socket.socket | None = None
        self._held: list[socket.socket] = []
        self._welcoming: set[asyncio.Task[None]] = set()
        self._numbers: dict[int, int] = {}  # by the client's port

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            peer = request.transport and request.transport.get_extra_info("peername")
            return await respond(request, self._numbers[peer[1]] if peer else 0)

        def request(*parts: object) -> web.BaseRequest:
            loop = asyncio.get_running_loop()
            return web.BaseRequest(*parts, loop, client_max_size=_LARGEST)  # type: ignore[arg-type, misc]

        # An API server takes headers of a megabyte, and so the longest tokens.
        self._web = web.Server(
            answer,
            request_factory=request,
            handler_cancellation=True,
            access_log=None,
            max_line_size=2**20,
            max_field_size=2**20,
        )

    def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; raises OSError when the port is taken."""
        self._listening = self._bound(port)
        self.port = self._listening.getsockname()[1]
        self._listen(self._listening)

    async def stop(self) -> None:
        """Close everything."""
        self.refuse(keep_port=False)
        await asyncio.gather(*self._welcoming, return_exceptions=True)
        await self._web.shutdown(0)
        for _ in range(3):  # transports close in the loop's next turns
            await asyncio.sleep(0)

    def refuse(self, *, keep_port: bool = True) -> None:
        """Stop listening and cut what is open, but keep the port, so that nobody else gets it meanwhile."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = self._bound(self.port) if keep_port else None
        self.cut()

    def resume(self) -> None:
        """Listen again after `refuse`."""
        if self._listening is not None:
            self._listen(self._listening)

    def _listen(self, listening: socket.socket) -> None:
        listening.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def cut(self) -> None:
        """Abort every open connection."""
        for task in self._welcoming:
            task.cancel()
        for held in self._held:
            held.close()
        self._held.clear()
        for handler in list(self._web.connections):
            if handler.transport is not None:
                handler.transport.abort()

    def trust(self, authority: Authority) -> None:
        """Serve new connections with a certificate of another CA, and cut the open ones."""
        self._authority = authority
        self._context = authority.serving_context()
        self.cut()

    @staticmethod
    def _bound(port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", port))
        except OSError:
            bound.close()
            raise
        return bound

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                accepted, peer = listening.accept()
            except OSError:
                return  # nobody is waiting any more, or was gone before it was accepted
            accepted.setblocking(False)
            self.connections += 1
            self._numbers[peer[1]] = self.connections
            task = asyncio.get_running_loop().create_task(self._welcome(accepted))
            self._welcoming.add(task)
            task.add_done_callback(self._welcoming.discard)

    def _struck(self, kind: type[Hang | ExpiredCertificate]) -> bool:
        return any(
            active.strikes(None)
            for active in self._faults
            if isinstance(active.fault, kind) and getattr(active.fault, "after", "accept") == "accept"
        )

    async def _welcome(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._struck(Hang):
            self._held.append(accepted)
            return
        context = self._context
        if self._struck(ExpiredCertificate):
            context = self._authority.serving_context(days=-1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._web, accepted, ssl=context, ssl_handshake_timeout=30
            )
        except (OSError, ssl.SSLError, TimeoutError):
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
