"""Boundary to the SDK's Streamable HTTP transports, and the choice among them for one request.

A session is a convenience and never a requirement: what names none, or one that this process does not know (a
restart, another replica), is served without.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from gateway.identity.principal import Principal
from gateway.protocol.direct import CALL, DirectCall, direct_call

MOST_SESSIONS: Final = 64
"""Open sessions of one caller on one cluster, of each of the two kinds; who has more is served without."""
IDLE_SECONDS: Final = 1800.0
"""Seconds after which a session that nobody uses ends."""
CANCELLED: Final = "notifications/cancelled"
LISTEN: Final = "subscriptions/listen"


class SessionManager(StreamableHTTPSessionManager):
    """The SDK's manager, which can also say whether it knows a session."""

    def knows(self, session_id: str) -> bool:
        """Whether the session is open here, whoever it belongs to."""
        return session_id in self._server_instances

    def is_open_to(self, session_id: str, principal: Principal) -> bool:
        """Whether the session is open here and this caller's; then it is not idle from now on for a while."""
        transport = self._server_instances.get(session_id)
        owner = self._session_owners.get(session_id)
        if transport is None or owner is None or transport.is_terminated or transport.idle_scope is None:
            return False
        if (owner["client_id"], owner["issuer"], owner["subject"]) != (
            principal.cluster_url,
            principal.issuer,
            principal.subject,
        ):
            return False
        scope, now = transport.idle_scope, anyio.current_time()
        # Not at every call: moving a deadline costs a timer.
        if now > scope.deadline - IDLE_SECONDS / 2:
            scope.deadline = now + IDLE_SECONDS
        return not scope.cancel_called

    def owners(self) -> Counter[tuple[str, str, str]]:
        """Count the open sessions by their owner: cluster URL, issuer, subject."""
        return Counter(
            (owner["client_id"], owner["issuer"] or "", owner["subject"] or "")
            for owner in self._session_owners.values()
        )

    def has_room_for(self, user: AuthenticatedUser) -> bool:
        """Whether this caller may open another session: one caller's must not use up what is there for all."""
        if self.max_sessions is not None and len(self._server_instances) >= self.max_sessions:
            return False
        owner = authorization_context(user)
        return sum(one == owner for one in self._session_owners.values()) < MOST_SESSIONS


@dataclass(frozen=True, slots=True)
class Envelope:
    """What of a JSON-RPC message decides how it is served; `call` where it is an ordinary call of a tool."""

    method: str = ""
    can_be_asked: bool = False
    wants_stream: bool = False
    request_id: str | int | None = None
    """The request's own id, or, of a cancellation, the id of the request that is cancelled."""
    call: DirectCall | None = None

    @property
    def cancels(self) -> bool:
        """Whether it cancels an earlier request (MCP specification, "Cancellation")."""
        return self.method == CANCELLED

    @property
    def listens(self) -> bool:
        """Whether its answer goes on until somebody ends it."""
        return self.method == LISTEN


def envelope_of(body: bytes) -> Envelope:
    """Read the message's method and needs; whatever is not a message has none, and the SDK will say so."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Envelope()
    method = message.get("method") if isinstance(message, dict) else None
    if not isinstance(method, str):
        return Envelope()
    parameters = _mapping(message, "params")
    capabilities = _mapping(parameters, "capabilities")
    streamed = method == LISTEN or "progressToken" in _mapping(parameters, "_meta")
    named = parameters.get("requestId") if method == CANCELLED else message.get("id")
    request_id = named if isinstance(named, str | int) else None
    call = direct_call(message, parameters) if method == CALL else None
    return Envelope(method, isinstance(capabilities.get("elicitation"), dict), streamed, request_id, call)


def _mapping(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Managers:
    """One MCP server behind four transports: with sessions or without, answering as a stream or as plain JSON.

    Plain JSON is twice as fast; a stream is needed to ask the person or to report progress during a call.
    """

    asking: SessionManager
    plain: SessionManager
    single: SessionManager
    single_stream: SessionManager

    @classmethod
    def of(cls, server: Server[Any]) -> "Managers":
        """Make the four for one server."""
        # The endpoint has looked at Host and Origin already; said once here, it is not made anew for each request.
        unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)

        def manager(*, plain: bool, stateless: bool) -> SessionManager:
            return SessionManager(
                server,
                json_response=plain,
                stateless=stateless,
                security_settings=unchecked,
                session_idle_timeout=IDLE_SECONDS,
            )

        return cls(
            asking=manager(plain=False, stateless=False),
            plain=manager(plain=True, stateless=False),
            single=manager(plain=True, stateless=True),
            single_stream=manager(plain=False, stateless=True),
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run all four; leaving ends every session."""
        async with AsyncExitStack() as stack:
            for manager in (self.asking, self.plain, self.single, self.single_stream):
                await stack.enter_async_context(manager.run())
            yield

    def owners(self) -> Counter[tuple[str, str, str]]:
        """Count the open sessions by their owner: cluster URL, issuer, subject."""
        return self.asking.owners() + self.plain.owners()

    def holding(self, session_id: str) -> SessionManager | None:
        """Return the manager that knows this session."""
        return next((manager for manager in (self.asking, self.plain) if manager.knows(session_id)), None)

    def choose(self, version: str, session_id: str, envelope: Envelope, user: AuthenticatedUser) -> SessionManager:
        """Return who serves a POST. `version` is the MCP-Protocol-Version header, which older clients leave out."""
        if not version or version in HANDSHAKE_PROTOCOL_VERSIONS:
            if envelope.method == "initialize":
                opening = self.asking if envelope.can_be_asked else self.plain
                return opening if opening.has_room_for(user) else self.single
            holding = self.holding(session_id) if session_id else None
            if holding is self.asking or (holding is self.plain and not envelope.wants_stream):
                return holding
        return self.single_stream if envelope.wants_stream else self.single
