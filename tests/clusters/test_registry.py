from gateway.clusters.options import ClusterOptions
from gateway.clusters.registry import ClusterRegistry

EAST = ClusterOptions(name="east", server="https://east.example")
WEST = ClusterOptions(name="west", server="https://WEST.example:443/")


def test_a_cluster_is_found_by_url_and_by_name() -> None:
    """The URL is the canonical one, however the settings spell it."""
    registry = ClusterRegistry([EAST, WEST])
    assert registry.by_url("https://west.example") == WEST
    assert registry.by_name("east") == EAST
    assert ([*registry], len(registry)) == ([EAST, WEST], 2)


def test_what_is_not_listed_is_not_found() -> None:
    """Nothing is made up: no prefix, no other spelling, no cluster."""
    registry = ClusterRegistry([EAST, WEST])
    for url in ("https://WEST.example", "https://west.example/", "https://east.example:443", "https://east", ""):
        assert registry.by_url(url) is None
    assert registry.by_name("EAST") is None
