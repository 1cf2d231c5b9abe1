"""Boundary around work that many callers wait for at once: it is done once, whoever of them goes away."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flights(Generic[K, V]):
    """The work under way, by key. `close` ends what is left of it."""

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._tasks: dict[K, asyncio.Task[V]] = {}

    async def join(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Wait for the key's work, started now if none is under way. Cancelling a caller does not cancel the work.

        Raises:
            Exception: What the work raised, to each that waits for it.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(partial(self._landed, key))
        await asyncio.wait((task,))
        return task.result()

    async def close(self) -> None:
        """Cancel what is under way and wait until it has ended."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            # Every waiter may have gone; asyncio would complain that nobody looked at the exception.
            task.exception()

    def __len__(self) -> int:
        return len(self._tasks)
