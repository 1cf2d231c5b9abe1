"""Boundary between HTTP and MCP: the endpoint `/mcp` as raw ASGI beside Quart's views.

The order is what keeps it safe: Host and Origin, then the token, and only then is the body read, within a size and a
time, and handed to the SDK together with who calls.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import urandom
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from gateway import __version__
from gateway.access.questions import AnswerNeeded
from gateway.access.session import Caller
from gateway.clusters.pool import ClusterKey
from gateway.clusters.registry import ClusterRegistry
from gateway.edge.bearer import bearer_token
from gateway.edge.exchange import Exchange
from gateway.edge.leaving import Leaving
from gateway.edge.managers import Managers, envelope_of
from gateway.edge.metadata import ProtectedResource
from gateway.edge.origins import Origins
from gateway.edge.parting import closing, parting
from gateway.edge.responses import (
    Receive,
    Scope,
    Send,
    answer,
    throttled,
    unauthenticated,
    unavailable,
    with_headers,
)
from gateway.edge.sources import Sources
from gateway.errors import ClusterUnavailable, Unauthenticated
from gateway.identity.attempts import TooManyFailures
from gateway.identity.principal import Principal
from gateway.identity.verifier import Identity
from gateway.kube.credential import BearerToken
from gateway.protocol.calls import ASKED, CALLER, ENDED, Calls
from gateway.protocol.direct import CALL, Cancellation, DirectCall, Told, response
from gateway.protocol.server import server_info
from gateway.telemetry.audit import Auditor
from gateway.telemetry.audit import unauthenticated as refused_token
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.traces import Tracing

PATH: Final = "/mcp"
MAX_BODY: Final = DEFAULT_MAX_REQUEST_BODY_SIZE
BODY_SECONDS: Final = 15.0
"""Seconds in which a request's body must have arrived."""
_METHODS: Final = frozenset({"POST", "GET", "DELETE"})
_SESSION: Final = b"mcp-session-id"
_VERSION: Final = b"mcp-protocol-version"
_CORS: Final = (
    (b"access-control-allow-methods", b"POST, GET, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, last-event-id, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name",
    ),
    (b"access-control-expose-headers", b"mcp-session-id, www-authenticate, x-request-id"),
    (b"access-control-max-age", b"3600"),
)


