"""Boundary between MCP's subscriptions and watches: who is told that a resource changed, and for how long.

Before 2026-07-28 each `resources/subscribe` belongs to a session, whose open stream carries the notifications; from
then on one `subscriptions/listen` names all of a client's resources, and its answer is the stream. Either way a
subscription ends with what carries it or with the token, and only so many are open for one caller.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import replace
from typing import Any, Final

import mcp_types as types
import structlog
from mcp.server.connection import Connection
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from gateway.access.session import Access, Caller, ClusterSession
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.protocol.calls import caller_of
from gateway.protocol.elicitation import Context
from gateway.protocol.resources import NOBODY, internal, refusal
from gateway.tools.resources import changes

PER_CALLER: Final = 20
"""Resources, and streams without any, that one caller may have subscribed to on one cluster."""
QUIET: Final = 1.0
"""Seconds for which changes of what was just told are gathered: an object may change a hundred times a second."""
_OPENING: Final = 30.0
"""Seconds until a subscription's first watch must be open."""
_STATE: Final = "gateway.subscriptions"
_log = structlog.get_logger(__name__)

Notify = Callable[[str], Awaitable[None]]


class Watching:
    """The watches behind one stream; what has changed is gathered until it can be told."""

    def __init__(self, sessions: Callable[[], AbstractAsyncContextManager[ClusterSession]]) -> None:
        """Start with none; each watch takes sessions of its own."""
        self._sessions = sessions
        self._changed: dict[str, None] = {}
        self._bell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, uri: str) -> None:
        """Watch this resource too, from now on; raises GatewayError where that can't be."""
        is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._watch(uri, is_open), name="mcp-subscription")
        self._tasks.append(task)
        await asyncio.wait({task, is_open}, timeout=_OPENING, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        if not is_open.done():
            task.cancel()
            raise ClusterUnavailable("The cluster did not answer in time. Try again in a minute.")

    async def _watch(self, uri: str, is_open: "asyncio.Future[None]") -> None:
        async with aclosing(changes(self._sessions, uri)) as moments:
            async for _ in moments:
                if is_open.done():
                    self._changed[uri] = None
                    self._bell.set()
                else:
                    is_open.set_result(None)

    async def tell(self, notify: Notify) -> None:
        """Tell each change, several of one resource within a second once; ends when a watch has ended."""
        while True:
            bell = asyncio.ensure_future(self._bell.wait())
            done, _ = await asyncio.wait({bell, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            bell.cancel()
            if not done <= {bell}:
                return
            self._bell.clear()
            changed, self._changed = self._changed, {}
            for uri in changed:
                await notify(uri)
            await asyncio.sleep(QUIET)

    async def close(self) -> None:
        """End every watch, and log why one ended by itself."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, GatewayError):
                _log.info("subscription_ended", outcome=outcome.outcome)
            elif isinstance(outcome, Exception):
                _log.error("subscription_failed", exc_info=outcome)


def _untraced(context: Context) -> Caller:
    """Return who calls, without a trace: a span that is open for hours tells nobody anything."""
    return replace(caller_of(context), trace=None)


class Subscriptions:
    """The subscriptions of all callers."""

    def __init__(self, access: Access) -> None:
        """Start with none."""
        self._access = access
        self._held: Counter[tuple[Any, str, str]] = Counter()

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell this session from now on when the resource has changed.

        Raises:
            MCPError: There is no session, the resource can't be watched, or the caller has too many.
        """
        connection: Connection = context.session._connection  # noqa: SLF001  # only it knows when the session ends
        if connection.session_id is None or not connection.has_standalone_channel:
            message = "Subscriptions need a session, because its stream carries the notifications. Initialize one."
            raise MCPError(code=types.INVALID_REQUEST, message=message)
        caller, uri = _untraced(context), params.uri
        tasks = self._of(connection)
        if uri in tasks and not tasks[uri].done():
            return types.EmptyResult()
        is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            self._follow(caller, uri, context.session.send_resource_updated, is_open), name="mcp-subscription"
        )
        tasks[uri] = task
        try:
            await asyncio.wait({task, is_open}, return_when=asyncio.FIRST_COMPLETED)
            if not is_open.done():
                await task
        except GatewayError as error:
            raise refusal(self._access.metrics, caller, error, uri) from error
        except Exception as error:
            raise internal(caller, "resources/subscribe") from error
        finally:
            if not is_open.done():
                task.cancel()
                tasks.pop(uri, None)
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell this session no more; nothing happens where it was not told."""
        tasks = self._of(context.session._connection)  # noqa: SLF001  # see `subscribe`
        await _end(task for task in [tasks.pop(params.uri, None)] if task is not None)
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell the client on this answer's own stream, until it goes away or a watch or the token ends.

        What can't be watched is left out of the acknowledgement, and so are lists, which do not change by themselves.

        Raises:
            MCPError: The caller has too many streams.
        """
        caller = _untraced(context)
        meta = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        wanted = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))[: PER_CALLER + 1]
        watching = Watching(lambda: self._access.session(caller, "subscriptions/listen", NOBODY))

        async def notify(uri: str) -> None:
            notification = types.ResourceUpdatedNotificationParams(uri=uri, meta=meta)
            await context.session.send_notification(
                types.ResourceUpdatedNotification(params=notification), related_request_id=context.request_id
            )

        try:
            with self._places(caller, max(1, len(wanted))):
                opened = await asyncio.gather(*(self._opened(caller, watching, uri) for uri in wanted))
                honored = [uri for uri, is_open in zip(wanted, opened, strict=True) if is_open]
                acknowledged = types.SubscriptionsAcknowledgedNotificationParams(
                    notifications=types.SubscriptionFilter(resource_subscriptions=honored or None), meta=meta
                )
                await context.session.send_notification(
                    types.SubscriptionsAcknowledgedNotification(params=acknowledged),
                    related_request_id=context.request_id,
                )
                async with _until_expiry(caller):
                    await watching.tell(notify)
        except GatewayError as error:
            raise refusal(self._access.metrics, caller, error) from error
        except TimeoutError:
            pass
        finally:
            await watching.close()
        return types.SubscriptionsListenResult(meta=meta)

    async def _opened(self, caller: Caller, watching: Watching, uri: str) -> bool:
        try:
            await self._access.admit(caller, "reads")
            await watching.open(uri)
        except GatewayError as error:
            _log.info("not_subscribed", outcome=error.outcome, request_id=caller.request_id)
            return False
        return True

    async def _follow(self, caller: Caller, uri: str, notify: Notify, is_open: "asyncio.Future[None]") -> None:
        watching = Watching(lambda: self._access.session(caller, "resources/subscribe", NOBODY))
        try:
            with self._places(caller, 1):
                await self._access.admit(caller, "reads")
                await watching.open(uri)
                is_open.set_result(None)
                async with _until_expiry(caller):
                    await watching.tell(notify)
        except TimeoutError:
            _log.info("subscription_ended", outcome="expired", request_id=caller.request_id)
        finally:
            await watching.close()

    @contextmanager
    def _places(self, caller: Caller, count: int) -> Iterator[None]:
        principal = caller.principal
        key = (principal.cluster_key, principal.issuer, principal.subject)
        if self._held[key] + count > PER_CALLER:
            message = f"You may subscribe to {PER_CALLER} resources of a cluster at once. Unsubscribe from some first."
            raise ClusterUnavailable(message)
        self._held[key] += count
        try:
            yield
        finally:
            self._held[key] -= count
            if not self._held[key]:
                del self._held[key]

    def _of(self, connection: Connection) -> dict[str, "asyncio.Task[None]"]:
        """Return the session's subscriptions, which end with it."""
        tasks: dict[str, asyncio.Task[None]] | None = connection.state.get(_STATE)
        if tasks is None:
            tasks = connection.state[_STATE] = {}
            connection.exit_stack.push_async_callback(lambda: _end(tasks.values()))
        return tasks


async def _end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _until_expiry(caller: Caller) -> asyncio.Timeout:
    return asyncio.timeout(max(0.0, caller.principal.expires_at - time.time()))
