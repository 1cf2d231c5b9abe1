import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import ClusterKey, Lease, Pool, PoolLimits
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Hang, Latency
from gateway.errors import ClusterUnavailable
from gateway.kube.client import Answer, ApiServer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Unreachable
from gateway.kube.request import JSON
from tests.kube.conftest import AUTHORITY, Scripted, ok, saying
from tests.workbench import Clock, listed

TOKEN = BearerToken.of("of-nobody")
IDLE = "<Gate 0 inside, 0 waiting>"
MakePool = Callable[[PoolLimits], Pool]


@pytest.fixture
def clock() -> Clock:
    """Give the pool's clock."""
    return Clock()


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[Pool]:
    """Give an open pool of at most two clusters, idle after 100 s, renewed after about 1,000 s."""
    limits = PoolLimits(open=2, idle_seconds=100, max_age_seconds=1000)
    async with Pool(TrustStore(clock), clock, limits=limits) as opened:
        yield opened


@pytest.fixture
async def west() -> AsyncIterator[EmbeddedCluster]:
    """Give a second cluster."""
    async with EmbeddedCluster("west") as started:
        yield started


async def ask(lease: Lease | ApiServer) -> Answer:
    """Send a request over a lease's client."""
    server = lease.server if isinstance(lease, Lease) else lease
    return await server.send("GET", "/version", TOKEN, accept=JSON, max_bytes=1 << 20)


async def is_closed(server: ApiServer) -> bool:
    """Tell whether a client was ended, as far as that had only to be done."""
    await asyncio.sleep(0)
    try:
        await ask(server)
    except Unreachable as error:
        return not error.sent
    return False


async def test_a_lease_opens_a_client_and_leaves_it_warm(cluster: EmbeddedCluster, pool: Pool) -> None:
    """The whole life of a client is to be read from the pool's one line."""
    east = listed(cluster)
    assert repr(pool) == "<Pool 0 open, 0 draining>"
    async with pool.lease(east) as first:
        assert repr(pool) == f"<Pool 1 open, 0 draining: east: 1 held, {IDLE}>"
        async with pool.lease(east) as second, first.gate.entered():
            assert second.server is first.server
            assert repr(pool) == "<Pool 1 open, 0 draining: east: 2 held, <Gate 1 inside, 0 waiting>>"
        assert repr(pool) == f"<Pool 1 open, 0 draining: east: 1 held, {IDLE}>"
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"
    async with pool.lease(east) as third:
        assert third.server is first.server


async def test_a_lease_dials_nobody(cluster: EmbeddedCluster, pool: Pool) -> None:
    """A dead cluster costs nothing before somebody asks it something."""
    async with pool.lease(listed(cluster)):
        pass
    assert cluster.connections == 0


async def test_fifty_first_callers_share_one_client(cluster: EmbeddedCluster, pool: Pool) -> None:
    """However many come first, one client is made."""
    east = listed(cluster)

    async def call() -> ApiServer:
        async with pool.lease(east) as lease:
            assert (await ask(lease)).status == 401
            return lease.server

    servers = await asyncio.gather(*(call() for _ in range(50)))
    assert len(set(servers)) == 1
    assert pool.state().created == 1
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"


