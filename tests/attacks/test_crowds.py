"""What a crowd of callers whom nobody knows, or one caller who is known too well, may cost the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.demo.faults import Hang, Latency
from gateway.errors import ClusterUnavailable, Unauthenticated
from tests.identity.conftest import JWKS, REVIEWS, Scene, forged, scene_of, until


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Two clusters, and an identity that has seen no token yet."""
    async with scene_of() as made:
        yield made


async def test_a_lane_full_of_reviews_keeps_no_good_token_out(scene: Scene) -> None:
    """While bad tokens of other issuers use up the reviews, a new good token is verified, old keys or not."""
    await scene.identity.authenticate(await scene.east.token())
    with scene.east.fault(Hang("headers"), paths=[REVIEWS]) as hanging:
        strangers = [(forged(scene.east, iss=f"https://other-{n}"), f"192.0.2.{n}") for n in range(60)]
        bad = [asyncio.create_task(scene.refused(token, source=source)) for token, source in strangers]
        await until(lambda: hanging.hits >= 4)
        try:
            await scene.identity.authenticate(await scene.east.token(service_account="demo/viewer"))
            scene.clock.advance(601)
            await scene.identity.authenticate(await scene.east.token())
        finally:
            for task in bad:
                task.cancel()
            await asyncio.gather(*bad, return_exceptions=True)


async def test_forged_tokens_do_not_queue_before_what_old_keys_verify(scene: Scene) -> None:
    """When keys are due to be read again, a token that the old ones verify does not wait behind forged ones."""
    await scene.identity.authenticate(await scene.east.token())
    scene.clock.advance(601)
    good = await scene.east.token(service_account="demo/viewer")
    bad = [asyncio.create_task(scene.refused(forged(scene.east, kid=f"kid-{n}"))) for n in range(30)]
    await asyncio.sleep(0)
    reads = scene.identity.state().key_reads
    await scene.identity.authenticate(good)
    assert scene.identity.state().key_reads == reads + 1
    assert not all(task.done() for task in bad)
    await asyncio.gather(*bad)


async def test_the_first_good_token_waits_for_one_forged_one_and_not_for_a_crowd(scene: Scene) -> None:
    """Before a cluster's keys were ever read, a good token has its turn right after what is being asked already."""
    good = await scene.east.token()
    with scene.east.fault(Latency(0.02), paths=[JWKS]) as slowly:
        bad = scene.arriving([forged(scene.east, kid=f"kid-{n}") for n in range(200)], "192.0.2.1")
        await until(lambda: slowly.hits == 1)
        [principal] = await asyncio.gather(*scene.arriving([good], "192.0.2.2"))
        assert principal.subject == "system:serviceaccount:demo:mcp"
        assert slowly.hits <= 3
        outcomes = await asyncio.gather(*bad, return_exceptions=True)
        # Those that wait when the keys are known are reviewed, as far as their source's share goes.
        assert {type(outcome) for outcome in outcomes} == {Unauthenticated, ClusterUnavailable}


async def test_a_crowd_of_sources_delays_the_first_good_token_by_one_turn_each(scene: Scene) -> None:
    """However many forged tokens each of them sends."""
    good = await scene.east.token()
    with scene.east.fault(Latency(0.01), paths=[JWKS]) as slowly:
        bad = [scene.arriving([forged(scene.east) for _ in range(10)], f"192.0.2.{n}") for n in range(20)]
        await until(lambda: slowly.hits == 1)
        await asyncio.gather(*scene.arriving([good], "198.51.100.1"))
        assert slowly.hits <= 20 + 2
        await asyncio.gather(*(task for crowd in bad for task in crowd), return_exceptions=True)
