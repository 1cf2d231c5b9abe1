import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.clusters.gate import Gate
from gateway.errors import ClusterUnavailable


class Visitor:
    """Goes in, and out when told."""

    def __init__(self, gate: Gate, log: list[str], name: str) -> None:
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate, log, name))

    async def _visit(self, gate: Gate, log: list[str], name: str) -> None:
        async with gate.entered():
            log.append(name)
            await self.leave.wait()


async def turn() -> None:
    """Let everybody go as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_first_is_served_first() -> None:
    """The line is one: nobody who came later goes in before."""
    gate, log = Gate(1, 10), list[str]()
    visitors = [Visitor(gate, log, name) for name in "abc"]
    await turn()
    assert (log, repr(gate)) == (["a"], "<Gate 1 inside, 2 waiting>")
    visitors[0].leave.set()
    late = Visitor(gate, log, "d")
    await turn()
    assert (log, repr(gate)) == (["a", "b"], "<Gate 1 inside, 2 waiting>")
    for visitor in (*visitors, late):
        visitor.leave.set()
        await visitor.task
    assert (log, repr(gate)) == (["a", "b", "c", "d"], "<Gate 0 inside, 0 waiting>")


async def test_more_than_may_wait_are_refused_at_once() -> None:
    """A refusal does not wait, says when to come back, and changes nothing."""
    gate, log = Gate(2, 1), list[str]()
    visitors = [Visitor(gate, log, name) for name in "abc"]
    await turn()
    assert repr(gate) == "<Gate 2 inside, 1 waiting>"
    with pytest.raises(ClusterUnavailable, match="waiting already") as caught:
        async with gate.entered():
            raise AssertionError
    assert caught.value.retry_after == 2
    assert repr(gate) == "<Gate 2 inside, 1 waiting>"
    for visitor in visitors:
        visitor.leave.set()
        await visitor.task
    assert repr(gate) == "<Gate 0 inside, 0 waiting>"


async def test_without_a_queue_there_is_just_the_room_inside() -> None:
    """A queue of none still lets in whoever finds a place."""
    gate = Gate(1, 0)
    async with gate.entered():
        with pytest.raises(ClusterUnavailable):
            await AsyncExitStack().enter_async_context(gate.entered())
    async with gate.entered():
        assert repr(gate) == "<Gate 1 inside, 0 waiting>"


async def test_who_gives_up_waiting_leaves_no_gap() -> None:
    """A cancelled waiter's place is free at once, and the one behind gets in."""
    gate, log = Gate(1, 2), list[str]()
    visitors = [Visitor(gate, log, name) for name in "abc"]
    await turn()
    visitors[1].task.cancel()
    await turn()
    assert repr(gate) == "<Gate 1 inside, 1 waiting>"
    visitors[0].leave.set()
    await turn()
    assert (log, repr(gate)) == (["a", "c"], "<Gate 1 inside, 0 waiting>")
    visitors[2].leave.set()
    await visitors[2].task
    assert repr(gate) == "<Gate 0 inside, 0 waiting>"


async def test_one_who_is_called_in_and_gives_up_in_that_moment_passes_it_on() -> None:
    """A slot that was already handed over to a cancelled waiter is not lost."""
    gate, log = Gate(1, 2), list[str]()
    visitors = [Visitor(gate, log, name) for name in "abc"]
    await turn()
    visitors[0].leave.set()
    await visitors[0].task
    visitors[1].task.cancel()
    await turn()
    assert log[-1] == "c"
    visitors[2].leave.set()
    await visitors[2].task
    assert repr(gate) == "<Gate 0 inside, 0 waiting>"


async def test_a_failure_inside_frees_the_slot() -> None:
    """Whatever happens to a call, its place is free afterwards."""
    gate = Gate(1, 0)
    with pytest.raises(ZeroDivisionError):
        async with gate.entered():
            raise ZeroDivisionError
    async with gate.entered():
        assert repr(gate) == "<Gate 1 inside, 0 waiting>"
