"""Boundary to standard input and output, which belong to MCP alone while the bridge serves."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from mcp.server.stdio import stdio_server

_CHUNK: Final = 64 * 1024
_LONGEST_LINE: Final = 64 * 2**20


@asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[Any, Any]]:
    """Give the SDK's streams of messages; what else the process or a child of it reads is empty, and prints to stderr.

    The SDK's own reader waits in a thread that no cancellation ends, so that a signal would have to wait for input.
    """
    private = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=_LONGEST_LINE)
    threading.Thread(target=_read, args=(private, loop, lines), name="bridge-stdin", daemon=True).start()
    # It reads its input line by line, and asks nothing else of it.
    async with stdio_server(stdin=cast("Any", lines)) as streams:
        yield streams


def _read(descriptor: int, loop: asyncio.AbstractEventLoop, lines: asyncio.StreamReader) -> None:
    try:
        while chunk := os.read(descriptor, _CHUNK):
            loop.call_soon_threadsafe(lines.feed_data, chunk)
        loop.call_soon_threadsafe(lines.feed_eof)
    except (OSError, RuntimeError):
        # The loop has ended before its input did.
        return
