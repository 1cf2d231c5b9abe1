"""Boundary where a Bearer token becomes a `Principal`, or a refusal that says how to get a better token.

A live verdict is found by the token's SHA-256 and costs nothing else. Without one, the token's claims are checked, the
listed cluster it names is found, and that cluster's keys, or the cluster itself, decide.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import ClusterKey, Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.errors import Unauthenticated
from gateway.identity.asking import ask_username, unavailable
from gateway.identity.attempts import Attempts
from gateway.identity.claims import (
    Reason,
    UnverifiedToken,
    check_text,
    check_times,
    named_url,
    read_claims,
    refusal,
    third_fits,
)
from gateway.identity.flights import Flights
from gateway.identity.keys import Finding, KeyRings
from gateway.identity.lanes import Lanes
from gateway.identity.memory import Memory
from gateway.identity.options import IdentityOptions
from gateway.identity.principal import Principal
from gateway.kube.credential import BearerToken

REVIEW_LASTS: Final = 60.0
REFUSAL_LASTS: Final = 10.0
"""Seconds for which a cluster's word that a token is valid is believed, and for which a definite no is remembered."""

_MAX_VERDICTS: Final = 20_000
_MAX_REFUSALS: Final = 5_000
_DEADLINE: Final = 10.0

# One text for all of these: it must not tell a listed cluster from one that is not, nor how near a forged token came.
_NOT_ACCEPTED: Final = "The token is not accepted for the cluster that its first audience names."


