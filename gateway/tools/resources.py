"""Boundary between `k8s://` URIs and objects: MCP's resources as functions, with the tools' own rules and shapes.

Two templates (RFC 6570) name every object; the core group is `core` there. What is restricted does not exist here.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from gateway.access.session import ClusterSession
from gateway.discovery.catalog import Catalog
from gateway.discovery.resolve import by_resource
from gateway.errors import BadArgument, ClusterUnavailable, GatewayError, NotOffered
from gateway.kube.errors import Expired, InvalidToken, Throttled
from gateway.kube.request import JSON, METADATA_LIST, Request, by_name
from gateway.kube.types import ResourceType
from gateway.kube.uris import CLUSTERED, NAMESPACED, joined, split
from gateway.kube.watch import Events, Listed, follow
from gateway.redaction.objects import without_credentials
from gateway.tools.naming import shown
from gateway.tools.shaping import as_json, fitted, parse, trimmed

MIME_TYPE: Final = "application/json"
TEMPLATES: Final = (
    ("object", "Object in a namespace", NAMESPACED),
    ("cluster-object", "Object in no namespace", CLUSTERED),
)
"""Name, title and URI template of each way to name an object."""

PAGE: Final = 100
"""Resources on one page of the listing."""
_REQUESTS: Final = 16
"""Requests that one page may take: kinds without objects, or not to be read, would else make it slow."""
_METADATA: Final = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
_WATCH_SECONDS: Final = 600
"""How long one watch goes on before it is opened anew, with a client that may be newer."""

Sessions = Callable[[], AbstractAsyncContextManager[ClusterSession]]


@dataclass(frozen=True, slots=True)
class Target:
    """The object that a URI names, which may or may not exist."""

    kind: ResourceType
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a cluster's objects, and where the next page begins, or an empty string."""

    items: tuple[Target, ...]
    cursor: str


def uri_of(target: Target) -> str:
    """Spell the URI of an object."""
    kind = target.kind
    within = ("namespaced", target.namespace) if target.namespace else ("clustered",)
    return joined(*within, kind.group or "core", kind.version, kind.plural, target.name)


async def target_of(session: ClusterSession, uri: str) -> Target:
    """Find what a URI names on this cluster.

    Raises:
        BadArgument: It is not of either template.
        NotOffered: The cluster serves no such kind.
    """
    scope, *parts = split(uri) or ("",)
    expected = {"namespaced": 5, "clustered": 4}.get(scope)
    if expected != len(parts) or not all(parts):
        message = f"No such resource: a URI here is {NAMESPACED} or {CLUSTERED}, with `core` for the core group."
        raise BadArgument(message)
    namespace = parts.pop(0) if scope == "namespaced" else ""
    group, version, plural, name = parts
    group = "" if group == "core" else group
    kind = by_resource(await session.catalog(), group, version, plural)
    # It may be younger than the catalog: look once more.
    kind = kind or by_resource(await session.catalog(refresh=True), group, version, plural)
    if kind is None:
        message = (
            f"Cluster {session.cluster.shown} serves no {shown(plural)} in {shown(group or 'core')}/{shown(version)}."
        )
        raise NotOffered(message)
    if kind.namespaced != bool(namespace):
        message = (
            f"{kind.qualified} is {'in namespaces' if kind.namespaced else 'in no namespace'}: use the other template."
        )
        raise BadArgument(message)
    return Target(kind, namespace, name)


async def read(session: ClusterSession, uri: str) -> str:
    """Return the object as `resource_get` with output=json does: trimmed, compact and within the answer's budget.

    Raises:
        GatewayError: It can't be read; see `target_of`.
    """
    target = await target_of(session, uri)
    document = await parse((await session.request(_request("get", target), target.kind)).body)
    document = trimmed(document, annotations=False)
    if session.cluster.redaction:
        document = without_credentials(document)
    document, cut = fitted(document, session.cluster.limits.answer_bytes - 512)
    return as_json({"cluster": session.cluster.name, **({"cut": True} if cut else {}), "object": document})


async def changes(sessions: Sessions, uri: str) -> AsyncGenerator[None, None]:
    """Yield once when the object is watched, and then after each change of it, its coming and going included.

    A session is held for as long as one watch goes on, not for all of them.

    Raises:
        GatewayError: It can't be watched, or not any longer.
    """
    async with sessions() as session:
        target = await target_of(session, uri)

    async def listed() -> Listed:
        async with sessions() as session:
            request = _request("list", target, accept=METADATA_LIST)
            document = await parse((await session.request(request, target.kind)).body)
        return Listed(document.get("items") or (), (document.get("metadata") or {}).get("resourceVersion") or "")

    @asynccontextmanager
    async def watched(version: str) -> AsyncIterator[Events]:
        wish = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        request = _request("watch", target, accept=_METADATA, **wish, timeoutSeconds=str(_WATCH_SECONDS))
        async with sessions() as session, session.watch(request, target.kind) as events:
            yield events

    before: dict[str, str] | None = None
    async with aclosing(follow(listed, watched, _version)) as views:
        async for view in views:
            now = dict(view.objects)
            if now != before:
                yield
            before = now


