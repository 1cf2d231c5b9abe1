"""How often a caller may call: alone, together with other replicas, and while the shared store is away."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clusters.options import ClusterOptions, LimitOptions
from gateway.clusters.rates import REST_SECONDS, Buckets, RateLimited, RateLimits, refilled
from gateway.clusters.shared import SharedWindows, UsedInStore
from gateway.errors import GatewayError
from tests.store import running_store

EAST = ClusterOptions(name="east", server="https://east.example", limits=LimitOptions(reads_per_minute=3))
WEST = ClusterOptions(name="west", server="https://west.example", limits=LimitOptions(reads_per_minute=3))
ANNA, BERT = ("iss", "anna"), ("iss", "bert")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


async def refused(limits: RateLimits, cluster: ClusterOptions, caller: tuple[str, ...]) -> bool:
    """Whether one more read is refused."""
    try:
        await limits.take("reads", cluster, caller)
    except RateLimited:
        return True
    return False


async def test_one_too_many_is_refused_with_the_time_to_wait() -> None:
    """After a minute's worth of calls the next must say when there is room, and then there must be."""
    clock = Clock()
    limits = RateLimits(clock=clock)
    for _ in range(3):
        await limits.take("reads", EAST, ANNA)
    with pytest.raises(
        RateLimited, match=r"3 reads a minute are allowed on cluster east\. Try again in 20 s"
    ) as caught:
        await limits.take("reads", EAST, ANNA)
    clock.now += caught.value.retry_after
    await limits.take("reads", EAST, ANNA)


async def test_callers_clusters_and_kinds_of_call_do_not_share() -> None:
    """One caller's reads on one cluster must leave everything else as it was."""
    limits = RateLimits(clock=Clock())
    for _ in range(3):
        await limits.take("reads", EAST, ANNA)
    assert await refused(limits, EAST, ANNA)
    assert not await refused(limits, EAST, BERT)
    assert not await refused(limits, WEST, ANNA)
    await limits.take("others", EAST, ANNA)


@given(st.floats(0, 1000), st.floats(0, 1e9), st.integers(1, 1_000_000))
def test_a_bucket_never_holds_more_than_a_minute(tokens: float, seconds: float, per_minute: int) -> None:
    """Whatever time passed, no more than a minute's worth of calls may be made at once."""
    assert refilled(min(tokens, per_minute), seconds, per_minute) <= per_minute


def test_the_number_of_buckets_is_bounded() -> None:
    """Many callers must not fill the memory; the bucket that is dropped is the one not used for longest."""
    buckets = Buckets(Clock(), entries=2)
    buckets.take(("a",), 1)
    buckets.take(("b",), 1)
    assert buckets.take(("a",), 1) > 0
    buckets.take(("c",), 1)
    assert len(buckets) == 2
    assert buckets.take(("a",), 1) > 0
    assert buckets.take(("b",), 1) == 0


async def test_replicas_with_a_shared_store_count_together(tmp_path: Path, unused_tcp_port: int) -> None:
    """Two gateways must allow together what one allows."""
    with running_store(tmp_path, unused_tcp_port) as store:
        windows = [SharedWindows(store.url), SharedWindows(store.url)]
        first, second = (RateLimits(shared) for shared in windows)
        answers = [await refused(limits, EAST, ANNA) for limits in (first, second, first, second)]
        assert answers == [False, False, False, True]
        assert not first.counts_alone
        for shared in windows:
            await shared.close()


async def test_while_the_store_is_away_each_counts_alone_and_says_so(tmp_path: Path, unused_tcp_port: int) -> None:
    """A dead store must cost no call, and be used again once it is back."""
    clock = Clock()
    with running_store(tmp_path, unused_tcp_port) as store:
        shared = SharedWindows(store.url)
        limits = RateLimits(shared, clock=clock)
        assert [await refused(limits, EAST, ANNA) for _ in range(3)] == [False] * 3
    assert not await refused(limits, EAST, ANNA)
    assert limits.counts_alone
    clock.now += REST_SECONDS
    with running_store(tmp_path, unused_tcp_port):
        assert [await refused(limits, EAST, ANNA), limits.counts_alone] == [False, False]
    await shared.close()


async def test_a_plan_is_used_once_by_all_replicas(tmp_path: Path, unused_tcp_port: int) -> None:
    """What one replica used, another must refuse; while the store is away nothing may be used at all."""
    with running_store(tmp_path, unused_tcp_port) as store:
        first, second = UsedInStore(store.url), UsedInStore(store.url)
        assert await first.first_use(b"plan", 600)
        assert not await second.first_use(b"plan", 600)
        assert await second.first_use(b"other", 600)
    with pytest.raises(GatewayError, match="Nothing was done"):
        await first.first_use(b"third", 600)
    await first.close()
    await second.close()
