"""Boundary to streams of changes: one subscription, kept up over however many streams of the gateway it takes.

The gateway ends a stream with its token, and a restart ends every one; each is opened anew, with the token that is
valid then. What changed in between is not known, so everything watched is then reported as changed, and the client
reads it again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import mcp_types as types
import structlog
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost, listen
from mcp.shared.exceptions import MCPError

from gateway.bridge.upstream import Upstream

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_log = structlog.get_logger(__name__)

Changes = AsyncGenerator[Sequence[str], None]


async def changes(upstream: Upstream, uris: Sequence[str]) -> Changes:
    """Give first the URIs that are watched, and from then on those that have changed; never ends by itself.

    Raises:
        MCPError: The first stream could not be opened.
    """
    is_first = True
    pause = _FIRST_PAUSE
    while True:
        try:
            async with listen(upstream.session, resource_subscriptions=uris) as stream:
                watched = stream.honored.resource_subscriptions or []
                if watched or is_first:
                    yield watched
                is_first = False
                pause = _FIRST_PAUSE
                async for event in stream:
                    if isinstance(event, ResourceUpdated):
                        yield [event.uri]
        except (MCPError, SubscriptionLost) as error:
            if is_first:
                raise MCPError(code=types.INTERNAL_ERROR, message=str(error)) from error
            _log.info("subscription_interrupted", cluster=upstream.cluster, error=str(error))
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
