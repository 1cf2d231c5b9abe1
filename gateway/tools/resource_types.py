"""The tool `resource_types`: what a cluster serves, short."""

from typing import Annotated, Final

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.kube.types import ResourceType
from gateway.tools.shaping import whole_lines
from gateway.tools.tool import Arguments, Tool

_READABLE: Final = frozenset({"get", "list"})
"""A type with neither, such as a review, is nothing that the other tools could do anything with."""


class TypesArguments(Arguments):
    """Arguments of `resource_types`."""

    group: Annotated[str | None, Field(description='API group; "core" for v1')] = None
    namespaced: bool | None = None
    query: Annotated[str | None, Field(description="part of a name")] = None


async def resource_types(session: ClusterSession, arguments: TypesArguments) -> str:
    """List the served types that match, one a line, the preferred version of each."""
    catalog = await session.catalog()
    preferred = [kind for kind in catalog.preferred if kind.verbs & _READABLE]
    matching = [kind for kind in preferred if _matches(kind, arguments)]
    lines, cut = whole_lines(map(_line, matching), session.cluster.limits.answer_bytes - 400)
    head = f"cluster {session.cluster.shown} · {len(matching)} of {len(preferred)} resource types"
    if not matching:
        head += ". None matches: call again with a shorter query or without group."
    if cut:
        head += f", first {len(lines)} shown: narrow with group or query"
    if catalog.broken:
        head += f"\nunavailable now (their API servers do not answer): {', '.join(catalog.broken)}"
    columns = "resource\tapiVersion\tkind\tscope\tshort" if lines else ""
    return "\n".join(part for part in (head, columns, *lines) if part)


def _matches(kind: ResourceType, arguments: TypesArguments) -> bool:
    group = None if arguments.group is None else arguments.group.lower()
    if group is not None and kind.group != ("" if group in {"core", "v1"} else group):
        return False
    if arguments.namespaced is not None and kind.namespaced != arguments.namespaced:
        return False
    query = (arguments.query or "").lower()
    return any(query in name.lower() for name in (kind.qualified, kind.kind, *kind.short_names, *kind.categories))


def _line(kind: ResourceType) -> str:
    scope = "namespaced" if kind.namespaced else "cluster"
    return f"{kind.plural}\t{kind.api_version}\t{kind.kind}\t{scope}\t{','.join(kind.short_names)}".rstrip()


TOOL = Tool(
    name="resource_types",
    title="Resource types",
    description="Kinds this cluster serves, CRDs included. Use it when unsure of a kind's name.",
    arguments=TypesArguments,
    run=resource_types,
)
