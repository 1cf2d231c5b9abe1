"""The same with real API servers, which are the ones to be right about."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.clusters.trust import TrustStore
from gateway.errors import Unauthenticated
from gateway.identity import Identity, IdentityOptions
from tests.cluster.cluster import RealCluster

DISCOVERY_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:service-account-issuer-discovery"


@asynccontextmanager
async def identity_for(*clusters: RealCluster) -> AsyncIterator[Identity]:
    """Return an identity that knows these clusters and has seen no token."""
    registry = ClusterRegistry(
        ClusterOptions(name=one.name, server=one.server, certificate_authority_data=one.ca_pem.decode())
        for one in clusters
    )
    async with Pool(TrustStore(time.monotonic), time.monotonic) as pool:
        identity = Identity(registry, pool, IdentityOptions())
        yield identity
        await identity.close()


async def reason_for(identity: Identity, token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(Unauthenticated) as caught:
        await identity.authenticate(token)
    return caught.value.reason


async def test_two_clusters_with_one_issuer_stay_apart(real_clusters: tuple[RealCluster, RealCluster]) -> None:
    """Each cluster's keys verify its tokens, and only those, though issuer and subject are equal."""
    east, west = real_clusters
    async with identity_for(east, west) as identity:
        principals = [await identity.authenticate(await one.token()) for one in (east, west)]
        assert [principal.cluster for principal in principals] == ["east", "west"]
        assert principals[0].issuer == principals[1].issuer
        assert {principal.subject for principal in principals} == {"system:serviceaccount:demo:mcp"}
        await identity.authenticate(await east.token(service_account="demo/viewer"))
        state = identity.state()
        assert (state.key_reads, state.reviews) == (2, 0)
        audience = principals[0].issuer
        assert await reason_for(identity, await west.token(east.server, "k-mcp", audience)) == "rejected"


async def test_an_api_server_settles_what_keys_can_not(real_cluster: RealCluster) -> None:
    """A forged signature, an unknown key, another issuer, a foreign third audience and a token that it refused."""
    async with identity_for(real_cluster) as identity:
        token = await real_cluster.token()
        principal = await identity.authenticate(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        stranger = rsa.generate_private_key(65537, 2048)
        kid = {"kid": jwt.get_unverified_header(token)["kid"]}
        assert await reason_for(identity, real_cluster.sign(claims, kid, stranger)) == "signature"
        assert await reason_for(identity, real_cluster.sign(claims, {"kid": "x"}, stranger)) == "rejected"
        assert await reason_for(identity, real_cluster.sign({**claims, "iss": "https://x.example"}, kid)) == "rejected"
        foreign = await real_cluster.token(real_cluster.server, "k-mcp", "https://x.example")
        identity.end((await identity.authenticate(foreign)).token_digest)
        assert await reason_for(identity, foreign) == "rejected"
        identity.end(principal.token_digest)
        assert await identity.authenticate(token) == principal


async def test_a_token_that_the_api_server_refuses_brings_no_keys(real_cluster: RealCluster) -> None:
    """Where the signing key is shared, another issuer's token verifies; whose keys they are is not learnt from it."""
    async with identity_for(real_cluster) as identity:
        token = await real_cluster.token()
        claims = jwt.decode(token, options={"verify_signature": False})
        kid = {"kid": jwt.get_unverified_header(token)["kid"]}
        other = real_cluster.sign({**claims, "iss": "https://x.example"}, kid)
        assert await reason_for(identity, other) == "rejected"
        assert identity.state().key_reads == 0
        await identity.authenticate(token)
        assert await reason_for(identity, other) == "rejected"


async def test_a_token_without_key_id_is_good(real_cluster: RealCluster) -> None:
    """`kid` is optional, for the gateway as for the API server."""
    async with identity_for(real_cluster) as identity:
        claims = jwt.decode(await real_cluster.token(), options={"verify_signature": False})
        await identity.authenticate(real_cluster.sign(claims, {}))
        assert identity.state().reviews == 0


async def test_a_cluster_that_hides_its_keys_is_asked(fresh_cluster: RealCluster) -> None:
    """Without the role that lets service accounts read the keys, SelfSubjectReview names the caller."""
    status, _ = await fresh_cluster.request("DELETE", DISCOVERY_ROLE)
    assert status == 200
    token = await fresh_cluster.token(service_account="demo/viewer")
    async with identity_for(fresh_cluster) as identity:
        principal = await identity.authenticate(token)
        while not identity.state().reviews:  # the authorizer learns of the deletion a moment later
            identity.forget(principal.cluster_key)
            principal = await identity.authenticate(token)
        assert principal.subject == "system:serviceaccount:demo:viewer"
