import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from gateway.demo import EmbeddedCluster


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    """An embedded cluster of one's own."""
    async with EmbeddedCluster("demo") as started:
        yield started


def trusting(cluster: EmbeddedCluster) -> aiohttp.TCPConnector:
    """Return a connector that trusts the cluster's CA as it is now."""
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=cluster.ca_pem.decode()))


@pytest.fixture
async def client(cluster: EmbeddedCluster) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with cluster-admin's token."""
    headers = {"Authorization": f"Bearer {await cluster.token()}"}
    async with aiohttp.ClientSession(connector=trusting(cluster), headers=headers) as session:
        yield session


@pytest.fixture
def url(cluster: EmbeddedCluster) -> Callable[[str], str]:
    """Make a URL of a path."""
    return lambda path: cluster.server + path
