"""Boundary to one API server over HTTPS: one hardened aiohttp session a cluster.

kubernetes-asyncio's own session follows redirects, honours proxies and .netrc of the environment, keeps a 2 MiB buffer
a connection and reads the system's root certificates, which takes tens of milliseconds in which nobody is served. None
of that is wanted here; what would be left of it, seven hundred models and one class a group, would cost a third of a
second and 40 MB at start. The operator's commands read kubeconfigs with it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from gateway import __version__
from gateway.kube.credential import BearerToken
from gateway.kube.errors import TooLarge, Unreachable
from gateway.kube.holding import Holding, Memory, NoRoom

_KEEPALIVE: Final = 50.0
"""Seconds after which an idle connection is closed. API servers do it after 90, many balancers after 60; who closes
first does not send into a connection that is being closed."""
_SMALL: Final = 16 * 1024
"""Bytes up to which an answer's memory is not counted: the calls at once bound these."""
_ALONE: Final = 64 * 1024 * 1024
"""Bytes that a client's answers may hold where it shares no memory with others."""

AGENT: Final = f"kube-mcp-gateway/{__version__}"
"""What every request says of who sends it; `headers` may say more."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for TCP and TLS, until (more) bytes come, and for the whole call."""

    connect: float
    first_byte: float
    call: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An API server's answer, whatever its status; header names are found in any letter case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # RFC 9110, section 15.3


@dataclass(frozen=True, slots=True)
class Address:
    """Where an API server is and how it proves itself: URL to dial, and the name its certificate must have."""

    url: str
    tls_server_name: str = ""


class ApiServer:
    """The warm connections to one API server. Made inside a running loop; `close` ends them."""

    def __init__(
        self,
        address: Address,
        tls: ssl.SSLContext,
        timeouts: Timeouts,
        *,
        connections: int,
        memory: Memory | None = None,
    ) -> None:
        """Open nothing yet: connections come with the first calls, at most `connections` of them.

        What answers take is held in `memory`.
        """
        self.address = address
        self.tls = tls
        self.timeouts = timeouts
        self._base = address.url
        self._server_hostname = address.tls_server_name or None
        self._memory = memory or Memory(_ALONE)
        # `connect` covers the name's resolution too, which sock_connect does not.
        self._timeout = aiohttp.ClientTimeout(
            total=timeouts.call, connect=timeouts.connect, sock_read=timeouts.first_byte
        )
        self._session = self._new_session(connections, self._timeout)
        self._streams: aiohttp.ClientSession | None = None

    def _new_session(self, connections: int, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=self.tls, keepalive_timeout=_KEEPALIVE),
            timeout=timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": AGENT},
            skip_auto_headers=("Accept-Encoding",),
        )
        # It would send a DELETE again when the connection broke. What is sent twice is decided in `send` alone.
        session._retry_connection = False  # noqa: SLF001  # aiohttp has no other way; a test holds it
        return session

    def holding(self) -> Holding:
        """Return what one run of a tool holds of the memory for answers: nothing yet."""
        return self._memory.of(self.address.url)

    async def send(  # the parts of an HTTP request
        self,
        method: str,
        target: str,
        token: BearerToken,
        *,
        accept: str,
        max_bytes: int,
        body: bytes | None = None,
        content_type: str = "",
        headers: dict[str, str] | None = None,
        holding: Holding | None = None,
        changes_nothing: bool = False,
    ) -> Answer:
        """Send one request and read its answer, whatever the status, at most `max_bytes` of it.

        `target` is an escaped path with its query. No redirect is followed. A GET, and what is said to change nothing,
        is sent once more where the connection died before an answer began: an API server may close an idle connection
        just when it is used again. Nothing else ever is.

        A large answer stays counted in `holding`; without one it is so just while it is read.

        Raises:
            Unreachable: There was no complete answer.
            TooLarge: The answer is over `max_bytes`; reading stopped there.
            NoRoom: There is no memory for it.
        """
        sent_headers = {"Authorization": f"Bearer {token.value}", "Accept": accept, **(headers or {})}
        if content_type and body is not None:
            sent_headers["Content-Type"] = content_type
        again = changes_nothing or method == "GET"
        while True:
            try:
                response = await self._requested(self._session, method, target, sent_headers, body)
            except Unreachable as error:
                if not again or not (error.kind == "reset" and error.sent):
                    raise
                again = False
                continue
            held = holding or self.holding()
            try:
                content = await read_body(response, max_bytes, held)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise unreachable(error) from None
            finally:
                # Once it is read to its end, its connection has gone back already, and this does nothing.
                response.close()
                if holding is None:
                    held.release()
            return Answer(response.status, response.headers, content)

    @asynccontextmanager
    async def streamed(
        self, target: str, token: BearerToken, *, accept: str, idle: float, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer that comes bit by bit, whatever its status, for as long as it may take; leaving ends it.

        It has a connection of its own: however many are open, none is taken from `send`. How many may be is the
        caller's to bound. It ends when nothing has come for `idle` seconds.

        Raises:
            Unreachable: There was no answer, or it broke off; raised inside as well.
        """
        if self._streams is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=self.timeouts.connect, sock_read=idle)
            self._streams = self._new_session(0, timeout)
        sent_headers = {**(headers or {}), "Authorization": f"Bearer {token.value}", "Accept": accept}
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.timeouts.first_byte):
                    response = await stack.enter_async_context(self._opened(self._streams, "GET", target, sent_headers))
            except TimeoutError as error:
                raise unreachable(error) from None
            yield response

    @asynccontextmanager
    async def _opened(
        self, session: aiohttp.ClientSession, method: str, target: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._requested(session, method, target, headers)
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from None
        finally:
            response.close()

    async def _requested(
        self,
        session: aiohttp.ClientSession,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer as soon as that has begun; who gets it closes it."""
        if self._session.closed:
            raise Unreachable("reset", "the connection was closed meanwhile", sent=False)
        try:
            return await session.request(
                method,
                URL(self._base + target, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                server_hostname=self._server_hostname,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from None

    async def close(self) -> None:
        """Close every connection; calls in flight end as unreachable."""
        await self._session.close()
        if self._streams is not None:
            await self._streams.close()
        # aiohttp closes TLS transports on the loop's next turns.
        await asyncio.sleep(0)


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, holding: Holding | None = None) -> bytes:
    """Read an answer's body, at most `max_bytes` of it, and count a large one in `holding` as it comes.

    Raises:
        TooLarge: There is more.
        NoRoom: There is no memory for it.
    """
    length = response.content_length
    if length is not None and length <= min(_SMALL, max_bytes):
        return await response.content.read()
    if (length or 0) > max_bytes:
        response.close()
        raise TooLarge(max_bytes)
    chunks: list[bytes] = []
    size = counted = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            response.close()
            raise TooLarge(max_bytes)
        if size > _SMALL and holding is not None:
            try:
                await holding.grow(size - counted)
            except NoRoom:
                response.close()
                raise
            counted = size
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unreachable(error: Exception) -> Unreachable:
    """Say what failed without addresses or certificate contents, which an agent can do nothing with."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return Unreachable("tls", "its TLS certificate could not be verified", sent=False)
        case aiohttp.ConnectionTimeoutError():
            return Unreachable("timeout", "it did not accept a connection in time", sent=False)
        case aiohttp.ClientConnectorError():
            return Unreachable("connect", "nothing answers at its address", sent=False)
        case TimeoutError():
            return Unreachable("timeout", "it did not answer in time", sent=True)
        case _:
            return Unreachable("reset", "the connection broke before the answer was complete", sent=True)
