"""A cluster is asked once for all callers, again only when due, and what is known outlasts its trouble."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import orjson
import pytest

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Lease, Pool
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import BrokenService, Hang, Latency, Refuse, Reply, Reset, not_json, redirect, server_error
from gateway.discovery.catalog import Catalog
from gateway.discovery.fetch import BROKEN_SECONDS, FRESH_SECONDS, REST_SECONDS, Discovery
from gateway.discovery.resolve import One, Unknown, resolve
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Forbidden, InvalidToken, Redirected, ServerFault, TooLarge, Unreachable
from tests.discovery.conftest import Clock, Documents, listed

ROOTS = ("/api", "/apis")


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@asynccontextmanager
async def installed(cluster: EmbeddedCluster, *plurals: str, stale: bool = False) -> AsyncIterator[None]:
    """Let a cluster serve further kinds of example.com/v1, or list that version without saying which (`stale`)."""
    _, body = await cluster.request("GET", "/apis", accept=AGGREGATED)
    document = orjson.loads(body)
    kinds = [
        {
            "resource": plural,
            "responseKind": {"group": "example.com", "version": "v1", "kind": plural.title().removesuffix("s")},
            "scope": "Namespaced",
            "singularResource": plural.removesuffix("s"),
            "verbs": ["get", "list"],
        }
        for plural in plurals
    ]
    version = {"version": "v1", "freshness": "Stale"} if stale else {"version": "v1", "resources": kinds}
    document["items"].append({"metadata": {"name": "example.com"}, "versions": [version]})
    served = Reply(200, orjson.dumps(document), AGGREGATED, (("ETag", f'"{"-".join(plurals)}"'),))
    with cluster.fault(served, paths=("/apis",)):
        yield


def knows(catalog: Catalog, name: str) -> bool:
    """Say whether a name is found."""
    return isinstance(resolve(catalog, name), One)


@asynccontextmanager
async def leased(pool: Pool, cluster: EmbeddedCluster, **settings: object) -> AsyncIterator[tuple[Lease, BearerToken]]:
    """Hold a cluster's client, and have a token for it."""
    async with pool.lease(listed(cluster, **settings)) as lease:
        yield lease, BearerToken.of(await cluster.token())


async def landed(discovery: Discovery, lease: Lease, token: BearerToken) -> Catalog:
    """Wait for the fetch under way beside a call, by joining it, and return what it brought."""
    return await discovery.catalog(lease, token, refresh=True)


