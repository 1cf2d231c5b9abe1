"""Room for answers: whose it is, who waits for it, and that nobody takes all of it."""

import asyncio

import pytest

from gateway.kube.holding import Memory, NoRoom


async def hold(memory: Memory, cluster: str, step: int = 1) -> int:
    """Hold as much as the cluster gets, and return how much that is."""
    held = 0
    while memory.has_room(cluster, step):
        await memory.take(cluster, step)
        held += step
    return held


async def test_a_cluster_may_hold_as_much_as_is_still_free() -> None:
    """One alone gets half, the next ones ever less, and there is always something left for another."""
    memory = Memory(1200)
    assert [await hold(memory, cluster) for cluster in "abcd"] == [600, 300, 150, 75]
    assert memory.held == 1125
    assert memory.has_room("e", 1)
    assert not memory.has_room("a", 1)


async def test_who_finds_no_room_waits_until_somebody_lets_go() -> None:
    """A moment's crowd costs a moment; what is let go of goes to those who wait."""
    memory = Memory(1000)
    holding, others = memory.of("a"), memory.of("a")
    await holding.grow(500)
    waiting = asyncio.create_task(others.grow(200))
    await asyncio.sleep(0)
    assert (memory.waiting, memory.held) == (1, 500)
    holding.release()
    await waiting
    assert (memory.waiting, memory.held) == (0, 200)
    holding.release()
    others.release()
    assert memory.held == 0


async def test_who_waits_in_vain_is_told_what_to_do() -> None:
    """Nobody waits for room until a call's whole time is up."""
    memory = Memory(1000)
    with pytest.raises(NoRoom, match="Narrow it"):
        await memory.take("a", 501)
    assert (memory.waiting, memory.held) == (0, 0)


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    """A cancelled call holds nothing and waits for nothing."""
    memory = Memory(1000)
    await memory.take("a", 500)
    waiting = asyncio.create_task(memory.take("a", 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (memory.waiting, memory.held) == (0, 500)
