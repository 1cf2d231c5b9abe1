"""Boundary around warm cluster clients: who holds one, when a new one is made, and when an old one ends.

Every decision is made without awaiting, in one step, which returns what must be closed; so a cancellation at any
await leaves the pool consistent, and two first callers can't make two clients.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from gateway.clusters.breaker import Breaker, BreakerState
from gateway.clusters.gate import Gate
from gateway.clusters.options import ClusterOptions
from gateway.clusters.trust import Bundle, TrustStore
from gateway.errors import ClusterUnavailable
from gateway.kube.client import Address, ApiServer, Timeouts
from gateway.kube.holding import BYTES_IN_FLIGHT, Memory

VERIFICATION_WIDTH: Final = 4
VERIFICATION_QUEUE: Final = 32
KEY_READS: Final = 2
"""The lane in which tokens are verified is small, so that unverified callers can't use up a cluster's (promise 3).
Beside it, keys are read at most so often at once."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """What everything kept for a cluster hangs on: canonical URL, SHA-256 of its CA bundle, TLS server name."""

    url: str
    ca_digest: str
    tls_server_name: str

    def __str__(self) -> str:
        """Show it in one short word for logs."""
        return f"{self.url}#{self.ca_digest[:8]}"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many clusters may be open at once; seconds until an unused client ends, and until a used one is renewed.

    What is in flight on a retired cluster has `retired_seconds`, or its own limit for a call. A client is renewed
    because a connection that never ends keeps all callers on one replica of an API server.
    """

    open: int = 512
    idle_seconds: float = 900
    max_age_seconds: float = 1800
    retired_seconds: float = 60


@dataclass(slots=True)
class _Warm:
    """One client and who holds it."""

    server: ApiServer
    born: float
    ends: float
    leases: int = 0


@dataclass(slots=True)
class _Entry:
    """What is kept for one key: the current client, and the gates and the breaker, which outlive it."""

    name: str
    key: ClusterKey
    warm: _Warm
    used: float
    gate: Gate
    verification: Gate
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class Lease:
    """A held client of one cluster: it is not closed before the lease ends."""

    cluster: ClusterOptions
    key: ClusterKey
    server: ApiServer
    gate: Gate
    verification: Gate
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class ClusterState:
    """One cluster in use, by its short name: who holds its client, who is inside its gates or waits, its breaker."""

    name: str
    breaker: BreakerState
    leases: int
    inside: int
    waiting: int
    verifying: int
    waiting_for_verification: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """For metrics and the admin page: open clients, held leases, clients that wait for their last holder, renewals.

    `clusters` has those in use; one that nobody has called for a while is not among them.
    """

    open: int
    leases: int
    draining: int
    created: int
    clusters: tuple[ClusterState, ...]


