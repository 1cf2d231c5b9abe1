"""Boundary between settings that change while the gateway serves and the rooms that use them.

Clusters, policies and limits are taken up; they are checked whole first, and taken in one step between two calls.
What can't be used changes nothing, and is said.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.settings import Settings, SettingsError
from gateway.settings.origin import Origin, Stamp
from gateway.telemetry.metrics import Reading

EVERY: Final = 1.0
"""Seconds between two looks at the files. What changed must look the same twice: nobody wants half a file."""
TRY_AGAIN: Final = 10.0
"""Seconds after which settings that could not be used are tried again: what they name may have come meanwhile."""

_CLUSTERS: Final = frozenset({"clusters", "clusters_directory"})
_ANOTHER: Final = (
    "name",
    "server",
    "address",
    "certificate_authority",
    "certificate_authority_data",
    "tls_server_name",
    "insecure",
    "default_audience",
)
"""Whoever was verified for a cluster was verified for one with these; with another, they begin anew."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Difference:
    """What new settings mean for the clusters that are listed now: the names of those added, removed and changed.

    `listed` is what is listed from then on, `retired` what is kept about nobody any longer, and `renewed` whose clients
    are made anew because their limits or names changed.
    """

    listed: tuple[ClusterOptions, ...]
    retired: tuple[ClusterOptions, ...]
    renewed: tuple[ClusterOptions, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def difference(before: Iterable[ClusterOptions], after: Iterable[ClusterOptions]) -> Difference:
    """Compare; a cluster that is the same stays the same object, so that nothing that hangs on it is disturbed."""
    old, new = {cluster.name: cluster for cluster in before}, {cluster.name: cluster for cluster in after}
    both = [(old[name], new[name]) for name in new if name in old and old[name] != new[name]]
    others = [was for was, becomes in both if any(getattr(was, key) != getattr(becomes, key) for key in _ANOTHER)]
    return Difference(
        listed=tuple(old[name] if old.get(name) == cluster else cluster for name, cluster in new.items()),
        retired=(*(cluster for name, cluster in old.items() if name not in new), *others),
        renewed=tuple(
            was
            for was, becomes in both
            if was not in others and (was.limits, was.label) != (becomes.limits, becomes.label)
        ),
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(was.name for was, _ in both),
    )


class Reload:
    """The settings as they are in use, and what watches where they came from."""

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        registry: ClusterRegistry,
        pool: Pool,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin with settings that are in use already; `now` is in seconds since the epoch."""
        self._origin = origin
        self._started_with = settings
        self._settings = settings
        self._registry = registry
        self._pool = pool
        self._now = now
        self._told = asyncio.Event()
        self._taken = self._looked = origin.stamp(settings)
        self._tried = 0.0
        self.loaded_at = now()
        """When what is in use was read, in seconds since the epoch."""
        self.problem = ""
        """What keeps newer settings from being used; empty where nothing does."""

    def ask(self) -> None:
        """Have the settings read again now, whether or not a file changed."""
        self._told.set()

    @asynccontextmanager
    async def watching(self, every: float = EVERY) -> AsyncIterator[None]:
        """Look every so many seconds, as long as the context lasts."""
        watch = asyncio.create_task(self._watch(every), name="settings-watch")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the settings and take what can be taken, or say what is wrong with them."""
        self._tried = time.monotonic()
        try:
            # In a thread, because some hundred CA bundles take their time.
            settings = await asyncio.to_thread(self._origin.load)
        except SettingsError as error:
            if error.message != self.problem:
                _log.error("settings_reload_failed", problems=list(error.problems), kept="the last good settings")
            self.problem = error.message
            return
        self.problem = ""
        self.loaded_at = self._now()
        self._take(settings)

    def readings(self) -> Iterator[Reading]:
        """Say whether newer settings could not be taken, and since when those in use are."""
        yield Reading("settings_reload_failed", bool(self.problem))
        yield Reading("settings_loaded_timestamp_seconds", self.loaded_at)

    async def _watch(self, every: float) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._told.wait()
            told = self._told.is_set()
            self._told.clear()
            try:
                stamp = await asyncio.to_thread(self._origin.stamp, self._settings)
                if told or self._is_due(stamp):
                    self._taken = stamp
                    await self.refresh()
                self._looked = stamp
            except Exception:  # noqa: BLE001  # whatever it is, the next look must come
                _log.exception("settings_reload_failed", kept="the last good settings")

    def _is_due(self, stamp: Stamp) -> bool:
        settled = stamp == self._looked
        again = bool(self.problem) and time.monotonic() - self._tried >= TRY_AGAIN
        return settled and (stamp != self._taken or again)

    def _take(self, settings: Settings) -> None:
        told = difference(self._registry, settings.clusters)
        self._registry.replace(told.listed)
        for cluster in told.retired:
            self._pool.retire(cluster)
        for cluster in told.renewed:
            self._pool.renew(cluster)
        self._settings = settings
        waiting = sorted(
            str(field.alias or name)
            for name, field in type(settings).model_fields.items()
            if name not in _CLUSTERS and getattr(settings, name) != getattr(self._started_with, name)
        )
        _log.info(
            "settings_reloaded",
            clusters=len(told.listed),
            added=told.added,
            removed=told.removed,
            changed=told.changed,
        )
        if waiting:
            _log.warning("settings_need_restart", settings=waiting)
