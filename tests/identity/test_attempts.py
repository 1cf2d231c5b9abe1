import asyncio

import pytest

from gateway.demo.faults import Hang, Reply
from gateway.errors import ClusterUnavailable, Unauthenticated
from gateway.identity.attempts import Attempts, TooManyFailures
from gateway.identity.lanes import SHARE, SHARE_QUEUE
from gateway.identity.verifier import REVIEW_LASTS
from tests.identity.conftest import JWKS, REVIEWS, Clock, forged, scene_of, until


def limited(clock: Clock, per_minute: int = 3) -> Attempts:
    """Return attempts of which so many may fail in a minute."""
    return Attempts(lambda: clock.ticks, per_minute)


def failing(attempts: Attempts, source: str, times: int, reason: str = "signature") -> None:
    """Let tokens of a source be refused."""
    for _ in range(times):
        attempts.admit(source)
        attempts.failed(source, reason)


def test_a_source_waits_after_its_failures_and_no_other_does() -> None:
    """The bucket of a source is its own, and fills again by one failure in its share of a minute."""
    clock = Clock()
    attempts = limited(clock)
    failing(attempts, "192.0.2.1", 3)
    with pytest.raises(TooManyFailures) as caught:
        attempts.admit("192.0.2.1")
    assert caught.value.retry_after == 20
    attempts.admit("192.0.2.2")
    clock.advance(20)
    failing(attempts, "192.0.2.1", 1)
    with pytest.raises(TooManyFailures):
        attempts.admit("192.0.2.1")
    clock.advance(60)
    failing(attempts, "192.0.2.1", 3)


@pytest.mark.parametrize("reason", ["expired", "not_yet_valid", "missing"])
def test_what_honest_clients_do_is_not_counted(reason: str) -> None:
    """A client that goes on with its old token keeps nobody behind the same address out."""
    failing(limited(Clock()), "192.0.2.1", 100, reason)


def test_no_limit_is_no_limit() -> None:
    """Zero switches it off."""
    failing(limited(Clock(), 0), "192.0.2.1", 1000)


async def test_a_source_that_waits_is_not_looked_at_but_keeps_what_is_verified() -> None:
    """Over the limit not even claims are read; a live verdict is served on, from the very same source."""
    async with scene_of(failures=3) as scene:
        good, later = await scene.east.token(), await scene.east.token(service_account="demo/viewer")
        [first] = await asyncio.gather(*scene.arriving([good], "192.0.2.1"))
        for number in range(3):
            await scene.refused(forged(scene.east, kid=f"kid-{number}"), source="192.0.2.1")
        dials = len(scene.east.requests)
        for token in (later, forged(scene.east), "not a token"):
            with pytest.raises(TooManyFailures):
                await asyncio.gather(*scene.arriving([token], "192.0.2.1"))
        assert await asyncio.gather(*scene.arriving([good], "192.0.2.1")) == [first]
        assert len(scene.east.requests) == dials
        await asyncio.gather(*scene.arriving([later], "192.0.2.2"))
        await scene.identity.authenticate(later, source=lambda: "192.0.2.1")


async def test_a_crowd_is_counted_while_it_waits() -> None:
    """Tokens that came in together, before the first was refused, are not all taken to the cluster."""
    async with scene_of(failures=5) as scene:
        crowd = scene.arriving([forged(scene.east, kid=f"kid-{n}") for n in range(100)], "192.0.2.1")
        outcomes = await asyncio.gather(*crowd, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unauthenticated, TooManyFailures}
        # The next one may be on its way before the last one's failure is counted.
        assert sum(isinstance(outcome, Unauthenticated) for outcome in outcomes) in {5, 6}
        assert len(scene.east.requests) in {5, 6}


async def test_a_review_that_has_lapsed_is_renewed_from_a_source_that_waits() -> None:
    """Who was good a minute ago, on a cluster that must be asked each minute, is no stranger."""
    async with scene_of(failures=3) as scene:
        token = await scene.east.token()
        with scene.east.fault(Reply(403), paths=[JWKS]):
            await asyncio.gather(*scene.arriving([token], "192.0.2.1"))
            for number in range(3):
                await scene.refused(forged(scene.east, kid=f"kid-{number}"), source="192.0.2.1")
            scene.clock.advance(REVIEW_LASTS + 1)
            for number in range(3):
                await scene.refused(forged(scene.east, kid=f"later-{number}"), source="192.0.2.1")
            await scene.identity.authenticate(token, source=lambda: "192.0.2.1")
        assert scene.east.count(path=REVIEWS) == 8


async def test_one_source_does_not_fill_the_lane_of_reviews() -> None:
    """Beside a crowd of one source whose reviews hang, another source's is asked."""
    async with scene_of() as scene:
        await scene.identity.authenticate(await scene.east.token())
        with scene.east.fault(Hang("headers"), paths=[REVIEWS]) as hanging:
            crowd = scene.arriving([forged(scene.east, iss=f"https://other-{n}") for n in range(100)], "192.0.2.1")
            await until(lambda: hanging.hits == SHARE)
            other = scene.arriving([forged(scene.east, iss="https://other")], "192.0.2.2")
            await until(lambda: hanging.hits == SHARE + 1)
            outcomes = [task.exception() for task in crowd if task.done()]
            assert len(outcomes) == 100 - SHARE - SHARE_QUEUE
            assert all(isinstance(outcome, ClusterUnavailable) for outcome in outcomes)
            for task in crowd + other:
                task.cancel()
            await asyncio.gather(*crowd, *other, return_exceptions=True)
