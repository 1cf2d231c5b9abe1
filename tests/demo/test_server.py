from gateway.demo import EmbeddedCluster


async def test_a_cluster_starts_and_says_what_it_is() -> None:
    """An embedded cluster answers over TLS under its own CA, and its version says that it is not Kubernetes."""
    async with EmbeddedCluster("east") as cluster:
        assert cluster.server.startswith("https://127.0.0.1:")
        status, body = await cluster.request("GET", "/version")
        assert (status, b"+embedded" in body) == (200, True)


async def test_administration_is_not_counted() -> None:
    """What a test asks as administrator neither connects nor counts, so that it can count what a gateway does."""
    async with EmbeddedCluster("east") as cluster:
        await cluster.request("GET", "/api/v1/namespaces")
        assert (cluster.connections, cluster.served, len(cluster.requests)) == (0, 0, 0)
