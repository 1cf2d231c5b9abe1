"""Boundary between a cluster and the snapshot that is judged: reads in parallel, within a number and a time."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gateway.access.session import ClusterSession
from gateway.discovery.catalog import Catalog
from gateway.errors import BadArgument, ClusterUnavailable, GatewayError, NotOffered, Refused
from gateway.kube.errors import ApiError, Forbidden, Invalid, InvalidToken, NotFound, TooLarge
from gateway.kube.request import JSON, Request
from gateway.kube.types import ResourceType
from gateway.redaction.objects import without_credentials
from gateway.redaction.text import spoken
from gateway.tools.diagnose.facts import EVENTS, KINDS, WORDS, Event, Facts, Ref, plural_of, scope
from gateway.tools.diagnose.links import is_wide
from gateway.tools.diagnose.objects import dig, when
from gateway.tools.diagnose.plan import OPTIONAL, Read, wanted
from gateway.tools.shaping import parse

SECONDS: Final = 5.0
"""After so long what is known by then is judged."""
FOR_AN_OBJECT: Final = 12
FOR_MANY: Final = 30
_AT_ONCE: Final = 8
_LOG_LINES: Final = 60
_LOG_BYTES: Final = 64 * 1024
_NO_LOG: Final = "unable to retrieve container logs"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The snapshot, how many requests it took, and how many seconds; `late`: the time ran out before the end."""

    facts: Facts
    requests: int
    seconds: float
    late: bool


@dataclass(slots=True)
class _Collected:
    """What is known so far."""

    target: Ref
    objects: dict[Ref, Any] = field(default_factory=dict)
    events: dict[Any, Event] = field(default_factory=dict)
    logs: dict[tuple[Ref, str], tuple[str, ...]] = field(default_factory=dict)
    absent: set[Ref] = field(default_factory=set)
    complete: set[tuple[str, str]] = field(default_factory=set)
    unread: dict[str, list[str]] = field(default_factory=dict)
    done: set[Read] = field(default_factory=set)
    fatal: list[GatewayError] = field(default_factory=list)
    sent: int = 0

    def facts(self) -> Facts:
        unread = tuple(f"{', '.join(dict.fromkeys(what))}: {why}" for why, what in self.unread.items())
        return Facts(
            datetime.now(UTC),
            self.target,
            dict(self.objects),
            tuple(self.events.values()),
            dict(self.logs),
            frozenset(self.absent),
            frozenset(self.complete),
            unread,
        )

    def could_not(self, read: Read, why: str) -> None:
        word = "logs" if read.container else WORDS.get(read.resource, read.resource)
        self.unread.setdefault(why, []).append(word if read.container else plural_of(word))


async def gather(session: ClusterSession, target: Ref, *, spent: int = 0, seconds: float = SECONDS) -> Gathered:
    """Read what belongs to the target: at most 12 requests for an object and 30 for more, `spent` of them already.

    Raises:
        GatewayError: The target itself, or anything at all, can't be read, or the token is no longer accepted.
    """
    collected = _Collected(target)
    most = (FOR_MANY if is_wide(target) else FOR_AN_OBJECT) - spent
    started = time.perf_counter()
    late = False
    try:
        async with asyncio.timeout(seconds):
            catalog = await session.catalog()
            at_once = asyncio.Semaphore(_AT_ONCE)
            while reads := _next(collected, most, catalog):
                collected.done.update(reads)
                collected.sent += len(reads)
                await asyncio.gather(*(_one(session, catalog, collected, read, at_once) for read in reads))
                if collected.fatal:
                    raise collected.fatal[0]
    except TimeoutError:
        late = True
    if late and not collected.objects:
        raise GatewayError(f"The cluster did not answer within {seconds:g} s. Try again; tell a person if it lasts.")
    if collected.unread and not collected.objects and not collected.complete:
        # Of what nobody could look at it must not be said that nothing is wrong.
        why = "; ".join(collected.unread)
        raise Refused(f"Nothing of {scope(target)} could be read: {why}. Ask about a namespace that may be read.")
    return Gathered(collected.facts(), collected.sent + spent, time.perf_counter() - started, late)


def _next(collected: _Collected, most: int, catalog: Catalog) -> list[Read]:
    """Choose what is read next: as much as the bound leaves."""
    found: dict[Read, None] = {}
    for read in wanted(collected.facts()):
        if read in collected.done or read in found or _known(collected, read):
            continue
        if _type(catalog, read.resource) is None:
            collected.done.add(read)
            if read.resource not in OPTIONAL:
                collected.could_not(read, "not served, or not allowed by the gateway's policy")
            continue
        found[read] = None
        if len(found) + collected.sent >= most:
            break
    return list(found) if collected.sent < most else []