@dataclass(frozen=True, slots=True)
class IdentityState:
    """Counts for metrics: what is remembered now, and how often keys were read and reviews asked for so far."""

    verdicts: int
    refusals: int
    key_reads: int
    reviews: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A token that is good as far as it says itself, and the listed cluster that it names, with its key of now."""

    token: BearerToken
    claims: UnverifiedToken
    cluster: ClusterOptions
    key: ClusterKey
    lane: str


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A verified token. `until` is when the cluster must be asked again, by the monotonic clock."""

    principal: Principal
    cluster: ClusterOptions
    until: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A definite no, believed until then by the monotonic clock."""

    reason: Reason
    cluster: ClusterOptions
    cluster_key: ClusterKey
    until: float


class Identity:
    """Who a token speaks for. `close` ends what is being asked."""

    def __init__(
        self,
        registry: ClusterRegistry,
        pool: Pool,
        options: IdentityOptions,
        attempts: Attempts | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        deadline: float = _DEADLINE,
    ) -> None:
        """Know nobody yet. Without `attempts`, nobody waits for having failed.

        `clock` counts seconds and never jumps, `now` is in seconds since the epoch; verifying one token takes at most
        `deadline` seconds.
        """
        self._registry = registry
        self._pool = pool
        self._options = options
        self._clock = clock
        self._now = now
        self._deadline = deadline
        self._attempts = attempts or Attempts(clock, 0)
        self._lanes = Lanes()
        self._keys = KeyRings(pool, self._attempts, clock, seconds=deadline)
        self._verdicts: Memory[_Verdict] = Memory(_MAX_VERDICTS)
        self._refusals: Memory[_Refusal] = Memory(_MAX_REFUSALS)
        self._ended: Memory[ClusterKey] = Memory(_MAX_REFUSALS)
        self._flights: Flights[str, Principal] = Flights()
        self._reviews = 0
        self._renew = (
            "Ask the cluster for a new one with three audiences, in this order: its API-server URL, "
            f"{options.audience}, its default audience."
        )

    async def authenticate(
        self, value: str, *, cluster_name: str | None = None, source: Callable[[], str] = str
    ) -> Principal:
        """Return who the token of an Authorization header speaks for; `cluster_name` is that of `/mcp/{name}`.

        `source` says where it comes from; it is called only for a token without a live verdict.

        Raises:
            Unauthenticated: The token can't be accepted, and why (RFC 6750, section 3.1).
            TooManyFailures: Too many tokens of this source were refused, and this one was not looked at.
            ClusterUnavailable: A listed cluster would have to be asked and can't be; this says nothing of the token.
        """
        try:
            check_text(value)
            token = BearerToken.of(value)
            principal = self.recall(token)
            if principal is None:
                # Who was verified a minute ago, by a review, does not wait with strangers of the same source.
                lane = token.digest if self._verdicts.get(token.digest) else source()
                principal = await self._learn(token, cluster_name, lane)
            elif cluster_name is not None and cluster_name != principal.cluster:
                raise refusal("path", _NOT_ACCEPTED)
        except Unauthenticated as error:
            self._attempts.failed(source(), error.reason)
            raise Unauthenticated(error.reason, f"{error.message} {self._renew}") from None
        return principal

    def recall(self, token: BearerToken) -> Principal | None:
        """Return whom a live verdict names. It lives until `exp`, 60 s after a review, or until the CA changes.

        One that only its review's time has ended is kept, as a word that the token was good.
        """
        verdict = self._verdicts.get(token.digest)
        if verdict is None:
            return None
        principal = verdict.principal
        expired = self._now() >= principal.expires_at + self._options.exp_leeway_seconds
        if expired or self._pool.key(verdict.cluster) != principal.cluster_key:
            self._verdicts.drop(token.digest)
            return None
        return principal if self._clock() < verdict.until else None

    def end(self, digest: str) -> None:
        """End a verdict, because the cluster answered 401.

        The token's signature is as good as before, so from now on only the cluster itself is believed.
        """
        verdict = self._verdicts.get(digest)
        if verdict is not None:
            self._verdicts.drop(digest)
            self._ended.put(digest, verdict.principal.cluster_key)

    def forget(self, key: ClusterKey) -> None:
        """End everything that hangs on a retired cluster key."""
        self._keys.forget(key)
        self._verdicts.drop_if(lambda verdict: verdict.principal.cluster_key == key)
        self._refusals.drop_if(lambda refused: refused.cluster_key == key)
        self._ended.drop_if(lambda ended: ended == key)

    def state(self) -> IdentityState:
        """Count for metrics."""
        return IdentityState(len(self._verdicts), len(self._refusals), self._keys.reads, self._reviews)

    async def close(self) -> None:
        """End every verification under way; who waits for one is cancelled."""
        await self._flights.close()
        await self._keys.close()

    async def _learn(self, token: BearerToken, cluster_name: str | None, lane: str) -> Principal:
        """Judge all that can be judged without a dial, and then verify, once for all who wait."""
        self._attempts.admit(lane)
        known = self._refusals.get(token.digest)
        if known is not None and self._clock() < known.until and self._pool.key(known.cluster) == known.cluster_key:
            raise refusal(known.reason, _NOT_ACCEPTED)
        claims = read_claims(token.value)
        check_times(claims, self._now(), self._options)
        cluster = self._registry.by_url(named_url(claims, self._options.audience))
        if cluster is None:
            raise refusal("cluster", _NOT_ACCEPTED)
        if cluster_name is not None and cluster_name != cluster.name:
            raise refusal("path", _NOT_ACCEPTED)
        if not third_fits(claims, cluster.default_audience):
            raise refusal("audience", _NOT_ACCEPTED)
        candidate = _Candidate(token, claims, cluster, self._pool.key(cluster), lane)
        ended = self._ended.get(token.digest) is not None
        found = "unsettled" if ended else self._keys.known(cluster, candidate.key, claims)
        if found == "verified":
            return self._accept(candidate, claims.subject, inf)
        if found == "forged":
            raise self._refuse(candidate, "signature")
        return await self._flights.join(token.digest, partial(self._ask, candidate, found))

    async def _ask(self, candidate: _Candidate, found: Finding | None) -> Principal:
        """Verify with the cluster's help: its keys, where they must be read (`found` is None), or else its word."""
        token, claims, cluster, lane = candidate.token, candidate.claims, candidate.cluster, candidate.lane
        try:
            async with asyncio.timeout(self._deadline):
                found = found or await self._keys.read(cluster, candidate.key, token, claims, lane)
                if found == "verified":
                    return self._accept(candidate, claims.subject, inf)
                if found != "unsettled":
                    raise self._refuse(candidate, "signature" if found == "forged" else "rejected")
                async with self._lanes.entered(candidate.key, lane):
                    self._attempts.admit(lane)
                    self._reviews += 1
                    subject = await ask_username(self._pool, cluster, token, seconds=self._deadline)
        except TimeoutError:
            raise unavailable("it did not answer in time") from None
        if subject is None:
            raise self._refuse(candidate, "rejected")
        return self._accept(candidate, subject, self._clock() + REVIEW_LASTS)

    def _accept(self, candidate: _Candidate, subject: str, until: float) -> Principal:
        principal = Principal(
            issuer=candidate.claims.issuer,
            subject=subject,
            cluster=candidate.cluster.name,
            cluster_url=candidate.cluster.server,
            cluster_key=candidate.key,
            token_digest=candidate.token.digest,
            expires_at=candidate.claims.expires_at,
            token_id=candidate.claims.token_id,
        )
        # Listed anew while its keys were read, the cluster may want other tokens; this verdict is for one call then.
        if self._registry.by_url(candidate.cluster.server) is candidate.cluster:
            self._verdicts.put(candidate.token.digest, _Verdict(principal, candidate.cluster, until))
        return principal

    def _refuse(self, candidate: _Candidate, reason: Reason) -> Unauthenticated:
        self._verdicts.drop(candidate.token.digest)
        until = self._clock() + REFUSAL_LASTS
        self._refusals.put(candidate.token.digest, _Refusal(reason, candidate.cluster, candidate.key, until))
        return refusal(reason, _NOT_ACCEPTED)
