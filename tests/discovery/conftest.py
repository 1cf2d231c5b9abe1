"""A cluster to discover: an embedded one over real TLS, its warm client, and a clock that tests move."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Lease, Pool
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.discovery.fetch import Discovery
from gateway.kube.credential import BearerToken


@dataclass(slots=True)
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(frozen=True, slots=True)
class Documents:
    """What a kube-apiserver 1.36.3 with four CRDs and one dead APIService served."""

    api: dict[str, Any]
    apis: dict[str, Any]
    legacy: dict[str, dict[str, Any]]
    """By path; the dead group's own path is missing, which was 503 in plain text."""


@pytest.fixture(scope="session")
def documents() -> Documents:
    """The recorded documents; never changed."""
    folder = Path(__file__).parent / "data"
    return Documents(*(orjson.loads((folder / f"{name}.json").read_bytes()) for name in ("api", "apis", "legacy")))


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    """An embedded cluster."""
    async with EmbeddedCluster("east") as running:
        yield running


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[Pool]:
    """The warm clients."""
    async with Pool(TrustStore(clock), clock) as opened:
        yield opened


@pytest.fixture
def options(cluster: EmbeddedCluster) -> ClusterOptions:
    """The cluster as an operator lists it."""
    return listed(cluster)


@pytest.fixture
async def lease(pool: Pool, options: ClusterOptions) -> AsyncIterator[Lease]:
    """The held client of the cluster."""
    async with pool.lease(options) as held:
        yield held


@pytest.fixture
async def token(cluster: EmbeddedCluster) -> BearerToken:
    """A token the cluster accepts."""
    return BearerToken.of(await cluster.token())


@pytest.fixture
async def discovery(clock: Clock) -> AsyncIterator[Discovery]:
    """What is tested."""
    made = Discovery(clock)
    yield made
    await made.close()


def listed(cluster: EmbeddedCluster, **settings: object) -> ClusterOptions:
    """List a cluster under its name, with further settings as the settings file has them."""
    return ClusterOptions.model_validate(
        {
            "name": cluster.name,
            "server": cluster.server,
            "certificateAuthorityData": cluster.ca_pem.decode(),
            **settings,
        }
    )