def _known(collected: _Collected, read: Read) -> bool:
    """Whether another request has already told this."""
    if read.container or read.resource == EVENTS:
        return False
    lists = {(read.resource, read.namespace), (read.resource, "")} & collected.complete
    return bool(lists) or (bool(read.name) and (read.ref in collected.objects or read.ref in collected.absent))


def _type(catalog: Catalog, resource: str) -> ResourceType | None:
    plural, _, group = resource.partition(".")
    versions = catalog.versions.get((group, plural), ())
    return versions[0] if versions else None


async def _one(
    session: ClusterSession, catalog: Catalog, collected: _Collected, read: Read, at_once: asyncio.Semaphore
) -> None:
    kind = _type(catalog, read.resource)
    if kind is None:
        return
    try:
        async with at_once:
            answer = await session.request(_request(read, kind), kind)
        if read.container:
            text = answer.body.decode("utf-8", "backslashreplace")
            if session.cluster.redaction:
                text = spoken(text)
            if not text.startswith(_NO_LOG):
                collected.logs[read.ref, read.container] = tuple(text.splitlines())
            return
        document = await parse(answer.body)
        _keep(collected, read, _said(document, read) if session.cluster.redaction else document)
    except GatewayError as error:
        _failed(collected, read, error)


def _said(document: dict[str, Any], read: Read) -> dict[str, Any]:
    """Return a document or list without credentials in what findings quote of it: messages, before they are cut."""
    key = "message" if read.resource == EVENTS else "status"
    for item in document.get("items") or (document,):
        if key in item:
            item[key] = without_credentials(item[key])
    return document


def _failed(collected: _Collected, read: Read, error: GatewayError) -> None:
    its_own = read.ref == collected.target and not read.container and not is_wide(collected.target)
    if isinstance(error, InvalidToken) or its_own or (isinstance(error, NotFound) and read.ref == collected.target):
        collected.fatal.append(error)
        return
    match error:
        case NotFound() if read.name and not read.container:
            collected.absent.add(read.ref)
        case NotFound() | Invalid() if read.container or not read.name:
            pass  # no such log, or a kind that went meanwhile
        case Forbidden():
            collected.could_not(read, "RBAC does not let this token read them")
        case Refused() | NotOffered() | BadArgument():
            collected.could_not(read, "the gateway's policy for this cluster does not allow it")
        case TooLarge():
            collected.could_not(read, "the answer was too large")
        case ClusterUnavailable():
            collected.could_not(read, "the cluster did not answer")
        case ApiError():
            collected.could_not(read, error.message[:120])
        case _:
            collected.could_not(read, "the answer can't be read")


def _request(read: Read, kind: ResourceType) -> Request:
    query: list[tuple[str, str]] = []
    if read.container:
        query = [("container", read.container), ("tailLines", str(_LOG_LINES)), ("limitBytes", str(_LOG_BYTES))]
        query += [("previous", "true")] if read.previous else []
    else:
        named = (("labelSelector", read.labels), ("fieldSelector", read.fields), ("limit", str(read.limit or "")))
        query = [(key, value) for key, value in named if value]
    return Request(
        verb="get" if read.name else "list",
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        namespace=read.namespace,
        name=read.name,
        subresource="log" if read.container else "",
        query=tuple(query),
        accept="*/*" if read.container else JSON,
    )


def _keep(collected: _Collected, read: Read, document: dict[str, Any]) -> None:
    if read.name:
        collected.objects[read.ref] = document
        return
    items = document.get("items") or ()
    if read.resource == EVENTS:
        for item in items:
            collected.events[dig(item, "metadata", "uid"), dig(item, "metadata", "name")] = _event(item)
        return
    for item in items:
        metadata = item.get("metadata") or {}
        collected.objects[Ref(read.resource, metadata.get("namespace", ""), metadata.get("name", ""))] = item
    if dig(document, "metadata", "continue"):
        more = dig(document, "metadata", "remainingItemCount")
        collected.could_not(read, f"only the first {len(items)} were read{f', {more} more are there' if more else ''}")
    elif not read.fields:
        collected.complete.add((read.resource, f"{read.namespace}?{read.labels}" if read.labels else read.namespace))


def _event(item: Mapping[str, Any]) -> Event:
    about = item.get("involvedObject") or {}
    path = str(about.get("fieldPath") or "")
    kind = str(about.get("kind") or "")
    series = item.get("series") or {}
    stamps = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    created = dig(item, "metadata", "creationTimestamp")
    return Event(
        about=Ref(KINDS.get(kind, kind.lower()), about.get("namespace", ""), about.get("name", "")),
        uid=str(about.get("uid") or ""),
        warning=item.get("type") != "Normal",
        reason=str(item.get("reason") or ""),
        message=" ".join(str(item.get("message") or "").split()),
        container=path[path.find("{") + 1 : -1] if path.endswith("}") else "",
        count=int(series.get("count") or item.get("count") or 1),
        last=next((moment for stamp in (*stamps, created) if (moment := when(stamp))), None),
    )