def _version(item: dict[str, Any]) -> str:
    return str((item.get("metadata") or {}).get("resourceVersion"))


def _request(verb: Literal["get", "list", "watch"], target: Target, accept: str = JSON, **query: str) -> Request:
    kind = target.kind
    named = verb == "get"
    if not named and target.name:
        query |= (by_name(target.name),)
    return Request(
        verb=verb,
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        namespace=target.namespace,
        name=target.name if named else "",
        query=tuple(query.items()),
        accept=accept,
    )


async def permitted_namespaces(session: ClusterSession) -> list[str]:
    """Return the namespaces that the policy lets callers use: those it names, or those of the cluster it does not deny.

    Raises:
        ApiError: The cluster's namespaces can't be listed.
    """
    rules = session.cluster.policy.namespaces
    if rules.allow:
        return sorted(rules.allow - rules.deny)
    kind = by_resource(await session.catalog(), "", "v1", "namespaces")
    if kind is None:
        return []
    names, _ = await names_of(session, kind, "")
    return [name for name in names if name not in rules.deny]


async def names_of(session: ClusterSession, kind: ResourceType, namespace: str) -> tuple[list[str], bool]:
    """Return the names of a kind's first objects, and whether there are more.

    Raises:
        GatewayError: They can't be listed.
    """
    request = _request("list", Target(kind, namespace, ""), accept=METADATA_LIST, limit="500")
    document = await parse((await session.request(request, kind)).body)
    names = dict.fromkeys(item["metadata"]["name"] for item in document.get("items") or ())
    return list(names), bool((document.get("metadata") or {}).get("continue"))


async def page(session: ClusterSession, cursor: str) -> Page:
    """Return one page of all that can be listed and read, kind by kind in the server's order.

    Kinds that the token may not list, or whose own API server fails, are left out.

    Raises:
        BadArgument: The cursor is of another listing.
        GatewayError: The cluster can't be asked, or the page has lapsed.
    """
    steps = await _steps(session, await session.catalog())
    start, following = _start(steps, cursor)
    found: list[Target] = []
    for requests, index in enumerate(range(start, len(steps))):
        kind, namespace = steps[index]
        if requests == _REQUESTS or len(found) >= PAGE:
            return Page(tuple(found), _cursor(steps[index], following))
        items, following = await _some(session, kind, namespace, following, PAGE - len(found))
        found += items
        if following:
            return Page(tuple(found), _cursor(steps[index], following))
    return Page(tuple(found), "")


Step = tuple[ResourceType, str]


async def _steps(session: ClusterSession, catalog: Catalog) -> list[Step]:
    rules = session.cluster.policy.namespaces
    names = await permitted_namespaces(session) if rules.allow or rules.deny else [""]
    kinds = [kind for kind in catalog.preferred if {"get", "list"} <= kind.verbs]
    return [(kind, namespace) for kind in kinds for namespace in (names if kind.namespaced else [""])]


def _cursor(step: Step, following: str) -> str:
    kind, namespace = step
    return orjson.dumps([kind.group, kind.plural, namespace, following]).decode()


def _start(steps: list[Step], cursor: str) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    group, plural, namespace, following = orjson.loads(cursor)
    for index, (kind, listed) in enumerate(steps):
        if (kind.group, kind.plural, listed) == (group, plural, namespace):
            return index, following
    message = "The listing has changed since. List again without a cursor."
    raise BadArgument(message)


async def _some(
    session: ClusterSession, kind: ResourceType, namespace: str, following: str, limit: int
) -> tuple[Iterable[Target], str]:
    query = {"limit": str(limit), **({"continue": following} if following else {})}
    request = _request("list", Target(kind, namespace, ""), accept=METADATA_LIST, **query)
    try:
        document = await parse((await session.request(request, kind)).body)
    except (ClusterUnavailable, Expired, InvalidToken, Throttled):
        raise
    except GatewayError:
        return (), ""
    items = [
        Target(kind, item["metadata"].get("namespace") or "", item["metadata"]["name"])
        for item in document.get("items") or ()
    ]
    return items, (document.get("metadata") or {}).get("continue") or ""
