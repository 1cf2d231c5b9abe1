"""Boundary to short-lived tokens: one cluster's, minted anew before the held one runs out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import jwt
import structlog

from gateway.errors import GatewayError

RENEW_AFTER: Final = 0.8
"""The part of its lifetime after which a token is replaced."""
MINT_SECONDS: Final = 120.0
"""Seconds that minting one may take: a person may have to sign in for it."""
_AGAIN_AFTER: Final = 10.0
"""Seconds between attempts to renew a token that is still good."""
_NEW: Final = 5.0
"""Seconds for which a token counts as just minted: where it is refused, another one would be too."""
_log = structlog.get_logger(__name__)

Mint = Callable[[], Awaitable[str]]
"""Returns a token for one cluster; raises GatewayError where that can't be, in words for a person."""


@dataclass(slots=True)
class _Held:
    token: str = field(repr=False)
    since: float
    renew_at: float
    ends: float


class Tokens:
    """One cluster's tokens. Nobody asks twice at once, and a failed renewal hurts only when the old one has run out."""

    def __init__(
        self, cluster: str, mint: Mint, *, renew_after: float = RENEW_AFTER, clock: Callable[[], float] = time.time
    ) -> None:
        """Start with none. The clock is the wall's, because a machine that sleeps does not stop a token's time."""
        self._cluster = cluster
        self._mint = mint
        self._renew_after = renew_after
        self._clock = clock
        self._minting: asyncio.Task[_Held] | None = None
        self._held: _Held | None = None

    async def valid(self) -> str:
        """Return a token that should be accepted.

        Raises:
            GatewayError: None can be had.
        """
        held = self._held
        if held is None or self._clock() >= held.renew_at:
            held = await self._renewed()
        return held.token

    async def instead_of(self, refused: str) -> str | None:
        """Return another token than the refused one, or None where that one had just been minted.

        Raises:
            GatewayError: None can be had.
        """
        held = self._held
        if held is not None and held.token == refused:
            if self._clock() - held.since < _NEW:
                return None
            self._held = None
        return await self.valid()

    async def close(self) -> None:
        """End what is still being minted."""
        if self._minting is not None:
            self._minting.cancel()
            await asyncio.gather(self._minting, return_exceptions=True)

    async def _renewed(self) -> _Held:
        """Wait for the one that is being minted, which goes on without us: a person may be signing in for it."""
        if self._minting is None or self._minting.done():
            self._minting = asyncio.create_task(self._minted(self._held), name="bridge-mint")
            # Where nobody waits any more, the next one to ask hears of the failure.
            self._minting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._minting)

    async def _minted(self, old: _Held | None) -> _Held:
        try:
            async with asyncio.timeout(MINT_SECONDS):
                token = await self._mint()
        except (GatewayError, TimeoutError) as error:
            why = error.message if isinstance(error, GatewayError) else f"not done within {MINT_SECONDS:g} s."
            if old is not None and self._clock() < old.ends:
                _log.warning("not_renewed", cluster=self._cluster, error=why)
                old.renew_at = self._clock() + _AGAIN_AFTER
                return old
            raise GatewayError(f"There is no token for cluster {self._cluster}: {why}") from error
        now = self._clock()
        left = _seconds_left(token, now)
        self._held = _Held(token, now, now + left * self._renew_after, now + left)
        _log.info("renewed" if old else "minted", cluster=self._cluster, seconds=round(left))
        return self._held


def _seconds_left(token: str, now: float) -> float:
    """Return how long it will live, by its own claims (RFC 7519, section 4.1); 0 where they do not say.

    A token that is younger than a fifth of its life is taken as new, so that a clock that is wrong here does no harm.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        issued, ends = float(claims.get("iat", now)), float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return 0.0
    whole = ends - issued
    return whole if abs(now - issued) < whole / 5 else max(0.0, ends - now)
