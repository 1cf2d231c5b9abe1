"""What a crowd of callers whom nobody knows, or one caller who is known too well, may cost the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.demo.faults import Hang
from tests.identity.conftest import REVIEWS, Scene, forged, scene_of, until


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Two clusters, and an identity that has seen no token yet."""
    async with scene_of() as made:
        yield made


async def test_a_lane_full_of_reviews_keeps_no_good_token_out(scene: Scene) -> None:
    """While bad tokens of other issuers use up the reviews, a new good token is verified, old keys or not."""
    await scene.identity.authenticate(await scene.east.token())
    with scene.east.fault(Hang("headers"), paths=[REVIEWS]) as hanging:
        bad = [asyncio.create_task(scene.refused(forged(scene.east, iss=f"https://other-{n}"))) for n in range(60)]
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
