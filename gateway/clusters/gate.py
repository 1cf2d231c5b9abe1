"""Boundary that bounds how many calls use one cluster at once and how many may wait for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import ClusterUnavailable


class Gate:
    """At most `width` passes at once and `queue` waiting; more are refused at once, first come first served."""

    def __init__(self, width: int, queue: int) -> None:
        """Start with nobody inside."""
        self._slots = asyncio.Semaphore(width)
        self._queue = queue
        self.inside = 0
        self.waiting = 0

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it. The caller's own deadline bounds the wait.

        Raises:
            ClusterUnavailable: As many as allowed are waiting already.
        """
        if self._slots.locked() and self.waiting >= self._queue:
            message = "Too many calls to this cluster are waiting already. Try again in a few seconds."
            raise ClusterUnavailable(message, retry_after=2)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._slots.release()

    def __repr__(self) -> str:
        """Show how many are inside and waiting."""
        return f"<Gate {self.inside} inside, {self.waiting} waiting>"