async def test_a_changed_ca_file_swaps_the_client_and_drains_the_old_one(
    cluster: EmbeddedCluster, pool: Pool, clock: Clock, tmp_path: Path
) -> None:
    """Whoever holds the old client goes on with it; it ends with its last holder, and nobody's call fails."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(cluster.ca_pem)
    east = listed(cluster, certificate_authority=ca, certificate_authority_data=None)
    retired: list[ClusterKey] = []
    pool.when_retired(retired.append)
    async with pool.lease(east) as old:
        ca.write_bytes(cluster.ca_pem + AUTHORITY.pem())
        async with pool.lease(east) as unaware:
            assert unaware.server is old.server
        clock.forward(1)
        async with pool.lease(east) as new:
            assert new.server is not old.server
            assert repr(pool) == f"<Pool 1 open, 1 draining: east: 1 held, {IDLE}>"
            assert [answer.status for answer in (await ask(old), await ask(new))] == [401, 401]
        assert repr(pool) == f"<Pool 1 open, 1 draining: east: 0 held, {IDLE}>"
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"
    assert retired == [old.key]
    assert (await is_closed(old.server), await is_closed(new.server)) == (True, False)


async def test_a_ca_that_changes_while_nobody_uses_the_cluster_is_told_too(
    cluster: EmbeddedCluster, pool: Pool, clock: Clock, tmp_path: Path
) -> None:
    """What others keep for the old key ends, although the client itself had been dropped long before."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(cluster.ca_pem)
    east = listed(cluster, certificate_authority=ca, certificate_authority_data=None)
    retired: list[ClusterKey] = []
    pool.when_retired(retired.append)
    async with pool.lease(east) as old:
        pass
    clock.forward(1000)
    pool.expire()
    assert repr(pool) == "<Pool 0 open, 0 draining>"
    async with pool.lease(east):
        assert retired == []
    clock.forward(1000)
    pool.expire()
    ca.write_bytes(cluster.ca_pem + AUTHORITY.pem())
    async with pool.lease(east) as new:
        assert retired == [old.key]
        assert new.breaker is not old.breaker