class Pool:
    """The warm clients by cluster key. Enter it once, inside the loop that uses it; leaving closes everything."""

    def __init__(
        self,
        trust: TrustStore,
        clock: Callable[[], float],
        *,
        limits: PoolLimits = PoolLimits(),
        memory: Memory | None = None,
    ) -> None:
        """Start empty; `clock` counts seconds. All clusters' answers share `memory`."""
        self._trust = trust
        self._clock = clock
        self._limits = limits
        self.memory = memory or Memory(BYTES_IN_FLIGHT)
        self._on_retired: tuple[Callable[[ClusterKey], None], ...] = ()
        self._entries: dict[ClusterKey, _Entry] = {}
        self._last_keys: dict[str, ClusterKey] = {}
        # By identity, as sessions hold them, and held here, so that no other takes the place of one in memory.
        self._retired: dict[int, ClusterOptions] = {}
        self._draining: dict[int, _Warm] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._created = 0
        self._reaper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the task that ends unused clients."""
        self._reaper = asyncio.create_task(self._reap(), name="pool-reaper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the task, then close every client, held or not."""
        if self._reaper is not None:
            self._reaper.cancel()
            with suppress(asyncio.CancelledError):
                await self._reaper
        for warm in [*(entry.warm for entry in self._entries.values()), *self._draining.values()]:
            self._close(warm)
        self._entries.clear()
        self._draining.clear()
        await asyncio.gather(*self._closing)

    def when_retired(self, *listeners: Callable[[ClusterKey], None]) -> None:
        """Tell these, from now on, each key that ended: its CA bundle changed, or it is listed no more."""
        self._on_retired += listeners

    def lease(self, cluster: ClusterOptions) -> "_Leasing":
        """Return what holds the cluster's warm client while it is entered (`async with`). Dials nobody.

        Entering it makes the client if there is none, and raises ClusterUnavailable where the CA bundle can't be read,
        or as many clusters as allowed are in use.
        """
        return _Leasing(self, cluster)

    def _hold(self, cluster: ClusterOptions) -> tuple[_Entry, _Warm]:
        entry = self._entry(cluster)
        entry.warm.leases += 1
        return entry, entry.warm

    def _give_back(self, entry: _Entry, warm: _Warm) -> None:
        warm.leases -= 1
        entry.used = self._clock()
        if not warm.leases and self._draining.pop(id(warm), None) is not None:
            self._close(warm)

    def retire(self, cluster: ClusterOptions) -> None:
        """End all that is kept for a cluster that is listed no more, or not like this, and make no client for it again.

        Calls that use it finish; a watch that would go on for hours is ended with its client.
        """
        self._retired[id(cluster)] = cluster
        key = self._last_keys.pop(cluster.server, None)
        if key is None:
            return
        if key in self._entries:
            seconds = max(cluster.limits.call_seconds, self._limits.retired_seconds)
            asyncio.get_running_loop().call_later(seconds, self._cut, self._entries[key].warm)
        self._drop_if_open(key)
        self._tell_retired(key)

    def renew(self, cluster: ClusterOptions) -> None:
        """Make the cluster's client and gates anew with the next call, as its limits are then."""
        key = self._last_keys.get(cluster.server)
        if key is not None:
            self._drop_if_open(key)

    def key(self, cluster: ClusterOptions) -> ClusterKey:
        """Return the cluster's key as its CA bundle is now.

        Raises:
            ClusterUnavailable: Its CA bundle can't be read.
        """
        return self._key(cluster, self._bundle(cluster))

    def _key(self, cluster: ClusterOptions, bundle: Bundle) -> ClusterKey:
        """Return the key, the one that is in use where it is still that."""
        known = self._last_keys.get(cluster.server)
        if known is not None and known.ca_digest == bundle.digest and known.tls_server_name == cluster.tls_server_name:
            return known
        return ClusterKey(cluster.server, bundle.digest, cluster.tls_server_name)

    def certificate_ends(self, cluster: ClusterOptions) -> float | None:
        """Return when the certificate that the API server last showed ends, as Unix time; None where none was seen."""
        # By the last key: this is asked about every listed cluster, and reading the CA bundles of a thousand that
        # nobody ever called would take the better part of a second.
        known = self._last_keys.get(cluster.server)
        return self._trust.certificate_ends(cluster, known.ca_digest) if known else None

    def expire(self) -> None:
        """End the clients that nobody has used for so long; the pool's own task does this once a minute."""
        now = self._clock()
        for entry in [*self._entries.values()]:
            if not entry.warm.leases and now - entry.used >= self._limits.idle_seconds:
                self._drop(entry.key)

    def state(self) -> PoolState:
        """Count what is open and held, in all and for each cluster in use."""
        clusters = tuple(
            ClusterState(
                entry.name,
                entry.breaker.state(),
                entry.warm.leases,
                entry.gate.inside,
                entry.gate.waiting,
                entry.verification.inside,
                entry.verification.waiting,
            )
            for entry in self._entries.values()
        )
        held = sum(state.leases for state in clusters) + sum(warm.leases for warm in self._draining.values())
        return PoolState(len(self._entries), held, len(self._draining), self._created, clusters)

    def __repr__(self) -> str:
        """Show the whole state in a line."""
        entries = ", ".join(
            f"{e.name}: {e.warm.leases} held, {e.gate!r}{'' if e.breaker.is_closed else f', {e.breaker!r}'}"
            for e in self._entries.values()
        )
        return f"<Pool {len(self._entries)} open, {len(self._draining)} draining{': ' if entries else ''}{entries}>"

    def _bundle(self, cluster: ClusterOptions) -> Bundle:
        try:
            return self._trust.bundle(cluster)
        except ValueError as error:
            message = "The gateway can't use this cluster's CA bundle. Tell the gateway's operator."
            raise ClusterUnavailable(message, retry_after=30) from error

    def _entry(self, cluster: ClusterOptions) -> _Entry:
        bundle = self._bundle(cluster)
        key = self._key(cluster, bundle)
        now = self._clock()
        entry = self._entries.get(key)
        if entry is None:
            if id(cluster) in self._retired:
                message = "The gateway's operator changed or removed this cluster a moment ago. Call again."
                raise ClusterUnavailable(message, retry_after=1)
            self._retire_other_than(key)
            self._make_room(now)
            limits = cluster.limits
            entry = self._entries[key] = _Entry(
                cluster.name,
                key,
                self._connect(cluster, bundle, now),
                now,
                Gate(limits.connections, limits.queue),
                Gate(VERIFICATION_WIDTH, VERIFICATION_QUEUE),
                Breaker(
                    cluster.shown,
                    limits.breaker_failures,
                    limits.breaker_seconds,
                    clock=self._clock,
                    random=random.random,
                ),
            )
        elif now >= entry.warm.ends:
            self._let_go(entry.warm)
            entry.warm = self._connect(cluster, bundle, now)
        entry.used = now
        return entry

    def _retire_other_than(self, key: ClusterKey) -> None:
        """End what this cluster's last key stood for, whether or not its client was dropped meanwhile."""
        outdated = self._last_keys.get(key.url, key)
        self._last_keys[key.url] = key
        if outdated == key:
            return
        self._drop_if_open(outdated)
        self._tell_retired(outdated)

    def _drop_if_open(self, key: ClusterKey) -> None:
        if key in self._entries:
            self._drop(key)

    def _tell_retired(self, key: ClusterKey) -> None:
        for listener in self._on_retired:
            listener(key)

    def _connect(self, cluster: ClusterOptions, bundle: Bundle, now: float) -> _Warm:
        limits = cluster.limits
        server = ApiServer(
            Address(cluster.address or cluster.server, cluster.tls_server_name),
            self._trust.context(bundle),
            Timeouts(limits.connect_seconds, limits.first_byte_seconds, limits.call_seconds),
            connections=limits.connections + VERIFICATION_WIDTH + KEY_READS,
            memory=self.memory,
        )
        self._created += 1
        # Spread, so that clusters that were first used together are not renewed together.
        age = self._limits.max_age_seconds * random.uniform(0.8, 1.2)  # noqa: S311  # no secret hangs on it
        return _Warm(server, now, now + age)

    def _make_room(self, now: float) -> None:
        while len(self._entries) >= self._limits.open:
            unused = [entry for entry in self._entries.values() if not entry.warm.leases]
            if not unused:
                message = "The gateway is in use by as many clusters as it may open at once. Try again in a minute."
                raise ClusterUnavailable(message, retry_after=60)
            oldest = min(unused, key=lambda entry: entry.used)
            _log.info("pool_full", cluster=oldest.name, unused_seconds=round(now - oldest.used))
            self._drop(oldest.key)

    def _drop(self, key: ClusterKey) -> None:
        self._let_go(self._entries.pop(key).warm)

    def _cut(self, warm: _Warm) -> None:
        if self._draining.pop(id(warm), None) is not None:
            self._close(warm)

    def _let_go(self, warm: _Warm) -> None:
        if warm.leases:
            self._draining[id(warm)] = warm
        else:
            self._close(warm)

    def _close(self, warm: _Warm) -> None:
        task = asyncio.create_task(warm.server.close(), name="pool-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self._limits.idle_seconds / 2))
            self.expire()


class _Leasing:
    """A lease to be; entered and left once. A class, because a generator takes four times as long."""

    __slots__ = ("_cluster", "_entry", "_pool", "_warm")

    def __init__(self, pool: Pool, cluster: ClusterOptions) -> None:
        self._pool = pool
        self._cluster = cluster

    async def __aenter__(self) -> Lease:
        entry, self._warm = self._pool._hold(self._cluster)  # noqa: SLF001  # a part of the pool
        self._entry = entry
        return Lease(self._cluster, entry.key, self._warm.server, entry.gate, entry.verification, entry.breaker)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool._give_back(self._entry, self._warm)  # noqa: SLF001
