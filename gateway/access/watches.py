"""Boundary that bounds how many watches are open: each holds a connection of its own for minutes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from gateway.clusters.pool import ClusterKey
from gateway.errors import ClusterUnavailable
from gateway.identity.principal import Principal

PER_CALLER: Final = 40
"""Watches of one caller on one cluster."""
PER_CLUSTER: Final = 512
"""Watches of all callers on one cluster."""

K = TypeVar("K")


class Watches:
    """Counts what is open; one more than allowed is refused at once, because none of them ends soon."""

    def __init__(self, per_caller: int = PER_CALLER, per_cluster: int = PER_CLUSTER) -> None:
        """Start with none."""
        self._per_caller = per_caller
        self._per_cluster = per_cluster
        self._callers: Counter[tuple[ClusterKey, str, str]] = Counter()
        self._clusters: Counter[ClusterKey] = Counter()

    @property
    def open(self) -> int:
        """How many are open."""
        return self._clusters.total()

    @contextmanager
    def place(self, principal: Principal) -> Iterator[None]:
        """Hold a place for one watch.

        Raises:
            ClusterUnavailable: As many as allowed are open.
        """
        cluster, caller = principal.cluster_key, (principal.cluster_key, principal.issuer, principal.subject)
        if self._callers[caller] >= self._per_caller:
            message = (
                f"You are waiting for {self._per_caller} things at once on this cluster already. Let some end first."
            )
            raise ClusterUnavailable(message, retry_after=30)
        if self._clusters[cluster] >= self._per_cluster:
            message = "As many callers as allowed are waiting for something on this cluster. Try again in a minute."
            raise ClusterUnavailable(message, retry_after=60)
        self._callers[caller] += 1
        self._clusters[cluster] += 1
        try:
            yield
        finally:
            _take(self._callers, caller)
            _take(self._clusters, cluster)


def _take(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
