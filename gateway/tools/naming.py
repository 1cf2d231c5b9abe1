"""Boundary between what people type for a kind or leave out of a name and the one object that is meant."""

from gateway.access.questions import Question
from gateway.access.session import ClusterSession
from gateway.discovery.resolve import One, Several, Unknown, resolve
from gateway.errors import BadArgument, NotOffered
from gateway.kube.errors import Forbidden
from gateway.kube.paths import segment
from gateway.kube.request import METADATA_LIST, Request
from gateway.kube.types import ResourceType
from gateway.tools.shaping import parse

_LOOK_FOR = 20
"""Namespaces that are looked at when an object is searched by its name alone."""


async def resource_type(session: ClusterSession, typed: str) -> ResourceType:
    """Return the one type that `typed` means on this cluster; where several could be meant, the person is asked.

    Raises:
        BadArgument: Several are meant and nobody could be asked.
        NotOffered: None is; the text names the nearest.
    """
    match = resolve(await session.catalog(), typed)
    if isinstance(match, Unknown):
        # It may be younger than the catalog: look once more.
        match = resolve(await session.catalog(refresh=True), typed)
    match match:
        case One(kind):
            return kind
        case Several(candidates):
            return _chosen(session, typed, candidates)
        case Unknown(nearest):
            names = ", ".join(kind.qualified for kind in nearest)
            hint = f"Did you mean {names}?" if names else "Call resource_types to see what it serves."
            message = f"Cluster {session.cluster.shown} serves no {shown(typed)!r}. {hint}"
            raise NotOffered(message)


def _chosen(session: ClusterSession, typed: str, candidates: tuple[ResourceType, ...]) -> ResourceType:
    by_name = {kind.qualified: kind for kind in candidates}
    question = Question("resource", f"{shown(typed)!r} can mean several kinds. Which one?", tuple(by_name))
    if (answer := session.answers.ask(question)) is not None:
        return by_name[answer]
    message = f"{shown(typed)!r} can mean {', '.join(by_name)}. Call again with one of these."
    raise BadArgument(message)


def shown(typed: str) -> str:
    """Return what was typed, short and printable, for a sentence about it."""
    return "".join(c if c.isprintable() else "?" for c in typed[:80])


async def namespace_of(session: ClusterSession, kind: ResourceType, name: str, namespace: str | None) -> str:
    """Return the namespace to use for one named object: the one given, none, or the one the object is found in.

    Raises:
        BadArgument: It is in several, and nobody could be asked; or it must be named.
        NotOffered: It is in none.
    """
    if not kind.namespaced:
        return ""
    if namespace:
        return namespace
    found = await _namespaces_with(session, kind, name)
    if len(found) == 1:
        return found[0]
    if not found:
        message = (
            f"No namespace of cluster {session.cluster.shown} has {kind.plural} {shown(name)!r}. "
            f"Call resource_list with resource={kind.qualified} to see the names."
        )
        raise NotOffered(message)
    question = Question("namespace", f"{kind.kind} {shown(name)} exists in several namespaces. Which one?", found)
    if (answer := session.answers.ask(question)) is not None:
        return answer
    message = f"{kind.kind} {shown(name)} is in several namespaces: {', '.join(found)}. Call again with one of them."
    raise BadArgument(message)


async def _namespaces_with(session: ClusterSession, kind: ResourceType, name: str) -> tuple[str, ...]:
    request = Request(
        verb="list",
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        query=(("fieldSelector", f"metadata.name={_escaped(name)}"), ("limit", str(_LOOK_FOR))),
        accept=METADATA_LIST,
    )
    segment(name, "name")
    try:
        answer = await session.request(request, kind)
    except (Forbidden, BadArgument) as error:
        message = f"Name the namespace of {kind.kind} {shown(name)}: the token may not look through all of them."
        raise BadArgument(message) from error
    document = await parse(answer.body)
    return tuple(item["metadata"]["namespace"] for item in document.get("items") or ())


def _escaped(value: str) -> str:
    """Return a value as field selectors have it (k8s.io/apimachinery, fields.EscapeValue)."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
