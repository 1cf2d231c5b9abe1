"""The tool `diagnose`: what is wrong with an object, a namespace or the cluster, the cause first."""

import asyncio
from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.discovery.resolve import One, resolve
from gateway.errors import BadArgument, NotOffered
from gateway.tools.diagnose import report
from gateway.tools.diagnose.facts import NAMESPACES, Ref
from gateway.tools.diagnose.families import ALL
from gateway.tools.diagnose.gather import gather
from gateway.tools.diagnose.judge import judge
from gateway.tools.diagnose.links import is_wide
from gateway.tools.diagnose.state import last_change, state_of
from gateway.tools.naming import namespace_of, resource_type, shown
from gateway.tools.tool import Arguments, Tool

_ROOM: Final = 512
"""Bytes of the answer's budget kept for what surrounds it."""


class DiagnoseArguments(Arguments):
    """Arguments of `diagnose`."""

    resource: Annotated[str | None, Field(description="kind, plural, short name, or kind/name")] = None
    name: str | None = None
    namespace: Annotated[str | None, Field(description="alone: the whole namespace; nothing at all: the cluster")] = (
        None
    )
    detail: bool = False
    output: Literal["text", "json"] = "text"


async def diagnose(session: ClusterSession, arguments: DiagnoseArguments) -> str:
    """Read what belongs to the target, judge it, and say the cause first."""
    target, spent = await _target(session, arguments)
    gathered = await gather(session, target, spent=spent)
    facts = gathered.facts
    # Thousands of objects take tenths of a second, in which other callers must not wait.
    findings = await asyncio.to_thread(judge, facts, ALL) if is_wide(target) else judge(facts, ALL)
    extra = {key: value for key, value in (("state", state_of(facts)), ("changed", last_change(facts))) if value}
    limit = session.cluster.limits.answer_bytes - _ROOM
    if not arguments.detail:
        limit = min(limit, report.BYTES)
    if arguments.output == "json":
        return report.as_data(session.cluster.name, gathered, findings, extra, limit=limit)
    manner = report.DETAILED if arguments.detail else report.SHORT
    return report.text(session.cluster.shown, gathered, findings, extra, manner=manner, limit=limit)


async def _target(session: ClusterSession, arguments: DiagnoseArguments) -> tuple[Ref, int]:
    """Return what is meant, and how many requests it took to find out."""
    typed, name = await _kind_and_name(session, arguments)
    if typed is None:
        if name:
            raise BadArgument("resource is missing: say what kind of object the name is of, such as deployment or pod.")
        return Ref(NAMESPACES, "", arguments.namespace or ""), 0
    kind = await resource_type(session, typed)
    if not name:
        if kind.namespaced or kind.plural not in {"namespaces", "nodes"}:
            return Ref(NAMESPACES, "", arguments.namespace or ""), 0
        return Ref(NAMESPACES, "", (arguments.namespace or "") if kind.plural == "namespaces" else ""), 0
    namespace = await namespace_of(session, kind, name, arguments.namespace)
    return Ref(kind.qualified, namespace, name), int(kind.namespaced and not arguments.namespace)


async def _kind_and_name(session: ClusterSession, arguments: DiagnoseArguments) -> tuple[str | None, str | None]:
    """Read `deploy/web`, which people also type, as kind and name."""
    for typed in (arguments.resource, arguments.name):
        kind, slash, name = (typed or "").partition("/")
        if not slash or "/" in name or (typed == arguments.resource and arguments.name):
            continue
        catalog = await session.catalog()
        if isinstance(resolve(catalog, kind), One) and not isinstance(resolve(catalog, str(typed)), One):
            return kind, name
        if typed == arguments.name:
            raise NotOffered(f"{shown(str(typed))!r} is no name. Give resource and name apart.")
    return arguments.resource, arguments.name


TOOL = Tool(
    name="diagnose",
    title="Say what is wrong",
    description=(
        "What is wrong with an object, a namespace or the cluster: the cause first, its evidence, the next step. "
        "Ask this before reading logs and events by hand."
    ),
    arguments=DiagnoseArguments,
    run=diagnose,
)
