"""Boundary to the store that replicas share, a Valkey or Redis: counted calls and used plans, nothing else.

Imported only where one is configured: it needs the extra `shared`.
"""

import asyncio
import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from gateway.errors import GatewayError

_SECONDS: Final = 0.25
"""Seconds that one look at the store may take."""
_PREFIX: Final = "kube-mcp-gateway"


class SharedWindows:
    """Moving windows of a minute, counted by all replicas together."""

    errors = ValkeyError

    def __init__(self, url: str) -> None:
        """Use the store at `valkey://`, `valkeys://`, `redis://` or `rediss://`; connects with the first call."""
        self._store = Valkey.from_url(_as_valkey(url))
        storage = RedisStorage(
            f"async+{_as_valkey(url)}", key_prefix=_PREFIX, connection_pool=self._store.connection_pool
        )
        self._limiter = MovingWindowRateLimiter(storage)

    async def take(self, name: tuple[str, ...], per_minute: int) -> float:
        """Count one call; return 0, or the seconds until there is room.

        Raises:
            ValkeyError: The store does not answer as it should.
            OSError: It can't be reached.
            TimeoutError: It did not answer in time.
        """
        item = RateLimitItemPerMinute(per_minute)
        async with asyncio.timeout(_SECONDS):
            if await self._limiter.hit(item, *name):
                return 0.0
            stats = await self._limiter.get_window_stats(item, *name)
        return max(1.0, stats.reset_time - time.time())

    async def close(self) -> None:
        """Close its connections."""
        await self._store.aclose(close_connection_pool=True)


class UsedInStore:
    """The plans that any replica used (see `access.plans.UsedPlans`)."""

    scope = bytes(4)
    """All replicas share this one."""

    def __init__(self, url: str) -> None:
        """Use this store; connects with the first plan."""
        self._store = Valkey.from_url(_as_valkey(url))

    async def first_use(self, plan: bytes, seconds: float) -> bool:
        """Note that the plan is used; returns False where that had been noted before.

        Raises:
            GatewayError: It can't be noted, because the store is away.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                noted = await self._store.set(b"%b:plan:%b" % (_PREFIX.encode(), plan), 1, nx=True, ex=int(seconds) + 1)
        except (ValkeyError, OSError, TimeoutError) as error:
            raise GatewayError(
                "Nothing was done: that this plan is used can't be noted, because the store that the gateway's "
                "replicas share is away. Try again in a minute."
            ) from error
        return bool(noted)

    async def close(self) -> None:
        """Close its connections."""
        await self._store.aclose()


def _as_valkey(url: str) -> str:
    """Return the URL as the client wants it: Redis speaks the same protocol."""
    scheme, _, rest = url.partition("://")
    return f"{'valkeys' if scheme in {'rediss', 'valkeys'} else 'valkey'}://{rest}"