async def test_no_call_fails_while_a_ca_is_rotated(
    cluster: EmbeddedCluster, west: EmbeddedCluster, pool: Pool, clock: Clock, tmp_path: Path
) -> None:
    """Calls that go on all the time see nothing of a bundle that gains a CA and loses the old one."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(cluster.ca_pem)
    east = listed(cluster, certificate_authority=ca, certificate_authority_data=None)
    statuses: list[int] = []
    ended = False

    async def call() -> None:
        while not ended:
            async with pool.lease(east) as lease:
                statuses.append((await ask(lease)).status)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(call())
        both = cluster.ca_pem + AUTHORITY.pem()
        for bundle in (cluster.ca_pem, both, both + west.ca_pem, cluster.ca_pem):
            ca.write_bytes(bundle)
            clock.forward(1)
            enough = len(statuses) + 40
            while len(statuses) < enough:  # noqa: ASYNC110  # they make progress, or the test's time is up
                await asyncio.sleep(0)
        ended = True
    assert set(statuses) == {401}
    assert pool.state().created == 4
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"


async def test_an_unused_client_ends(cluster: EmbeddedCluster, pool: Pool, clock: Clock) -> None:
    """Time counts from the end of the last lease, and a client that is held never counts as unused."""
    async with pool.lease(listed(cluster)) as lease:
        clock.forward(1000)
        pool.expire()
        assert repr(pool) == f"<Pool 1 open, 0 draining: east: 1 held, {IDLE}>"
    clock.forward(99)
    pool.expire()
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"
    clock.forward(1)
    pool.expire()
    assert repr(pool) == "<Pool 0 open, 0 draining>"
    assert await is_closed(lease.server)


async def test_the_pool_itself_sees_to_it_that_unused_clients_end() -> None:
    """Nobody has to call: the connection of a cluster that is left alone is closed."""
    limits = PoolLimits(idle_seconds=0.05)
    async with (
        Scripted(saying(ok())) as server,
        Pool(TrustStore(time.monotonic), time.monotonic, limits=limits) as pool,
    ):
        options = ClusterOptions(name="a", server=server.url, certificate_authority_data=AUTHORITY.pem().decode())
        async with pool.lease(options) as lease:
            await ask(lease)
        await asyncio.wait_for(server.hung_up.wait(), 10)
        assert repr(pool) == "<Pool 0 open, 0 draining>"


async def test_a_used_client_is_renewed_after_its_time(cluster: EmbeddedCluster, pool: Pool, clock: Clock) -> None:
    """Connections end in time, so that callers spread over an API server's replicas; the gates stay the cluster's."""
    east = listed(cluster)
    async with pool.lease(east) as old:
        clock.forward(799)
        async with pool.lease(east) as same:
            assert same.server is old.server
        clock.forward(402)
        async with pool.lease(east) as new:
            assert new.server is not old.server
            assert (new.gate is old.gate, new.verification is old.verification, new.key == old.key) == (True,) * 3
            assert new.breaker is old.breaker
            assert repr(pool) == f"<Pool 1 open, 1 draining: east: 1 held, {IDLE}>"
        assert not await is_closed(old.server)
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"
    assert await is_closed(old.server)


async def test_clients_made_together_are_not_renewed_together(
    cluster: EmbeddedCluster, west: EmbeddedCluster, clock: Clock
) -> None:
    """Ages are spread, so that a thousand clusters do not all dial anew in one second."""
    limits = PoolLimits(open=512, idle_seconds=10_000, max_age_seconds=1000)
    async with Pool(TrustStore(clock), clock, limits=limits) as pool:
        many = [listed(cluster, name=f"c{i}", server=f"https://{i}.example") for i in range(40)]
        first = [await held(pool, options) for options in many]
        clock.forward(1000)
        second = [await held(pool, options) for options in many]
    assert 0 < sum(a is b for a, b in zip(first, second, strict=True)) < 40
    del west


async def held(pool: Pool, options: ClusterOptions) -> ApiServer:
    """Lease once and return the client."""
    async with pool.lease(options) as lease:
        return lease.server


async def test_only_so_many_clusters_are_open(
    cluster: EmbeddedCluster, west: EmbeddedCluster, pool: Pool, clock: Clock
) -> None:
    """The one unused for longest makes room; where all are in use, the next caller is told to come back."""
    third = listed(cluster, name="third", server="https://third.example")
    async with pool.lease(listed(cluster)) as east:
        clock.forward(1)
        await held(pool, listed(west))
        clock.forward(1)
        async with pool.lease(third):
            assert repr(pool) == f"<Pool 2 open, 0 draining: east: 1 held, {IDLE}, third: 1 held, {IDLE}>"
            with pytest.raises(ClusterUnavailable, match="as many clusters") as caught:
                await held(pool, listed(west))
            assert caught.value.retry_after == 60
        assert not await is_closed(east.server)
        clock.forward(1)
    await held(pool, listed(west))
    assert repr(pool) == f"<Pool 2 open, 0 draining: east: 0 held, {IDLE}, west: 0 held, {IDLE}>"
    clock.forward(1)
    await held(pool, listed(west))
    await held(pool, third)
    assert repr(pool) == f"<Pool 2 open, 0 draining: west: 0 held, {IDLE}, third: 0 held, {IDLE}>"


async def test_leaving_the_pool_closes_every_client(cluster: EmbeddedCluster, clock: Clock) -> None:
    """Also one that is held or draining: the process ends now."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(Pool(TrustStore(clock), clock, limits=PoolLimits(max_age_seconds=10)))
        leases = AsyncExitStack()
        old = await leases.enter_async_context(pool.lease(listed(cluster)))
        clock.forward(100)
        new = await leases.enter_async_context(pool.lease(listed(cluster)))
        assert repr(pool) == f"<Pool 1 open, 1 draining: east: 1 held, {IDLE}>"
    assert repr(pool) == "<Pool 0 open, 0 draining>"
    assert (await is_closed(old.server), await is_closed(new.server)) == (True, True)
    await leases.aclose()
    assert repr(pool) == "<Pool 0 open, 0 draining>"


