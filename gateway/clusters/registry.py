"""Boundary of what may be dialled: only a cluster listed here has an address (promise 2)."""

from collections.abc import Iterable, Iterator

from gateway.clusters.options import ClusterOptions


class ClusterRegistry:
    """The listed clusters, found by the canonical URL that tokens name or by short name."""

    def __init__(self, clusters: Iterable[ClusterOptions]) -> None:
        """Index the clusters; the settings have made sure that URLs and names are unique."""
        self._by_url: dict[str, ClusterOptions] = {}
        self._by_name: dict[str, ClusterOptions] = {}
        self.replace(clusters)

    def replace(self, clusters: Iterable[ClusterOptions]) -> None:
        """List these from now on, and no others."""
        listed = tuple(clusters)
        self._by_url = {cluster.server: cluster for cluster in listed}
        self._by_name = {cluster.name: cluster for cluster in listed}

    def by_url(self, canonical: str) -> ClusterOptions | None:
        """Find the cluster whose `server` is this canonical URL."""
        return self._by_url.get(canonical)

    def by_name(self, name: str) -> ClusterOptions | None:
        """Find the cluster of this short name."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[ClusterOptions]:
        """Go through all of them in the order they were listed."""
        return iter(self._by_url.values())

    def __len__(self) -> int:
        """Count them."""
        return len(self._by_url)
