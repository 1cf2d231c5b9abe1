import pytest

from gateway.clusters.pool import Pool
from gateway.clusters.system import read_document, review
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.kube.credential import BearerToken
from tests.workbench import Clock, listed

ALLOWED = [
    "/api",
    "/api/v1",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/apis/metrics.k8s.io/v1beta1",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
    "/version",
]
REFUSED = [
    "",
    "/",
    "/api/v1/secrets",
    "/api/v1/",
    "/api/v1?watch=1",
    "/api/v1\n",
    "/api/%2e%2e/version",
    "/api/..",
    "/apis/../api",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/..",
    "/apis//v1",
    "/apis/APPS/v1",
    "/apis/apps/v1%2fdeployments",
    "/openid/v1/jwks/",
    "/metrics",
    "/logs/",
    "/version/x",
    "https://elsewhere.example/version",
]


@pytest.mark.parametrize("path", ALLOWED)
async def test_the_system_door_leads_to_these_documents(cluster: EmbeddedCluster, path: str) -> None:
    """What discovery and identity need can be asked, always with the caller's own token."""
    token = BearerToken.of(await cluster.token())
    clock = Clock()
    async with Pool(TrustStore(clock), clock) as pool, pool.lease(listed(cluster)) as lease:
        await read_document(lease, token, path)
        assert [seen.path for seen in cluster.requests] == [path]


@pytest.mark.parametrize("path", REFUSED)
async def test_the_system_door_leads_nowhere_else(cluster: EmbeddedCluster, path: str) -> None:
    """Not even the gateway's own mistake sends anything to another path."""
    token = BearerToken.of(await cluster.token())
    clock = Clock()
    async with Pool(TrustStore(clock), clock) as pool, pool.lease(listed(cluster)) as lease:
        with pytest.raises(ValueError, match="not for the system door"):
            await read_document(lease, token, path)
        assert not cluster.requests


async def test_a_document_is_confirmed_by_its_etag(cluster: EmbeddedCluster) -> None:
    """An unchanged document costs no body."""
    token = BearerToken.of(await cluster.token())
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    clock = Clock()
    async with Pool(TrustStore(clock), clock) as pool, pool.lease(listed(cluster)) as lease:
        first = await read_document(lease, token, "/apis", accept=accept)
        again = await read_document(lease, token, "/apis", accept=accept, etag=first.headers["etag"])
        assert (first.status, again.status, again.body) == (200, 304, b"")


async def test_a_cluster_says_whose_token_it_is(cluster: EmbeddedCluster) -> None:
    """A review names the caller, and a token that is not accepted gets the cluster's 401."""
    clock = Clock()
    async with Pool(TrustStore(clock), clock) as pool, pool.lease(listed(cluster)) as lease:
        answer = await review(lease, BearerToken.of(await cluster.token()))
        assert (answer.status, b"system:serviceaccount:demo:mcp" in answer.body) == (201, True)
        assert (await review(lease, BearerToken.of("of.no.body"))).status == 401