@pytest.mark.parametrize("fault", [None, Latency(0.01), Hang("tls"), Hang("headers"), Hang("accept")])
async def test_a_cancellation_at_any_await_leaves_the_pool_consistent(
    cluster: EmbeddedCluster, pool: Pool, fault: Latency | Hang | None
) -> None:
    """Wherever a caller is when it goes away, it holds nothing afterwards, and the next one is served."""
    east = listed(cluster, limits={"connections": 1})

    async def call() -> None:
        async with pool.lease(east) as lease, lease.gate.entered():
            await ask(lease)

    with cluster.fault(fault) if fault else nullcontext():
        for turns in range(40):
            calls = [asyncio.create_task(call()) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>" or not turns
    await asyncio.wait_for(call(), 10)
    assert repr(pool) == f"<Pool 1 open, 0 draining: east: 0 held, {IDLE}>"


async def test_a_ca_file_that_never_was_good_is_the_operators_to_mend(
    cluster: EmbeddedCluster, pool: Pool, tmp_path: Path
) -> None:
    """The caller hears whose trouble it is and no path; a second cluster is not affected."""
    broken = listed(cluster, certificate_authority=tmp_path / "none.crt", certificate_authority_data=None)
    with pytest.raises(ClusterUnavailable) as caught:
        await held(pool, broken)
    assert str(tmp_path) not in caught.value.message
    assert caught.value.retry_after == 30
    with pytest.raises(ClusterUnavailable):
        pool.key(broken)
    assert repr(pool) == "<Pool 0 open, 0 draining>"


async def test_whoever_watches_has_no_ca_bundle_read(cluster: EmbeddedCluster, pool: Pool, tmp_path: Path) -> None:
    """A scrape looks at every listed cluster, of which there may be a thousand that nobody ever called."""
    broken = listed(cluster, certificate_authority=tmp_path / "none.crt", certificate_authority_data=None)
    with capture_logs() as logs:
        assert pool.certificate_ends(broken) is None
    assert logs == []  # it is said once, when the file is read


async def test_a_key_is_url_ca_and_server_name(cluster: EmbeddedCluster, pool: Pool) -> None:
    """What makes another cluster of an equal URL is another CA or another name to prove."""
    key = pool.key(listed(cluster))
    assert key == pool.key(listed(cluster, name="otherwise", label="called"))
    assert key != pool.key(listed(cluster, name="b", certificate_authority_data=AUTHORITY.pem().decode()))
    assert key != pool.key(listed(cluster, tls_server_name="kubernetes"))
    assert str(key) == f"{cluster.server}#{key.ca_digest[:8]}"


async def test_a_retired_cluster_is_leased_to_nobody_and_its_calls_have_their_time(
    cluster: EmbeddedCluster, clock: Clock
) -> None:
    """Who holds it finishes, who would hold it for ever is ended with its client, and the same options are refused."""
    limits = PoolLimits(retired_seconds=0.2)
    east = listed(cluster, limits={"callSeconds": 0.2})
    retired: list[ClusterKey] = []
    async with Pool(TrustStore(clock), clock, limits=limits) as pool:
        pool.when_retired(retired.append)
        async with pool.lease(east) as held:
            pool.retire(east)
            assert [key.url for key in retired] == [cluster.server]
            assert repr(pool) == "<Pool 0 open, 1 draining>"
            with pytest.raises(ClusterUnavailable, match="changed or removed this cluster"):
                async with pool.lease(east):
                    pass
            async with asyncio.timeout(5):
                while pool.state().draining:  # noqa: ASYNC110  # a timer of the loop ends it
                    await asyncio.sleep(0.01)
            assert await is_closed(held.server)
        async with pool.lease(listed(cluster)) as again:
            assert (await ask(again)).status == 401


async def test_a_renewed_cluster_gets_the_gates_of_its_new_limits(cluster: EmbeddedCluster, pool: Pool) -> None:
    """Nobody is told that it ended, because who was verified for it still is."""
    retired: list[ClusterKey] = []
    pool.when_retired(retired.append)
    async with pool.lease(listed(cluster)) as before:
        pool.renew(listed(cluster))
    async with pool.lease(listed(cluster, limits={"connections": 1})) as after:
        assert after.gate is not before.gate
        assert after.key == before.key
    assert retired == []
