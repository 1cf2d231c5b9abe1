"""Boundary between one state that changes all the time and the browsers that show it: server-sent events.

However many watch, the state is made once for all of them, and not at all while nobody does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import orjson

EVERY: Final = 2.0
"""Seconds between two events."""
LONGEST: Final = 600.0
"""Seconds after which a stream ends; browsers open it again by themselves."""
MOST: Final = 16
"""Streams that are open at once."""


class Live:
    """Gives the state to all who listen, every so many seconds."""

    def __init__(self, state: Callable[[], dict[str, Any]], every: float = EVERY, longest: float = LONGEST) -> None:
        """Make nothing yet."""
        self._state = state
        self._every = every
        self._longest = longest
        self._event = b""
        self._made = asyncio.Condition()
        self._maker: asyncio.Task[None] | None = None
        self._is_closed = False
        self.listeners = 0

    @property
    def is_full(self) -> bool:
        """Whether as many listen as may."""
        return self.listeners >= MOST

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Give the state at once, then each new one, until the stream has lasted long enough."""
        self.listeners += 1
        ends = asyncio.get_running_loop().time() + self._longest
        try:
            if self._maker is None:
                self._make()
                self._maker = asyncio.create_task(self._keep_making(), name="admin-live")
            yield self._event
            while asyncio.get_running_loop().time() < ends:
                async with self._made:
                    await self._made.wait()
                if self._is_closed:
                    return
                yield self._event
        finally:
            self.listeners -= 1
            if not self.listeners and self._maker is not None:
                self._maker.cancel()
                self._maker = None

    async def close(self) -> None:
        """End every stream, so that nothing is cut when the listener ends."""
        self._is_closed = True
        async with self._made:
            self._made.notify_all()

    async def _keep_making(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._make()
            async with self._made:
                self._made.notify_all()

    def _make(self) -> None:
        self._event = b"data: " + orjson.dumps(self._state(), default=repr) + b"\n\n"
