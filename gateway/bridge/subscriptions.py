"""Boundary to the client's subscriptions: by URI over its connection before 2026-07-28, by a stream since."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from gateway.bridge.forwarding import Context, is_modern
from gateway.bridge.tasks import Tasks
from gateway.bridge.upstream import Upstream
from gateway.bridge.watching import Changes, changes

Place = Callable[[str], tuple[Upstream, str]]
"""Returns the cluster that a URI names, and the URI as that cluster knows it; raises MCPError where there is none."""


class Subscriptions:
    """The subscriptions of one client."""

    def __init__(self, place: Place, tasks: Tasks) -> None:
        """Start with none; what follows a resource is one of these tasks."""
        self._place = place
        self._tasks = tasks
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._streams: dict[types.RequestId | None, Context] = {}

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell the client from now on when the resource has changed.

        Raises:
            MCPError: The resource can't be watched; the message says why.
        """
        uri = params.uri
        if uri in self._followed:
            return types.EmptyResult()
        upstream, inner = self._place(uri)
        changing = changes(upstream, [inner])
        if not await anext(changing):
            await changing.aclose()
            # A stream leaves out what can't be watched, without a word; reading it says why.
            await upstream.request("resources/read", {"uri": inner})
            raise MCPError(code=types.INVALID_PARAMS, message="This can be read, but not watched.", data={"uri": uri})

        async def follow() -> None:
            async with aclosing(changing):
                async for _ in changing:
                    await context.session.send_resource_updated(uri)

        self._followed[uri] = self._tasks.start(follow(), "bridge-subscription")
        return types.EmptyResult()

    async def unsubscribe(self, _: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell the client no more; nothing happens where it was not told."""
        task = self._followed.pop(params.uri, None)
        if task is not None:
            task.cancel()
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell the client of changes on the stream of this answer, until it ends that.

        Raises:
            MCPError: A cluster could not be asked, or there is none of this name.
        """
        asked = params.notifications
        groups: dict[Upstream, dict[str, str]] = {}
        for uri in asked.resource_subscriptions or ():
            upstream, inner = self._place(uri)
            groups.setdefault(upstream, {})[inner] = uri
        async with AsyncExitStack() as stack:
            opened: list[tuple[Changes, Mapping[str, str]]] = []
            honored: list[str] = []
            for upstream, uris in groups.items():
                changing = await stack.enter_async_context(aclosing(changes(upstream, [*uris])))
                honored += [uris[inner] for inner in await anext(changing)]
                opened.append((changing, uris))
            accepted = types.SubscriptionFilter(
                tools_list_changed=asked.tools_list_changed or None, resource_subscriptions=honored or None
            )
            acknowledged = types.SubscriptionsAcknowledgedNotificationParams(
                notifications=accepted, meta=_stamp(context)
            )
            await _notify(context, types.SubscriptionsAcknowledgedNotification(params=acknowledged))
            if asked.tools_list_changed:
                self._streams[context.request_id] = context
                stack.callback(self._streams.pop, context.request_id)
            await asyncio.gather(*(_report(context, changing, uris) for changing, uris in opened))
            await asyncio.Event().wait()
        return types.SubscriptionsListenResult(meta=_stamp(context))

    async def tell_tools_changed(self, context: Context) -> None:
        """Have the client list the tools again: on its connection, or on each stream that asked to be told."""
        if not is_modern(context):
            await context.session.send_tool_list_changed()
        for stream in [*self._streams.values()]:
            notification = types.ToolListChangedNotification(params=types.NotificationParams(meta=_stamp(stream)))
            await _notify(stream, notification)


async def _report(context: Context, changing: Changes, uris: Mapping[str, str]) -> None:
    async for changed in changing:
        for inner in changed:
            updated = types.ResourceUpdatedNotificationParams(uri=uris.get(inner, inner), meta=_stamp(context))
            await _notify(context, types.ResourceUpdatedNotification(params=updated))


async def _notify(context: Context, notification: types.ServerNotification) -> None:
    await context.session.send_notification(notification, related_request_id=context.request_id)


def _stamp(context: Context) -> Any:
    return {SUBSCRIPTION_ID_META_KEY: context.request_id}
