"""Boundary to a connection whose request is refused before its body was read: it goes on clean, or is said to end.

An answer that overtakes the body leaves the server nothing but to close. A client that was not told sends its next
request on a connection that is going away, and sees that fail instead of the refusal's advice.
"""

import asyncio
from typing import Final

from gateway.edge.responses import Receive, Scope, Send, with_headers

_MOST: Final = 64 * 1024
_SECONDS: Final = 1.0
"""Bytes of a refused request's body that are read and thrown away, and how long they may take."""
_CLOSE: Final = [(b"connection", b"close")]


async def parting(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return how to send a refusal, once its request's body is out of the way (RFC 9112, section 9.3)."""
    return send if await _thrown_away(receive) else closing(scope, send)


def closing(scope: Scope, send: Send) -> Send:
    """Return how to send an answer after which the connection ends; HTTP/2 has no word for that, and no need."""
    return with_headers(send, _CLOSE) if scope.get("http_version", "").startswith("1") else send


async def _thrown_away(receive: Receive) -> bool:
    size = 0
    try:
        async with asyncio.timeout(_SECONDS):
            while size <= _MOST:
                message = await receive()
                if not message.get("more_body", False):  # the end, or that the client has gone
                    return True
                size += len(message.get("body", b""))
    except TimeoutError:
        pass
    return False
