"""Boundary to raw ASGI answers: the few that are given before MCP sees a request."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from gateway.errors import ClusterUnavailable, Unauthenticated
from gateway.identity.attempts import TooManyFailures

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REALM = "kube-mcp-gateway"


async def answer(
    send: Send, status: int, body: bytes, *, media: bytes = b"text/plain", headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole answer."""
    fields = [(b"content-type", media), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def unauthenticated(send: Send, error: Unauthenticated, metadata: str | None = None) -> None:
    """Send 401 in RFC 6750's words (section 3): without an error code where no token came at all.

    `metadata` is the URL of the resource's metadata (RFC 9728, section 5.1), where there is an authorization server.
    """
    if error.reason == "missing":
        text = "A Bearer token is needed: Authorization: Bearer <token>."
        challenge = f'Bearer realm="{REALM}"'
        code = "missing_token"
    else:
        text = error.message
        code = "invalid_request" if error.reason == "header" else "invalid_token"
        described = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
        challenge = f'Bearer realm="{REALM}", error="{code}", error_description="{described}"'
    if metadata:
        challenge += f', resource_metadata="{metadata}"'
    body = orjson.dumps({"error": code, "error_description": text})
    await answer(send, 401, body, media=b"application/json", headers=[(b"www-authenticate", challenge.encode("ascii"))])


async def unavailable(send: Send, error: ClusterUnavailable) -> None:
    """Send 503 with Retry-After (RFC 9110, section 10.2.3) for a token that can't be verified at the moment."""
    body = orjson.dumps({"error": "temporarily_unavailable", "error_description": error.message})
    retry = [(b"retry-after", str(error.retry_after).encode())]
    await answer(send, 503, body, media=b"application/json", headers=retry)


async def throttled(send: Send, error: TooManyFailures) -> None:
    """Send 429 with Retry-After (RFC 6585, section 4) to a source whose tokens were refused too often."""
    body = orjson.dumps({"error": "too_many_failures", "error_description": error.message})
    retry = [(b"retry-after", str(error.retry_after).encode())]
    await answer(send, 429, body, media=b"application/json", headers=retry)


def with_headers(send: Send, fields: list[tuple[bytes, bytes]]) -> Send:
    """Return how to send an answer with these header fields besides its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *fields]
        await send(message)

    return sending