class McpEndpoint:
    """An ASGI app that serves `/mcp` and `/mcp/{cluster name}`, and leaves everything else to `other`."""

    def __init__(  # what a request needs on its way, handed over once
        self,
        other: Any,  # any ASGI app
        *,
        identity: Identity,
        registry: ClusterRegistry,
        managers: Managers,
        calls: Calls,
        origins: Origins,
        sources: Sources,
        metrics: Metrics,
        resource: ProtectedResource | None = None,
        audit: Auditor | None = None,
        tracing: Tracing | None = None,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """Stand in front of `other`."""
        self._other = other
        self._identity = identity
        self._registry = registry
        self._managers = managers
        self._calls = calls
        self._server_info = server_info(__version__)
        self._origins = origins
        self._sources = sources
        self._metrics = metrics
        self._resource = resource
        self._audit = audit
        self._tracing = tracing
        self._body_seconds = body_seconds
        self._streams: set[asyncio.Task[None]] = set()
        self._apart: dict[_Key, Exchange | Cancellation] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PATH or path.startswith(f"{PATH}/")):
            await self._other(scope, receive, send)
            return
        request_id = urandom(8).hex()
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        origin = headers.get(b"origin", b"").decode("latin-1")
        is_allowed = self._origins.origin_is_allowed(origin)
        send = with_headers(send, _answer_headers(request_id, origin if is_allowed else ""))
        if not self._origins.host_is_allowed(headers.get(b"host", b"").decode("latin-1")):
            send = await parting(scope, receive, send)
            await answer(send, 403, b"This Host is not served here: see listen.allowedHosts.\n")
        elif not is_allowed:
            send = await parting(scope, receive, send)
            await answer(send, 403, b"This Origin is not allowed: see listen.allowedOrigins.\n")
        elif origin and scope["method"] == "OPTIONS":
            await answer(send, 204, b"", headers=_CORS)
        elif scope["method"] not in _METHODS:
            send = await parting(scope, receive, send)
            await answer(send, 405, b"", headers=[(b"allow", b"POST, GET, DELETE")])
        else:
            await self._authenticated(scope, receive, send, headers, request_id)

    async def close_streams(self) -> None:
        """End the streams that clients hold open for whatever may come, so that a shutdown need not wait for them."""
        streams = tuple(self._streams)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    async def _authenticated(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], request_id: str
    ) -> None:
        name = scope["path"].removeprefix(PATH).strip("/") or None
        try:
            token = bearer_token(scope["headers"])
            source = partial(self._sources.of, scope)
            principal = await self._identity.authenticate(token, cluster_name=name, source=source)
        except Unauthenticated as error:
            self._metrics.authentication_failure(error.reason)
            if self._audit is not None:
                self._audit(refused_token(request_id, error.reason, self._sources.of(scope)))
            metadata = self._resource.metadata_url(scope["path"]) if self._resource else None
            await unauthenticated(await parting(scope, receive, send), error, metadata)
            return
        except TooManyFailures as error:
            self._metrics.authentication_failure(error.outcome)
            await throttled(await parting(scope, receive, send), error)
            return
        except ClusterUnavailable as error:
            self._metrics.authentication_failure("unavailable")
            await unavailable(await parting(scope, receive, send), error)
            return
        cluster = self._registry.by_name(principal.cluster)
        # Taken off the list a moment ago, or its name given to another: no token may meet another's cluster.
        if cluster is None or cluster.server != principal.cluster_url:
            gone = Unauthenticated("cluster", "The token is not for a cluster of this gateway.")
            await unauthenticated(await parting(scope, receive, send), gone)
            return
        trace = None
        if self._tracing is not None:
            trace = self._tracing.received(headers.get(b"traceparent", b""), headers.get(b"tracestate", b""))
        caller = Caller(principal, BearerToken(token, principal.token_digest), cluster, request_id, trace=trace)
        version = _version(headers)
        session_id = headers.get(_SESSION, b"").decode("latin-1")
        inner = {**scope, CALLER: caller, "path": PATH}
        if scope["method"] == "POST":
            await self._post(inner, receive, send, headers, version, session_id)
        else:
            inner["user"] = _user(principal)
            await self._session(inner, receive, send, version, session_id)

    async def _post(  # noqa: PLR0917  # an ASGI connection, and what was read of it
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: dict[bytes, bytes],
        version: str,
        session_id: str,
    ) -> None:
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _read_body(receive)
        except TimeoutError:
            await answer(closing(scope, send), 408, b"The request's body did not arrive in time.\n")
            return
        except ConnectionResetError:
            return
        if body is None:
            text = f"The request is larger than {MAX_BODY // 2**20} MiB.\n".encode()
            await answer(closing(scope, send), 413, text)
            return
        envelope = envelope_of(body)
        caller: Caller = scope[CALLER]
        principal = caller.principal
        key = (principal.cluster_key, principal.issuer, principal.subject, session_id, envelope.request_id)
        if envelope.call is not None and len(headers) == len(scope["headers"]):
            call = self._ordinary(envelope.call, headers, version, session_id, principal)
            if call is not None:
                told = await self._told(call, caller, key, receive)
                if isinstance(told, Told):
                    fields = [(_SESSION, headers[_SESSION])] if self._managers.holding(session_id) else []
                    answered = response(call, told, self._server_info)
                    await answer(send, 200, answered, media=b"application/json", headers=fields)
                    return
                scope[ASKED] = told
        scope["user"] = _user(principal)
        manager = self._managers.choose(version, session_id, envelope, scope["user"])
        known = bool(session_id) and manager.knows(session_id)
        scope["headers"] = _passed_on(scope["headers"], version, with_session=known)
        exchange = Exchange(body, receive)
        scope[ENDED] = exchange.ended
        # What a session does not serve itself, it can't cancel itself either.
        if envelope.cancels and key in self._apart:
            self._apart[key].end()
        if session_id and not known and envelope.request_id is not None:
            self._apart[key] = exchange
        serving = manager.handle_request(scope, exchange.receive, send)
        try:
            await (self._until_closed(serving, send) if envelope.listens else serving)
        finally:
            exchange.end()
            if self._apart.get(key) is exchange:
                del self._apart[key]

    def _ordinary(
        self, call: DirectCall, headers: dict[bytes, bytes], version: str, session_id: str, principal: Principal
    ) -> DirectCall | None:
        """Return the call as it can be answered at once; None where its headers or session are the SDK's to judge."""
        accepted = headers.get(b"accept", b"").decode("latin-1")
        if "application/json" not in accepted or "text/event-stream" not in accepted:
            return None
        if headers.get(b"content-type", b"").partition(b";")[0].strip() != b"application/json":
            return None
        if call.version:
            named = (headers.get(b"mcp-method"), headers.get(b"mcp-name"))
            plain = call.version == version and call.version in MODERN_PROTOCOL_VERSIONS
            plain = plain and b" ".join(headers).find(b"mcp-param-") < 0
            return call if plain and named == (CALL.encode(), call.name.encode()) else None
        if version and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return None
        holding = self._managers.holding(session_id) if session_id else None
        if holding is not None and not holding.is_open_to(session_id, principal):
            return None
        can_be_asked = holding is self._managers.asking
        return call if call.can_be_asked == can_be_asked else replace(call, can_be_asked=can_be_asked)

    async def _told(
        self, call: DirectCall, caller: Caller, key: "_Key", receive: Receive
    ) -> Told | AnswerNeeded | None:
        """Run an ordinary call in a way that its client can take back."""
        self._apart[key] = call.cancellation
        leaving = Leaving(receive, call.cancellation) if call.version else None
        try:
            return await self._calls.direct(caller, call)
        finally:
            if leaving is not None:
                leaving.stop()
            if self._apart.get(key) is call.cancellation:
                del self._apart[key]

    async def _session(self, scope: Scope, receive: Receive, send: Send, version: str, session_id: str) -> None:
        """Serve what only a session has: its stream (GET) and its end (DELETE)."""
        manager = self._managers.holding(session_id) if session_id else None
        if manager is None:
            if scope["method"] == "DELETE":
                await answer(send, 404, b"No such session.\n")
            else:
                await answer(send, 405, b"", headers=[(b"allow", b"POST")])
            return
        scope["headers"] = _passed_on(scope["headers"], version, with_session=True)
        await self._until_closed(manager.handle_request(scope, receive, send), send)

    async def _until_closed(self, serving: Coroutine[Any, Any, None], send: Send) -> None:
        """Serve a stream until its client ends it or `close_streams` does."""
        stream = asyncio.create_task(serving, name="mcp-stream")
        self._streams.add(stream)
        stream.add_done_callback(self._streams.discard)
        try:
            await asyncio.shield(stream)
        except asyncio.CancelledError:
            if not stream.cancelled():
                stream.cancel()
                raise
            with suppress(Exception):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


