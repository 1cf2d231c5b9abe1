"""Boundary to clients that hang up: an ordinary call ends when nobody waits for its answer any more.

In 2026-07-28 hanging up takes a call back (specification, "Cancellation"); before, it does not. Most calls are over
before anybody could, so the client is listened to only once a call takes long.
"""

import asyncio
from typing import Final

from gateway.edge.responses import Receive
from gateway.protocol.direct import Cancellation

_LONG: Final = 0.25
"""Seconds after which a call takes long."""


class Leaving:
    """Ends a call when its client has gone; `stop` it when the call is over. `receive` is for nobody else meanwhile."""

    __slots__ = ("_cancellation", "_listening", "_receive", "_timer")

    def __init__(self, receive: Receive, cancellation: Cancellation) -> None:
        """Begin to listen in a while."""
        self._receive = receive
        self._cancellation = cancellation
        self._listening: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_LONG, self._begin)

    def _begin(self) -> None:
        self._listening = asyncio.create_task(self._listen(), name="mcp-leaving")

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancellation.end()

    def stop(self) -> None:
        """Listen no more."""
        self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()
