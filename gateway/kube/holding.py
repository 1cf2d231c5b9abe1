"""Boundary between API servers' answers and the process' memory: how many bytes are being read and held, and whose.

What counts is what came over the wire, from an answer's first bytes until the run of a tool that asked for it is over;
parsed it takes about five times as much.
"""

import asyncio
from collections import Counter
from typing import Final

from gateway.errors import GatewayError

BYTES_IN_FLIGHT: Final = 128 * 1024 * 1024
"""Bytes of answers that a gateway reads and holds at once, where nothing else is set."""
PATIENCE: Final = 3.0
"""Seconds for which an answer that finds no room is waited with, while the API server holds it back."""


class NoRoom(GatewayError):
    """So much is being read that an answer had to be given up; the text says what to do."""

    outcome = "no_room"


class Memory:
    """The room for answers in this process. One cluster may hold as much as is still free, so never more than half.

    So whatever some clusters send, there is room left for the next one (dynamic thresholds; Choudhury and Hahne, 1998).
    `held` is in bytes; `waiting` counts the answers that are held back.
    """

    def __init__(self, limit: int) -> None:
        """Start empty, with room for `limit` bytes."""
        self._limit = limit
        self._shares: Counter[str] = Counter()
        self._freed = asyncio.Event()
        self.held = 0
        self.waiting = 0

    def has_room(self, cluster: str, size: int) -> bool:
        """Whether as much would still be free as the cluster held, if it held so many bytes more."""
        return self._shares[cluster] + size <= self._limit - self.held - size

    async def take(self, cluster: str, size: int) -> None:
        """Hold so many bytes more, now or when others have let go.

        Raises:
            NoRoom: They did not in time.
        """
        if not self.has_room(cluster, size):
            self.waiting += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    while not self.has_room(cluster, size):
                        await self._freed.wait()
            except TimeoutError:
                message = (
                    "The gateway is reading so many large answers that there is no room for this one. Narrow it (a "
                    "namespace, a labelSelector, a smaller limit, output=table or name), or try again in a minute."
                )
                raise NoRoom(message) from None
            finally:
                self.waiting -= 1
        self._shares[cluster] += size
        self.held += size

    def give(self, cluster: str, size: int) -> None:
        """Let go of so many bytes."""
        self.held -= size
        self._shares[cluster] -= size
        if not self._shares[cluster]:
            del self._shares[cluster]
        if self.waiting:
            self._freed.set()
            self._freed = asyncio.Event()

    def of(self, cluster: str) -> "Holding":
        """Return what one run of a tool on this cluster holds: nothing yet."""
        return Holding(self, cluster)


class Holding:
    """What one run of a tool holds; `release` it at the latest when the run is over."""

    __slots__ = ("_cluster", "_memory", "_size")

    def __init__(self, memory: Memory, cluster: str) -> None:
        """Hold nothing yet."""
        self._memory = memory
        self._cluster = cluster
        self._size = 0

    async def grow(self, size: int) -> None:
        """Hold so many bytes more.

        Raises:
            NoRoom: There is no room for them.
        """
        await self._memory.take(self._cluster, size)
        self._size += size

    def release(self) -> None:
        """Let go of everything."""
        if self._size:
            self._memory.give(self._cluster, self._size)
            self._size = 0
