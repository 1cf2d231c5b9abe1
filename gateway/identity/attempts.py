"""Boundary against a source whose tokens keep being refused: after so many a minute it has to wait.

A source is the edge's word for where requests come from. What is counted is failures, so that who presents good tokens
never waits for having presented many; and a source that waits is told so before its token is even decoded.
"""

import math
from collections.abc import Callable
from typing import Final

import structlog

from gateway.clusters.rates import Buckets
from gateway.errors import GatewayError

MOST_SOURCES: Final = 50_000
"""Sources that are remembered. The one that has been quiet the longest is forgotten first."""

_HONEST: Final = frozenset({"missing", "expired", "not_yet_valid"})
"""What well-meaning clients do all day, and what costs nothing to find out: it is refused without being counted."""

_log = structlog.get_logger(__name__)


class TooManyFailures(GatewayError):
    """Too many tokens from this source were refused; this one was not looked at. `retry_after` is in seconds."""

    outcome = "throttled"

    def __init__(self, retry_after: int) -> None:
        """Keep the time after which another attempt is looked at."""
        super().__init__(
            f"Too many tokens from your address were refused. Try again in {retry_after} s, with a token that is valid."
        )
        self.retry_after = retry_after


class Attempts:
    """Counts refused tokens by source: a token bucket each, of so many a minute; 0 counts nothing."""

    def __init__(self, clock: Callable[[], float], per_minute: int) -> None:
        """Start with nobody having failed. `clock` counts seconds."""
        self._per_minute = per_minute
        self._buckets = Buckets(clock, entries=MOST_SOURCES)

    def admit(self, source: str) -> None:
        """Let a token of this source be looked at.

        Raises:
            TooManyFailures: The source has failed too often of late.
        """
        if self._per_minute and (wait := self._buckets.wait((source,), self._per_minute)):
            raise TooManyFailures(math.ceil(wait))

    def failed(self, source: str, reason: str) -> None:
        """Count a refusal, for a reason of `identity.claims.Reason`."""
        if not self._per_minute or reason in _HONEST:
            return
        waited = self._buckets.wait((source,), self._per_minute)
        self._buckets.take((source,), self._per_minute)
        if not waited and self._buckets.wait((source,), self._per_minute):
            _log.warning("authentication_throttled", source=source, failures_per_minute=self._per_minute)
