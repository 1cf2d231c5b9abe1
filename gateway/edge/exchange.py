"""Boundary to one POST as ASGI tells it: its body, and the moment from which nobody waits for the answer any more."""

import asyncio

from gateway.edge.responses import Message, Receive


class Exchange:
    """A request's body, read already and given out once more, and when its client has gone.

    ASGI tells that a client has gone to whoever receives next, and only once; here everybody who waits hears it.
    """

    def __init__(self, body: bytes, receive: Receive) -> None:
        """Take over `receive`: nobody else may call it."""
        self._pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._receive = receive
        self._over = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Return the body once, then that the client has gone, when it has."""
        if self._pending:
            return self._pending.pop()
        await self.ended()
        return {"type": "http.disconnect"}

    async def ended(self) -> None:
        """Wait until nobody waits for the answer: it was given, the client has gone, or it has cancelled."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="mcp-disconnect")
        await self._over.wait()

    def end(self) -> None:
        """Let everybody know that nobody waits any more."""
        self._over.set()
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._over.set()
