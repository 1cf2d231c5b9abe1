"""Boundary between callers who need a cluster's catalog and the reading of it: kept, shared, one fetch for all.

Warm, a catalog costs one look-up and nothing awaits. What is kept is held by aiocache; since its `get` costs 6 to 8 µs,
calls look at a weak reference beside it, which is gone as soon as aiocache lets go.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import structlog
from aiocache import SimpleMemoryCache

from gateway.clusters.pool import ClusterKey, Lease
from gateway.discovery.catalog import Catalog, build, served_by
from gateway.discovery.documents import ServedVersion
from gateway.discovery.reading import Root, read_roots
from gateway.errors import GatewayError
from gateway.kube.client import ApiServer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Forbidden, InvalidToken
from gateway.policy.options import PolicyOptions

FRESH_SECONDS: Final = 6 * 3600.0
"""How long a catalog is used without asking whether it still holds."""
BROKEN_SECONDS: Final = 60.0
"""The same, while an aggregated API that is listed can't be read."""
REST_SECONDS: Final = 10.0
"""Between two refreshes because a kind was not found, and after a revalidation that failed."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(slots=True, weakref_slot=True)
class _Kept:
    """A cluster's catalog, when (in the clock's seconds) it was confirmed and used, and what is due when."""

    cluster: str
    catalog: Catalog
    etags: tuple[str, str]
    confirmed: float
    used: float
    due: float
    refresh_from: float
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class _Flight:
    """One fetch under way, and whose token and client it uses."""

    task: asyncio.Task[Catalog]
    token: str
    server: ApiServer


@dataclass(frozen=True, slots=True)
class CatalogState:
    """One cluster's catalog for metrics: how many types, what can't be read, seconds since it was confirmed."""

    types: int
    broken: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """Catalogs by cluster name, how many different ones that is, fetches under way, and those done so far.

    The last are counted by (cluster name, outcome), which is `read`, `unchanged` (confirmed by ETag) or `failed`.
    """

    clusters: Mapping[str, CatalogState]
    distinct: int
    under_way: int
    fetches: Mapping[tuple[str, str], int]


class Discovery:
    """The catalogs of all clusters in use, by cluster key. Made inside the loop that uses it; `close` ends fetches."""

    def __init__(self, clock: Callable[[], float], *, entries: int = 512) -> None:
        """Start empty. `clock` counts seconds; the least used catalog goes when there are more than `entries`."""
        self._clock = clock
        self._entries = entries
        # No time limit: its own costs a task a call, and a dict can't be slow.
        self._cache = SimpleMemoryCache(timeout=None)
        self._at_hand: WeakValueDictionary[ClusterKey, _Kept] = WeakValueDictionary()
        self._catalogs: WeakValueDictionary[str, Catalog] = WeakValueDictionary()
        self._flights: dict[ClusterKey, _Flight] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._fetches: Counter[tuple[str, str]] = Counter()

    async def catalog(self, lease: Lease, token: BearerToken, *, refresh: bool = False) -> Catalog:
        """Return what the cluster serves: from memory, or read now with the caller's token if this is the first call.

        After 6 h it is confirmed by ETag beside the call, which does not wait for it; while that fails, what is kept
        goes on being used. `refresh` is for a kind that was not found: it asks the cluster again, but at most once in
        10 s, and otherwise returns what is kept.

        Raises:
            GatewayError: As `read_roots` does, when there is nothing kept or a refresh failed.
        """
        kept = self._at_hand.get(lease.key)
        if kept is None:
            return await self._fetched(lease, token)
        now = kept.used = self._clock()
        if refresh and (now >= kept.refresh_from or lease.key in self._flights):
            kept.refresh_from = now + REST_SECONDS
            return await self._fetched(lease, token)
        if kept.outdated:
            try:
                return await self._fetched(lease, token)
            except InvalidToken:
                raise
            except GatewayError:
                kept.outdated, kept.due = False, now + REST_SECONDS
                return kept.catalog
        if now >= kept.due:
            kept.due = now + REST_SECONDS
            self._flight(lease, token)
        return kept.catalog

    def renew(self, key: ClusterKey) -> None:
        """Make the next call for this cluster ask it again: the gateway itself changed what it serves."""
        self._flights.pop(key, None)
        if (kept := self._at_hand.get(key)) is not None:
            kept.outdated = True
            kept.refresh_from = self._clock()

    def forget(self, key: ClusterKey) -> None:
        """Drop what is kept for a key that ended; a fetch under way serves those who wait and is not kept."""
        self._flights.pop(key, None)
        if self._at_hand.pop(key, None) is not None:
            self._own(self._cache.delete(key))

    def state(self) -> DiscoveryState:
        """Count for metrics."""
        now = self._clock()
        clusters = {
            kept.cluster: CatalogState(len(kept.catalog.types), len(kept.catalog.broken), now - kept.confirmed)
            for kept in self._at_hand.values()
        }
        return DiscoveryState(clusters, len(self._catalogs), len(self._flights), MappingProxyType(dict(self._fetches)))

    async def close(self) -> None:
        """End the fetches under way; who waits for one is cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetched(self, lease: Lease, token: BearerToken) -> Catalog:
        """Join the fetch under way or start one; a caller's cancellation does not end it for the others."""
        while True:
            if lease.key not in self._flights:
                lease.breaker.check()
            flight = self._flight(lease, token)
            try:
                return await asyncio.shield(flight.task)
            except (InvalidToken, Forbidden):
                if flight.token == token.digest:
                    raise
            except GatewayError:
                if flight.server is lease.server:
                    raise
            # It failed for a reason of its first caller's: a bad token, or a client that was closed.

    def _flight(self, lease: Lease, token: BearerToken) -> _Flight:
        flight = self._flights.get(lease.key)
        if flight is None:
            task = self._own(self._fetch(lease, token))
            flight = self._flights[lease.key] = _Flight(task, token.digest, lease.server)
            task.add_done_callback(partial(self._landed, lease, flight))
        return flight

    def _landed(self, lease: Lease, flight: _Flight, task: asyncio.Task[Catalog]) -> None:
        if self._flights.get(lease.key) is flight:
            del self._flights[lease.key]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fetches[lease.cluster.name, "failed"] += 1
            outcome = error.outcome if isinstance(error, GatewayError) else "error"
            _log.warning("discovery_failed", cluster=lease.cluster.name, outcome=outcome, error=str(error))

    async def _fetch(self, lease: Lease, token: BearerToken) -> Catalog:
        key, name = lease.key, lease.cluster.name
        before = self._at_hand.get(key)
        with lease.breaker.passage():
            core, groups = await read_roots(lease, token, before.etags if before else ("", ""))
        if before is not None and core.served is None and groups.served is None:
            catalog = before.catalog
        else:
            made = await asyncio.to_thread(
                _made, core, groups, lease.cluster.policy, before.catalog if before else None
            )
            # Equal catalogs of different clusters are one in memory.
            catalog = self._catalogs.setdefault(made.digest, made)
        changed = before is None or catalog is not before.catalog
        self._fetches[name, "read" if changed else "unchanged"] += 1
        if changed:
            _log.info("discovery_read", cluster=name, types=len(catalog.types), broken=list(catalog.broken))
        flight = self._flights.get(key)
        if flight is not None and flight.task is asyncio.current_task():
            now = self._clock()
            due = now + (BROKEN_SECONDS if catalog.broken else FRESH_SECONDS)
            rests_until = before.refresh_from if before else now
            await self._keep(key, _Kept(name, catalog, (core.etag, groups.etag), now, now, due, rests_until))
        return catalog

    async def _keep(self, key: ClusterKey, kept: _Kept) -> None:
        await self._cache.set(key, kept)
        self._at_hand[key] = kept
        while len(self._at_hand) > self._entries:
            least_used = min(self._at_hand.items(), key=lambda item: item[1].used)[0]
            del self._at_hand[least_used]
            await self._cache.delete(least_used)

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name="discovery")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _made(core: Root, groups: Root, policy: PolicyOptions, before: Catalog | None) -> Catalog:
    served: list[ServedVersion] = []
    for root, is_core in ((core, True), (groups, False)):
        if root.served is not None:
            served += root.served
        elif before is not None:
            served += served_by(before, core=is_core)
    return build(served, policy, before)
