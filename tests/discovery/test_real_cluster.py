"""The same with a real API server, which is the one to be right about."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Lease, Pool
from gateway.discovery.catalog import Catalog
from gateway.discovery.fetch import Discovery
from gateway.discovery.resolve import One, resolve
from gateway.kube.credential import BearerToken
from tests.cluster.cluster import RealCluster

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.discovery.example.com}
spec:
  group: discovery.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wdg]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
DEAD_SERVICE = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.dead.example.com}
spec:
  group: dead.example.com
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: default}
"""


@pytest.fixture
async def real_lease(pool: Pool, real_cluster: RealCluster) -> AsyncIterator[tuple[Lease, BearerToken]]:
    """The held client of a real cluster, and a token for it."""
    options = ClusterOptions(
        name="real", server=real_cluster.server, certificate_authority_data=real_cluster.ca_pem.decode()
    )
    async with pool.lease(options) as lease:
        yield lease, BearerToken.of(await real_cluster.token(service_account="demo/viewer"))


async def until(discovery: Discovery, held: tuple[Lease, BearerToken], holds: Callable[[Catalog], bool]) -> Catalog:
    """Ask the API server again until its discovery shows what was changed, which takes it some time."""
    async with asyncio.timeout(20):
        while True:
            discovery.renew(held[0].key)
            catalog = await discovery.catalog(*held)
            if holds(catalog):
                return catalog
            await asyncio.sleep(0.05)


async def test_real_server_is_confirmed_by_etag(discovery: Discovery, real_lease: tuple[Lease, BearerToken]) -> None:
    """Two documents are read once; a second look costs two answers without a body and changes nothing."""
    catalog = await discovery.catalog(*real_lease)

    for typed in ("po", "deploy.apps", "apps/v1/Deployment", "hpa", "events", "crd"):
        assert isinstance(resolve(catalog, typed), One), typed
    for typed in ("secrets", "sa", "clusterroles"):
        assert not isinstance(resolve(catalog, typed), One), typed
    assert await discovery.catalog(*real_lease, refresh=True) is catalog
    assert discovery.state().fetches == {("real", "read"): 1, ("real", "unchanged"): 1}


async def test_new_kind_and_dead_service_are_seen(
    real_cluster: RealCluster, discovery: Discovery, real_lease: tuple[Lease, BearerToken]
) -> None:
    """A kind is found as soon as the API server shows it, and an APIService without a server is named as broken."""
    before = await discovery.catalog(*real_lease)
    assert ("discovery.example.com", "widgets") not in before.versions
    try:
        await real_cluster.apply(CRD)
        known = await until(discovery, real_lease, lambda catalog: isinstance(resolve(catalog, "wdg"), One))
        assert [sub.name for sub in known.versions["discovery.example.com", "widgets"][0].subresources] == ["status"]
        await real_cluster.apply(DEAD_SERVICE)
        broken = await until(discovery, real_lease, lambda catalog: "dead.example.com/v1beta1" in catalog.broken)
        assert set(broken.types) == set(known.types)
    finally:
        crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.discovery.example.com"
        await real_cluster.request("DELETE", crd)
        await real_cluster.request("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.dead.example.com")
    after = await until(
        discovery, real_lease, lambda c: not c.broken and ("discovery.example.com", "widgets") not in c.versions
    )
    assert after is before