async def test_first_call_reads_and_the_next_does_not(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A cold catalog costs one request a root, a warm one none."""
    first = await discovery.catalog(lease, token)
    again = [await discovery.catalog(lease, token) for _ in range(100)]

    assert knows(first, "deployments")
    assert isinstance(resolve(first, "secrets"), Unknown)
    assert all(catalog is first for catalog in again)
    assert sorted(seen.path for seen in cluster.requests) == ["/api", "/apis"]


async def test_fifty_first_callers_cause_one_fetch(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease
) -> None:
    """Callers who come while the catalog is read wait for that reading, whosever token they have."""
    tokens = [BearerToken.of(await cluster.token(seconds=600 + n)) for n in range(50)]

    catalogs = await asyncio.gather(*(discovery.catalog(lease, token) for token in tokens))

    assert cluster.count() == 2
    assert {id(catalog) for catalog in catalogs} == {id(catalogs[0])}


async def test_fetch_survives_its_first_caller(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """The cancellation of the caller who began the reading costs the others nothing."""
    callers = [asyncio.create_task(discovery.catalog(lease, token)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()

    first, second, third = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, Catalog)
    assert third is second
    assert cluster.count() == 2


async def test_failure_is_told_to_all_waiting_and_not_kept(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """All who waited hear of a failure, the cluster was asked once, and the next call asks again."""
    with cluster.fault(server_error(500), paths=ROOTS):
        failures = await asyncio.gather(*(discovery.catalog(lease, token) for _ in range(5)), return_exceptions=True)
    asked = cluster.count()

    assert all(isinstance(failure, ServerFault) for failure in failures)
    assert asked <= 2
    assert knows(await discovery.catalog(lease, token), "pods")


async def test_bad_token_of_one_caller_is_not_the_others_trouble(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Who waited for a fetch with a refused token has the catalog by their own."""
    expired = BearerToken.of(await cluster.token(seconds=-60))

    first, second = await asyncio.gather(
        discovery.catalog(lease, expired), discovery.catalog(lease, token), return_exceptions=True
    )
    assert isinstance(first, InvalidToken)
    assert isinstance(second, Catalog)


async def test_missing_permission_is_said_clearly_and_is_the_callers_own(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A 403 says what is not allowed and whom to ask, with Kubernetes' own reason; others are not affected."""
    other = BearerToken.of(await cluster.token(seconds=600))
    refusal = orjson.dumps({"kind": "Status", "reason": "Forbidden", "message": 'User "x" cannot get path "/apis"'})

    with cluster.fault(Reply(403, refusal, "application/json"), paths=("/apis",), count=1):
        first, second = await asyncio.gather(
            discovery.catalog(lease, token), discovery.catalog(lease, other), return_exceptions=True
        )
    assert isinstance(first, Forbidden)
    assert "administrator" in first.message
    assert 'User "x" cannot get path' in first.message
    assert isinstance(second, Catalog)


async def test_client_closed_under_the_first_caller_is_not_the_others_trouble(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Who waited for a fetch over a client that ended has the catalog over their own."""
    async with Pool(TrustStore(clock), clock) as ending, leased(ending, cluster) as (ended, _):
        pass

    first, second = await asyncio.gather(
        discovery.catalog(ended, token), discovery.catalog(lease, token), return_exceptions=True
    )
    assert isinstance(first, Unreachable)
    assert isinstance(second, Catalog)


async def test_catalog_is_confirmed_by_etag_after_six_hours(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Nothing is asked for 6 h; then a call causes one confirmation, does not wait for it, and the next 6 h begin."""
    first = await discovery.catalog(lease, token)
    clock.now += FRESH_SECONDS - 1
    await discovery.catalog(lease, token)
    assert cluster.count() == 2

    clock.now += 1
    assert [await discovery.catalog(lease, token) for _ in range(3)] == [first] * 3
    assert await landed(discovery, lease, token) is first
    assert cluster.count() == 4
    assert discovery.state().fetches == {("east", "read"): 1, ("east", "unchanged"): 1}
    clock.now += FRESH_SECONDS - 1
    await discovery.catalog(lease, token)
    assert cluster.count() == 4


async def test_not_modified_is_taken_only_where_an_etag_was_sent(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A 304 confirms what is kept; to a first reading it is an answer of no use."""
    with cluster.fault(Reply(304), paths=ROOTS), pytest.raises(Redirected):
        await discovery.catalog(lease, token)

    first = await discovery.catalog(lease, token)
    with cluster.fault(Reply(304), paths=ROOTS):
        assert await discovery.catalog(lease, token, refresh=True) is first


async def test_change_is_seen_after_six_hours(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """The confirmation brings a changed catalog, of which just the changed document was read."""
    await discovery.catalog(lease, token)
    clock.now += FRESH_SECONDS

    async with installed(cluster, "widgets"):
        assert not knows(await discovery.catalog(lease, token), "widgets")
        changed = await landed(discovery, lease, token)
    assert knows(changed, "widgets")
    assert knows(changed, "pods")
    assert await discovery.catalog(lease, token) is changed


async def test_stale_catalog_is_used_while_the_cluster_is_down(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A cluster that can't be asked when its catalog is due is asked again every 10 s, and nobody else notices."""
    first = await discovery.catalog(lease, token)
    clock.now += FRESH_SECONDS
    with cluster.fault(Refuse()):
        assert await discovery.catalog(lease, token) is first
        with pytest.raises(Unreachable):
            await landed(discovery, lease, token)
        assert await discovery.catalog(lease, token) is first
    assert discovery.state().fetches["east", "failed"] == 1
    before = cluster.count()

    clock.now += REST_SECONDS - 1
    assert await discovery.catalog(lease, token) is first
    assert discovery.state().under_way == 0
    clock.now += 1
    assert await discovery.catalog(lease, token) is first
    assert discovery.state().under_way == 1
    assert await landed(discovery, lease, token) is first
    assert cluster.count() == before + 2
    assert discovery.state().clusters["east"].age_seconds == 0


async def test_unknown_kind_refreshes_at_most_once_in_ten_seconds(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A kind that was just installed is found at once, and names that nobody serves can't be used to load a cluster."""
    await discovery.catalog(lease, token)
    async with installed(cluster, "widgets"):
        assert knows(await discovery.catalog(lease, token, refresh=True), "widgets")
    asked = cluster.count()

    async with installed(cluster, "widgets", "gadgets"):
        for _ in range(20):
            clock.now += (REST_SECONDS - 1) / 20
            assert not knows(await discovery.catalog(lease, token, refresh=True), "gadgets")
        assert cluster.count() == asked
        clock.now += 1
        assert knows(await discovery.catalog(lease, token, refresh=True), "gadgets")


async def test_many_who_do_not_find_a_kind_cause_one_refresh(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Those who ask while a refresh is under way wait for it and see what it brings."""
    await discovery.catalog(lease, token)
    async with installed(cluster, "widgets"):
        catalogs = await asyncio.gather(*(discovery.catalog(lease, token, refresh=True) for _ in range(20)))
    assert all(knows(catalog, "widgets") for catalog in catalogs)
    assert cluster.count() == 4


async def test_refresh_that_fails_is_told_and_costs_nobody_the_catalog(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Who looks for a new kind hears that the cluster can't be asked; who uses known kinds goes on."""
    first = await discovery.catalog(lease, token)
    with cluster.fault(Reset(-1), paths=ROOTS):
        with pytest.raises(Unreachable):
            await discovery.catalog(lease, token, refresh=True)
        assert await discovery.catalog(lease, token) is first
        assert await discovery.catalog(lease, token, refresh=True) is first


async def test_own_change_is_seen_at_once(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """After the gateway wrote a CRD the next call waits for what is new, and a refresh need not rest."""
    await discovery.catalog(lease, token)
    await discovery.catalog(lease, token, refresh=True)
    discovery.renew(lease.key)
    await discovery.catalog(lease, token)
    # The API server shows a CRD some milliseconds after it was written, so the first look may be too early.
    async with installed(cluster, "widgets"):
        assert knows(await discovery.catalog(lease, token, refresh=True), "widgets")

    async with installed(cluster, "widgets", "gadgets"):
        discovery.renew(lease.key)
        catalogs = await asyncio.gather(*(discovery.catalog(lease, token) for _ in range(5)))
    assert all(knows(catalog, "gadgets") for catalog in catalogs)
    asked = cluster.count()
    await discovery.catalog(lease, token)
    assert cluster.count() == asked


async def test_own_change_is_not_missed_by_a_fetch_under_way(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A reading that may have begun before the write does not pass for one after it."""
    await discovery.catalog(lease, token)
    under_way = asyncio.create_task(discovery.catalog(lease, token, refresh=True))
    await asyncio.sleep(0)
    discovery.renew(lease.key)
    await under_way
    asked = cluster.count()

    await discovery.catalog(lease, token)
    assert cluster.count() == asked + 2


async def test_known_kinds_stay_when_the_look_after_an_own_change_fails(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """The catalog from before serves until the cluster can be asked, which is tried again after 10 s."""
    first = await discovery.catalog(lease, token)
    discovery.renew(lease.key)
    with cluster.fault(server_error(503), paths=ROOTS):
        assert await discovery.catalog(lease, token) is first
        asked = cluster.count()
        assert await discovery.catalog(lease, token) is first
        assert cluster.count() == asked

    clock.now += REST_SECONDS
    async with installed(cluster, "widgets"):
        await discovery.catalog(lease, token)
        assert knows(await landed(discovery, lease, token), "widgets")


async def test_broken_service_leaves_the_rest_and_is_looked_at_soon(
    cluster: EmbeddedCluster, clock: Clock, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A dead aggregated API is named, the others are served, and a minute later the cluster is asked again."""
    with cluster.fault(BrokenService("metrics.k8s.io", "v1beta1")):
        first = await discovery.catalog(lease, token)
        assert first.broken == ("metrics.k8s.io/v1beta1",)
        assert knows(first, "pods")
        assert knows(first, "deployments.apps")
        assert discovery.state().clusters["east"].broken == 1

    clock.now += BROKEN_SECONDS - 1
    assert await discovery.catalog(lease, token) is first
    assert discovery.state().under_way == 0
    clock.now += 1
    assert await discovery.catalog(lease, token) is first
    assert discovery.state().under_way == 1
    assert (await landed(discovery, lease, token)).broken == ()


async def test_broken_service_keeps_the_kinds_that_were_known(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """While an aggregated API is down its kinds are still found, so that the API server can say what is wrong."""
    async with installed(cluster, "widgets"):
        before = await discovery.catalog(lease, token)
    async with installed(cluster, stale=True):
        during = await discovery.catalog(lease, token, refresh=True)

    assert during.broken == ("example.com/v1",)
    assert knows(during, "widgets")
    assert set(during.types) == set(before.types)


def plain(document: object) -> Reply:
    """Answer with a JSON document, whatever was accepted."""
    return Reply(200, orjson.dumps(document), "application/json")


async def test_old_api_servers_are_read_group_by_group(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken, documents: Documents
) -> None:
    """A server that answers with the old documents gives the same catalog, its dead group apart."""
    modern = await discovery.catalog(lease, token)
    discovery.forget(lease.key)
    groups = {
        "kind": "APIGroupList",
        "groups": [g for g in documents.legacy["/apis"]["groups"] if "example" not in g["name"]],
    }

    with (
        cluster.fault(plain(documents.legacy["/api"]), paths=("/api",)),
        cluster.fault(plain(groups), paths=("/apis",)),
    ):
        catalog = await discovery.catalog(lease, token)
    assert set(catalog.types) == set(modern.types)
    assert catalog.broken == ("metrics.k8s.io/v1beta1",)


@contextmanager
def old(cluster: EmbeddedCluster) -> Iterator[None]:
    """Let a cluster refuse aggregated documents once."""
    with cluster.fault(Reply(406), paths=("/api",), count=1), cluster.fault(Reply(406), paths=("/apis",), count=1):
        yield


async def test_refusal_of_aggregated_documents_leads_to_the_old_ones(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A 406 for the Accept header is followed by a request for plain JSON."""
    with old(cluster):
        catalog = await discovery.catalog(lease, token)

    assert knows(catalog, "pods")
    assert knows(catalog, "deployments")


async def test_every_name_an_old_document_may_have_is_asked_for(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """Digits first and dashes inside, which Kubernetes allows in groups and versions, pass the system door."""
    names = {"0-a.b-c.example": ["v1-alpha", "1v", "v"], "x": ["v1-alpha", "1v", "v"], "apps": ["v1"]}
    groups = [{"name": name, "versions": [{"version": v} for v in versions]} for name, versions in names.items()]
    with cluster.fault(plain({"kind": "APIGroupList", "groups": groups}), paths=("/apis",)):
        catalog = await discovery.catalog(lease, token)

    assert len(catalog.broken) == 6
    assert sum(seen.path.count("/") == 3 for seen in cluster.requests) == 7


@pytest.mark.parametrize("fault", [server_error(503), not_json(), Reply(403), Reply(404), plain({"kind": "Other"})])
async def test_one_old_document_that_fails_leaves_the_rest(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken, fault: Reply
) -> None:
    """A group whose document is refused or odd is named as broken, and the others are served."""
    with old(cluster), cluster.fault(fault, paths=("/apis/batch/v1",)):
        catalog = await discovery.catalog(lease, token)

    assert catalog.broken == ("batch/v1",)
    assert knows(catalog, "pods")
    assert knows(catalog, "deployments")
    assert not knows(catalog, "jobs")


async def test_slow_old_document_does_not_hold_up_the_rest(
    cluster: EmbeddedCluster, discovery: Discovery, pool: Pool
) -> None:
    """One group that never answers takes a part of the time and not the catalog."""
    with old(cluster), cluster.fault(Hang(), paths=("/apis/apps/v1",)):
        async with leased(pool, cluster, limits={"callSeconds": 2}) as (lease, token):
            catalog = await discovery.catalog(lease, token)

    assert catalog.broken == ("apps/v1",)


async def test_many_slow_old_documents_do_not_take_longer_than_a_call(
    cluster: EmbeddedCluster, discovery: Discovery, pool: Pool
) -> None:
    """The time for all of them is bounded, however many groups a server lists."""
    names = [f"g{n}.example.com" for n in range(100)]
    groups = {"kind": "APIGroupList", "groups": [{"name": name, "versions": [{"version": "v1"}]} for name in names]}

    async with leased(pool, cluster, limits={"callSeconds": 0.5}) as (lease, token):
        with (
            cluster.fault(plain(groups), paths=("/apis",)),
            cluster.fault(Latency(0.1), paths=("/apis/*",)),
            cluster.fault(plain({"kind": "APIResourceList", "resources": []}), paths=("/apis/*",)),
            pytest.raises(Unreachable, match="in time"),
        ):
            await discovery.catalog(lease, token)


@pytest.mark.parametrize("fault", [Reply(401), Reset(-1)])
async def test_old_document_that_tells_of_more_than_its_group_fails_the_fetch(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken, fault: Reply | Reset
) -> None:
    """A token that is refused half-way, or a connection that breaks, is no broken group."""
    with old(cluster), cluster.fault(fault, paths=("/apis/apps/v1",)), pytest.raises((InvalidToken, Unreachable)):
        await discovery.catalog(lease, token)


async def test_cluster_whose_every_old_document_fails_is_in_trouble_itself(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A catalog without a single type is no catalog."""
    with old(cluster), cluster.fault(server_error(503), paths=("/apis/*", "/api/*")), pytest.raises(ServerFault):
        await discovery.catalog(lease, token)


async def test_cluster_whose_every_old_document_hangs_is_in_trouble_itself(
    cluster: EmbeddedCluster, discovery: Discovery, pool: Pool
) -> None:
    """Nor is one of a cluster that has gone silent."""
    with old(cluster), cluster.fault(Hang(), paths=("/apis/*", "/api/*")):
        async with leased(pool, cluster, limits={"callSeconds": 0.5}) as (lease, token):
            with pytest.raises(Unreachable):
                await discovery.catalog(lease, token)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(not_json(), ClusterUnavailable, id="html"),
        pytest.param(plain([]), ClusterUnavailable, id="list"),
        pytest.param(plain({"kind": "PodList", "items": []}), ClusterUnavailable, id="other-kind"),
        pytest.param(Reply(404), ClusterUnavailable, id="404"),
        pytest.param(redirect("https://127.0.0.1:1/"), Redirected, id="redirect"),
        pytest.param(server_error(503), ServerFault, id="503"),
        pytest.param(Reply(401), InvalidToken, id="401"),
        pytest.param(Reply(200, b" " * (4 * 1024 * 1024 + 1), "application/json"), TooLarge, id="too-large"),
        pytest.param(Reset(100), Unreachable, id="reset"),
        pytest.param(Hang(), Unreachable, id="hang"),
        pytest.param(Refuse(), Unreachable, id="refuse"),
    ],
)
async def test_every_failure_is_one_callers_can_be_told(
    cluster: EmbeddedCluster,
    discovery: Discovery,
    pool: Pool,
    fault: Reply | Reset | Hang | Refuse,
    error: type[GatewayError],
) -> None:
    """Wrong servers, refusals, oversize and silence end in a typed error, in time, and leave nothing behind."""
    async with leased(pool, cluster, limits={"callSeconds": 0.5}) as (lease, token):
        with cluster.fault(fault, paths=ROOTS), pytest.raises(error) as failure:
            await discovery.catalog(lease, token)
        assert isinstance(failure.value, GatewayError)
        assert not discovery.state().clusters
        assert knows(await discovery.catalog(lease, token), "pods")


async def test_server_without_a_core_api_is_read(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """An API server that serves groups only answers 404 on /api."""
    with cluster.fault(Reply(404), paths=("/api",)):
        catalog = await discovery.catalog(lease, token)

    assert knows(catalog, "deployments")
    assert not knows(catalog, "configmaps")


async def test_equal_catalogs_are_one_in_memory(pool: Pool, discovery: Discovery) -> None:
    """Clusters that serve the same hold one catalog; another policy or another kind makes another; unused ones go."""
    async with (
        EmbeddedCluster("east") as east,
        EmbeddedCluster("west") as west,
        EmbeddedCluster("north") as north,
        EmbeddedCluster("south") as south,
        leased(pool, east) as first,
        leased(pool, west, label="PROD", policy={"writes": ["apply"]}) as second,
        leased(pool, north, policy={"kinds": {"deny": ["pods"]}}) as third,
        leased(pool, south) as fourth,
        installed(south, "widgets"),
    ):
        catalogs = [await discovery.catalog(lease, token) for lease, token in (first, second, third, fourth)]
        assert catalogs[0] is catalogs[1]
        assert len({catalog.digest for catalog in catalogs}) == 3
        assert not knows(catalogs[2], "pods")
        assert discovery.state().distinct == 3

        # East comes to serve what south does.
        async with installed(east, "widgets"):
            assert await discovery.catalog(*first, refresh=True) is catalogs[3]

        del catalogs
        for lease, _ in (second, third):
            discovery.forget(lease.key)
        await asyncio.sleep(0)
        gc.collect()
        assert discovery.state().distinct == 1
        assert set(discovery.state().clusters) == {"east", "south"}


async def test_what_is_forgotten_is_read_anew(
    cluster: EmbeddedCluster, discovery: Discovery, lease: Lease, token: BearerToken
) -> None:
    """A key that ended keeps nothing, also if its catalog is being read just then."""
    waiting = asyncio.create_task(discovery.catalog(lease, token))
    await asyncio.sleep(0)
    discovery.forget(lease.key)
    assert knows(await waiting, "pods")
    assert not discovery.state().clusters

    await discovery.catalog(lease, token)
    assert cluster.count() == 4
    discovery.forget(lease.key)
    assert not discovery.state().clusters
    await discovery.catalog(lease, token)
    assert cluster.count() == 6


async def test_number_of_catalogs_is_bounded(pool: Pool, clock: Clock) -> None:
    """Beyond the bound the least used one goes."""
    discovery = Discovery(clock, entries=2)
    async with (
        EmbeddedCluster("a") as a,
        EmbeddedCluster("b") as b,
        EmbeddedCluster("c") as c,
        leased(pool, a) as first,
        leased(pool, b) as second,
        leased(pool, c) as third,
    ):
        for held in (first, second, first, third):
            clock.now += 1
            await discovery.catalog(*held)

        assert set(discovery.state().clusters) == {"a", "c"}


async def test_closing_ends_what_is_under_way(
    cluster: EmbeddedCluster, clock: Clock, lease: Lease, token: BearerToken
) -> None:
    """No fetch outlives the gateway."""
    discovery = Discovery(clock)
    with cluster.fault(Hang()):
        waiting = asyncio.create_task(discovery.catalog(lease, token))
        await asyncio.sleep(0)
        await discovery.close()

        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert discovery.state().fetches == {}


async def test_tokens_are_kept_nowhere(
    discovery: Discovery, lease: Lease, token: BearerToken, options: ClusterOptions
) -> None:
    """What stays after a fetch does not hold the token it was read with."""
    await discovery.catalog(lease, token)

    reachable: list[object] = [discovery]
    seen: set[int] = set()
    while reachable:
        found = reachable.pop()
        if id(found) in seen or isinstance(found, type) or hasattr(found, "__globals__"):
            continue
        seen.add(id(found))
        assert found is not token
        assert found != token.value
        reachable += gc.get_referents(found)
    assert options.name in discovery.state().clusters
