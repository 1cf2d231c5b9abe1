"""Boundary between the sources that share a cluster's lane for verification: none of them can fill it alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.clusters.gate import Gate
from gateway.clusters.pool import ClusterKey

SHARE: Final = 2
SHARE_QUEUE: Final = 32
"""Reviews that one source may have under way on one cluster, and waiting; the lane itself is twice as wide."""


class Lanes:
    """A small gate for each source on each cluster, kept while somebody is in it."""

    def __init__(self) -> None:
        """Start with nobody in any."""
        self._gates: dict[tuple[ClusterKey, str], Gate] = {}

    @asynccontextmanager
    async def entered(self, key: ClusterKey, source: str) -> AsyncIterator[None]:
        """Hold one of the source's places.

        Raises:
            ClusterUnavailable: As many as allowed of this source are waiting already.
        """
        gate = self._gates.setdefault((key, source), Gate(SHARE, SHARE_QUEUE))
        try:
            async with gate.entered():
                yield
        finally:
            if not gate.inside and not gate.waiting:
                self._gates.pop((key, source), None)

    def __len__(self) -> int:
        return len(self._gates)
