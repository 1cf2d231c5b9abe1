"""Boundary that bounds how many calls use one cluster at once and how many may wait for that."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.errors import ClusterUnavailable


class Gate:
    """At most `width` passes at once and `queue` waiting; more are refused at once, first come first served."""

    def __init__(self, width: int, queue: int) -> None:
        """Start with nobody inside."""
        self._slots = asyncio.Semaphore(width)
        self._queue = queue
        self.inside = 0
        self.waiting = 0

    def entered(self) -> Self:
        """Return what is entered to pass (`async with`): that waits for a slot and holds it until it is left.

        The caller's own deadline bounds the wait. Entering raises ClusterUnavailable where as many as allowed are
        waiting already.
        """
        return self

    async def __aenter__(self) -> None:
        if self._slots.locked() and self.waiting >= self._queue:
            message = "Too many calls to this cluster are waiting already. Try again in a few seconds."
            raise ClusterUnavailable(message, retry_after=2)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.inside += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inside -= 1
        self._slots.release()

    def __repr__(self) -> str:
        """Show how many are inside and waiting."""
        return f"<Gate {self.inside} inside, {self.waiting} waiting>"
