"""Boundary to a watch: changes of one API server's objects as they come, and what there is after each of them.

A watch is an answer without an end, one JSON event a line. What goes wrong after its first byte comes as an event of
type ERROR in an answer that is 200; a resourceVersion that is too old comes so as well, and then all is read anew.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import aiohttp
import orjson

from gateway.errors import ClusterUnavailable
from gateway.kube.client import ApiServer, read_body
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Expired, ServerFault, Throttled, TooLarge, Unreachable, error_from

IDLE: Final = 100.0
"""Seconds without a byte after which a watch is taken for dead: bookmarks come about every minute."""
MAX_EVENT: Final = 4 * 1024 * 1024
"""Bytes of the longest event: etcd holds no object over 1.5 MiB, unless its operator chose so."""
_REFUSAL: Final = 64 * 1024
"""Bytes of a refusal's body that are read."""
_SHORTEST_PAUSE: Final = 0.2
"""Seconds between a watch that ended after an event and the next."""
_LONGEST_PAUSE: Final = 15.0
"""Seconds between two attempts to reach a cluster that can't be reached."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `kind` is ADDED, MODIFIED, DELETED or BOOKMARK; of a bookmark only `version` says something."""

    kind: str
    uid: str
    version: str
    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """What there was at one resourceVersion."""

    items: Iterable[dict[str, Any]]
    version: str


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """What there is, as `follow` was asked to keep it, by uid. `trouble`: why this may be out of date, else empty."""

    objects: Mapping[str, T]
    trouble: str = ""


Events = AsyncIterator[Event]
Watched = Callable[[str], AbstractAsyncContextManager[Events]]


@dataclass(frozen=True, slots=True)
class Watch:
    """An open watch: its events, which end when the API server ends it, and the API server's own audit id."""

    events: Events
    audit_id: str


@asynccontextmanager
async def opened(
    server: ApiServer,
    target: str,
    token: BearerToken,
    *,
    accept: str,
    idle: float = IDLE,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Watch]:
    """Open one watch, by its escaped path and query; it is taken for dead after `idle` seconds without a byte.

    Raises:
        ApiError: The API server refuses it; or, inside, ends it for a reason: Expired, where it is too far behind.
        Unreachable: There was no answer; or, inside, the connection broke.
        TooLarge: Inside, at an event over 4 MiB.
    """
    async with server.streamed(target, token, accept=accept, idle=idle, headers=headers) as response:
        answered = {name.lower(): value for name, value in response.headers.items()}
        if response.status != 200:  # noqa: PLR2004  # RFC 9110, section 15.3.1
            raise error_from(response.status, answered, await read_body(response, _REFUSAL))
        async with aclosing(_events(response)) as events:
            yield Watch(events, answered.get("audit-id", ""))


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Event, None]:
    async with aclosing(_lines(response)) as lines:
        async for line in lines:
            yield _event(line)


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    rest = bytearray()
    async for chunk in response.content.iter_any():
        *whole, last = chunk.split(b"\n")
        for end in whole:
            line = bytes(rest) + end
            rest.clear()
            if line:
                yield line
        rest += last
        if len(rest) > MAX_EVENT:
            response.close()
            raise TooLarge(MAX_EVENT)


def _event(line: bytes) -> Event:
    try:
        document = orjson.loads(line)
        kind, found = document["type"], document["object"]
        if kind == "ERROR":
            code = found.get("code")
            raise error_from(code if isinstance(code, int) else 500, {}, orjson.dumps(found))
        metadata = found["metadata"]
        uid, version = metadata.get("uid") or "", metadata.get("resourceVersion") or ""
        if not (isinstance(kind, str) and isinstance(uid, str) and isinstance(version, str)):
            raise TypeError  # noqa: TRY301  # told like every other event that is none
        return Event(kind, uid, version, found)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable("reset", "what it sends is not a watch", sent=True) from error


async def follow(
    listed: Callable[[], Awaitable[Listed]], watched: Watched, keep: Callable[[dict[str, Any]], T]
) -> AsyncGenerator[View[T], None]:
    """Yield what there is now and after each change, for ever; of each object only what `keep` returns is held.

    `listed` reads what there is, `watched` opens a watch after a resourceVersion. A watch that ends is opened again,
    one too far behind after a new list; while the cluster can't be reached, that is tried again and said.

    Raises:
        GatewayError: What the first list or watch raises; later, whatever trying again can't help against.
    """
    objects: dict[str, T] = {}
    version, failures, opened_once = "", 0, False
    while True:
        try:
            if not version:
                found = await listed()
                objects = {_uid(item): keep(item) for item in found.items}
                version = found.version
                yield View(objects)
            async with watched(version) as events:
                opened_once = True
                async for event in events:
                    failures, version = 0, event.version or version
                    if event.kind == "DELETED":
                        objects.pop(event.uid, None)
                    elif event.kind != "BOOKMARK":
                        objects[event.uid] = keep(event.object)
                    if event.kind != "BOOKMARK":
                        yield View(objects)
        except Expired:
            version = ""
        except (ClusterUnavailable, Throttled, ServerFault) as error:
            if not opened_once:
                raise
            version = ""
            yield View(objects, error.message)
        # An API server that ends each watch after one event must not be asked as fast as it can do that.
        await asyncio.sleep(min(2.0 ** (failures - 1), _LONGEST_PAUSE) if failures else _SHORTEST_PAUSE)
        failures += 1


def _uid(item: dict[str, Any]) -> str:
    uid: str = (item.get("metadata") or {}).get("uid") or ""
    return uid
