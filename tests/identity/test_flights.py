"""Work that many wait for at once."""

import asyncio
import gc

import pytest

from gateway.identity.flights import Flights


async def test_many_callers_share_one_piece_of_work() -> None:
    """All who come while it is under way get its result; who comes later starts anew."""
    started = 0
    go = asyncio.Event()

    async def work() -> int:
        nonlocal started
        started += 1
        await go.wait()
        return started

    flights: Flights[str, int] = Flights()
    waiting = [asyncio.create_task(flights.join("a", work)) for _ in range(5)]
    await asyncio.sleep(0)
    assert len(flights) == 1
    go.set()
    assert await asyncio.gather(*waiting) == [1] * 5
    assert len(flights) == 0
    assert await flights.join("a", work) == 2


async def test_work_goes_on_without_the_caller_who_began_it() -> None:
    """Neither the first caller's cancellation nor everybody's stops it, and keys do not share."""
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        await go.wait()
        done.set()
        return "done"

    flights: Flights[str, str] = Flights()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    go.set()
    assert await second == "done"
    go.clear()
    done.clear()
    alone = asyncio.create_task(flights.join("b", work))
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.wait([alone])
    go.set()
    await done.wait()


async def test_a_failure_reaches_each_who_waits_and_is_not_kept() -> None:
    """Everyone gets the exception, and who comes later starts anew."""
    go = asyncio.Event()
    answers = [KeyError("x")]

    async def work() -> str:
        await go.wait()
        if answers:
            raise answers.pop()
        return "done"

    flights: Flights[str, str] = Flights()
    tasks = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [KeyError] * 3
    assert await flights.join("a", work) == "done"


async def test_a_failure_that_nobody_waits_for_is_nobodys_complaint() -> None:
    """Work whose callers have all gone may fail without asyncio reporting a lost exception."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    go, failed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        failed.set()
        raise KeyError("x")

    flights: Flights[str, None] = Flights()
    task = asyncio.create_task(flights.join("a", work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    del task  # its traceback holds the work
    go.set()
    await failed.wait()
    await asyncio.sleep(0)
    assert len(flights) == 0
    gc.collect()
    assert complaints == []


async def test_closing_ends_all_work() -> None:
    """What is under way is cancelled, and has ended when `close` returns."""
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    flights: Flights[int, None] = Flights()
    tasks = [asyncio.create_task(flights.join(key, work)) for key in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await flights.close()
    assert ended == [True] * 3
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
