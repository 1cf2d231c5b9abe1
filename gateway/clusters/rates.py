"""Boundary that bounds how often one caller may call one cluster, in this process or shared by all replicas.

In memory it is a token bucket of our own: the limits library's memory storage hands every key to a thread after each
hit. Shared, it is that library's moving window in Valkey or Redis.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import structlog

from gateway.clusters.options import ClusterOptions
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.clusters.shared import SharedWindows

Rate = Literal["reads", "writes", "others"]
Caller = tuple[str, ...]

REST_SECONDS: Final = 10.0
"""Seconds for which a shared store that failed is left alone."""
_MOST_BUCKETS: Final = 100_000

_log = structlog.get_logger(__name__)


class RateLimited(GatewayError):
    """The caller has used up what it may call on this cluster in a minute. `retry_after` is in seconds."""

    outcome = "rate_limited"

    def __init__(self, message: str, *, retry_after: int) -> None:
        """Keep the time after which there is room again."""
        super().__init__(message)
        self.retry_after = retry_after


def refilled(tokens: float, seconds: float, per_minute: int) -> float:
    """Return what a bucket holds after so many seconds; it never holds more than a minute's worth."""
    return min(float(per_minute), tokens + seconds * per_minute / 60)


class Buckets:
    """Token buckets by name. A bucket that was not used for a minute is full, so the oldest can always be dropped."""

    def __init__(self, clock: Callable[[], float], *, entries: int = _MOST_BUCKETS) -> None:
        """Start with all buckets full. `clock` counts seconds."""
        self._clock = clock
        self._entries = entries
        self._held: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def take(self, name: tuple[str, ...], per_minute: int) -> float:
        """Take one token; return 0, or the seconds until there is one."""
        now = self._clock()
        tokens, then = self._held.pop(name, (float(per_minute), now))
        tokens = refilled(tokens, now - then, per_minute)
        missing = max(0.0, 1 - tokens)
        self._held[name] = (tokens if missing else tokens - 1, now)
        if len(self._held) > self._entries:
            self._held.popitem(last=False)
        return missing * 60 / per_minute

    def wait(self, name: tuple[str, ...], per_minute: int) -> float:
        """Return the seconds until there is a token, 0 where there is one; takes none."""
        now = self._clock()
        tokens, then = self._held.get(name, (float(per_minute), now))
        return max(0.0, 1 - refilled(tokens, now - then, per_minute)) * 60 / per_minute

    def __len__(self) -> int:
        """Count the buckets that are kept."""
        return len(self._held)


class RateLimits:
    """What each caller may call on each cluster, by kind of call. Only verified callers are counted."""

    def __init__(self, shared: "SharedWindows | None" = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count in memory, or together with other replicas. `clock` counts seconds."""
        self._clock = clock
        self._buckets = Buckets(clock)
        self._shared = shared
        self._rests_until = -math.inf

    @property
    def counts_alone(self) -> bool:
        """Whether a shared store is configured and away at the moment."""
        return self._shared is not None and self._clock() < self._rests_until

    async def take(self, rate: Rate, cluster: ClusterOptions, caller: Caller) -> None:
        """Count one call of this caller.

        Raises:
            RateLimited: It is one too many.
        """
        per_minute = _per_minute(rate, cluster)
        wait = await self._wait((rate, cluster.server, *caller), per_minute)
        if wait > 0:
            seconds = math.ceil(wait)
            raise RateLimited(
                f"Too many calls: {per_minute} {rate} a minute are allowed on cluster {cluster.shown}. Try again in "
                f"{seconds} s, and ask for more at once (one list instead of many gets).",
                retry_after=seconds,
            )

    async def _wait(self, name: tuple[str, ...], per_minute: int) -> float:
        if self._shared is not None and self._clock() >= self._rests_until:
            try:
                return await self._shared.take(name, per_minute)
            except (OSError, TimeoutError, self._shared.errors) as error:
                self._rests_until = self._clock() + REST_SECONDS
                _log.warning("rate_limits_not_shared", error=type(error).__name__, again_in_seconds=REST_SECONDS)
        return self._buckets.take(name, per_minute)


def _per_minute(rate: Rate, cluster: ClusterOptions) -> int:
    match rate:
        case "reads":
            return cluster.limits.reads_per_minute
        case "writes":
            return cluster.limits.writes_per_minute
        case "others":
            return cluster.limits.others_per_minute