_Key = tuple[ClusterKey, str, str, str, str | int | None]
"""Whose request it is, on which cluster and in which session, and its id."""


def _user(principal: Principal) -> AuthenticatedUser:
    """Return the principal as the SDK knows users; the cluster is the client, so that sessions belong to it too."""
    return AuthenticatedUser(
        AccessToken(
            token="",  # the SDK needs none, so it gets none
            client_id=principal.cluster_url,
            scopes=[],
            expires_at=int(principal.expires_at),
            subject=principal.subject,
            claims={"iss": principal.issuer},
        )
    )


def _version(headers: dict[bytes, bytes]) -> str:
    """Return the protocol version; some clients send it twice in one header, which is taken as once."""
    sent = headers.get(_VERSION, b"").decode("latin-1")
    if "," not in sent:
        return sent
    versions = {part.strip() for part in sent.split(",")}
    return versions.pop() if len(versions) == 1 else sent


def _passed_on(
    headers: Iterable[tuple[bytes, bytes]], version: str, *, with_session: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers for the SDK: no credential, one version, and a session only where it is known."""
    dropped = {b"authorization", b"cookie", _VERSION} | (set() if with_session else {_SESSION})
    kept = [(name, value) for name, value in headers if name not in dropped]
    return [*kept, (_VERSION, version.encode("latin-1"))] if version else kept


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, None where it is too large; raises ConnectionResetError where its end never comes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionResetError
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _answer_headers(request_id: str, origin: str) -> list[tuple[bytes, bytes]]:
    fields = [(b"x-request-id", request_id.encode())]
    if origin:
        fields += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin"), _CORS[2]]
    return fields
