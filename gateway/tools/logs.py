"""Boundary to containers' logs: the last lines that fit, filtered if asked, readable whatever the bytes."""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.clusters.options import ClusterOptions
from gateway.errors import GatewayError
from gateway.kube.errors import Invalid
from gateway.kube.request import Request
from gateway.kube.types import ResourceType
from gateway.redaction.text import spoken
from gateway.redaction.visible import visible
from gateway.tools.pods import PodRef, containers_of, default_container, pod_of, read_pod
from gateway.tools.shaping import fenced
from gateway.tools.tool import Arguments

DEFAULT_LINES: Final = 100
DEFAULT_BYTES: Final = 32 * 1024
MOST_BYTES: Final = 1024 * 1024
"""Bytes of the largest answer that can be asked for."""
_READ: Final = 4 * 1024 * 1024
"""Bytes read of a log before it is filtered and cut."""
_OFF_LOOP: Final = 256 * 1024
"""Bytes from which a log is filtered and cut in a thread."""
_GREP_LINES: Final = 20_000
"""Last lines that are searched when the caller filters without saying how many."""
_ALL: Final = "*"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class LogParameters(Arguments):
    """What part of a log; times as in the Kubernetes API, sizes in bytes."""

    container: Annotated[str | None, Field(description="* for all")] = None
    previous: Annotated[bool, Field(description="of the container before its last restart")] = False
    since_seconds: Annotated[int | None, Field(ge=1)] = None
    since_time: str | None = None
    timestamps: bool = False
    limit_bytes: Annotated[int, Field(ge=1)] = DEFAULT_BYTES
    tail_lines: Annotated[int, Field(ge=1)] = DEFAULT_LINES
    grep: Annotated[str | None, Field(max_length=400, description="text to find, any case; a|b for either")] = None
    context: Annotated[int, Field(ge=0, le=50, description="lines around each match")] = 0


class NoLog(GatewayError):
    """There is no such log (yet, or any more); the text says why."""

    outcome = "not_found"


@dataclass(frozen=True, slots=True)
class _Part:
    """The kept lines of one container's log: of how many read, and how many matching ones."""

    lines: list[str]
    kept: int
    found: int
    matching: int
    read: int

    def said(self, parameters: LogParameters) -> str:
        if not self.read:
            return "empty: nothing was written, or the container has not started"
        if parameters.grep:
            if not self.matching:
                return f"none of the last {self.read} lines matches {parameters.grep[:80]!r}"
            said = f"{self.matching} of the last {self.read} lines match"
            around = f", with {parameters.context} around each" if parameters.context else ""
            return f"{said}{around}{f'; the last {self.kept} lines of that' if self.kept < self.found else ''}"
        more = self.kept < self.read or self.read >= parameters.tail_lines
        return f"last {self.kept} lines{'; raise tailLines or limitBytes for more' if more else ''}"


async def read_log(
    session: ClusterSession, kind: ResourceType, namespace: str, name: str, parameters: LogParameters
) -> str:
    """Return the last lines of a pod's log, at most `tailLines` of them and `limitBytes` bytes.

    A workload stands for its newest pod. Without a container it is kubectl's choice; `*` gives each a part.

    Raises:
        BadArgument: The kind has no pods.
        NotOffered: The workload has none.
        NoLog: Nothing was logged that could be read.
    """
    pod = await pod_of(session, kind, namespace, name)
    chosen = f" ({pod.chosen})" if pod.chosen else ""
    head = f"cluster {session.cluster.shown} · log of pod {pod.namespace}/{pod.name}{chosen}"
    before = " (before its last restart)" if parameters.previous else ""
    limit = min(parameters.limit_bytes, MOST_BYTES)
    if parameters.container == _ALL:
        names = containers_of(await read_pod(session, pod))
        sections = await asyncio.gather(
            *(_section(session, pod, each, parameters, limit // len(names)) for each in names)
        )
        return "\n".join([f"{head}, each of {len(names)} containers{before}", *sections])
    container, others = parameters.container or "", ""
    try:
        part = await _read(session, pod, container, parameters, limit)
    except Invalid as error:
        if container or "a container name must be specified" not in error.message:
            raise _no_log(error) from error
        found = await read_pod(session, pod)
        container = default_container(found)
        others = f" (of {', '.join(containers_of(found))}; * for all)"
        part = await _read(session, pod, container, parameters, limit)
    which = f" container {container}{others}" if container else ""
    return fenced(f"{head}{which}{before} · {part.said(parameters)}", part.lines)


async def _section(session: ClusterSession, pod: PodRef, container: str, parameters: LogParameters, limit: int) -> str:
    try:
        part = await _read(session, pod, container, parameters, limit)
    except (Invalid, NoLog) as error:
        return f"--- {container} · no log: {error.message[:300]}"
    return fenced(f"--- {container} · {part.said(parameters)}", part.lines)


def _no_log(error: Invalid) -> GatewayError:
    """Say what to do about a log that is not there, which is no mistake in the request."""
    said = error.message.rstrip(". \n")
    if "is waiting to start" in said:
        return NoLog(f"No log: {said}. Read the pod for the reason, or its log with previous=true if it restarted.")
    if "previous terminated container" in said:
        return NoLog(f"No log: {said}, so it has not restarted. Call again without `previous`.")
    return error


async def _read(session: ClusterSession, pod: PodRef, container: str, parameters: LogParameters, limit: int) -> _Part:
    tail = max(parameters.tail_lines, _GREP_LINES) if parameters.grep else parameters.tail_lines
    body = await _body(session, pod, container, parameters, tail := min(tail, _GREP_LINES))
    while len(body) >= _READ and tail > 1:
        # An API server counts limitBytes from the oldest line on, so what is missing is the newest.
        body = await _body(session, pod, container, parameters, tail := max(tail // 4, 1))
    if parameters.previous and body.startswith(b"unable to retrieve container logs for "):
        raise NoLog("The log from before the last restart has been removed from the node. Call without `previous`.")
    if len(body) > _OFF_LOOP:
        return await asyncio.to_thread(_part, body, parameters, limit, session.cluster)
    return _part(body, parameters, limit, session.cluster)


async def _body(session: ClusterSession, pod: PodRef, container: str, parameters: LogParameters, tail: int) -> bytes:
    request = Request(
        verb="get",
        group="",
        version="v1",
        resource="pods",
        namespace=pod.namespace,
        name=pod.name,
        subresource="log",
        query=_query(container, parameters, tail),
        accept="*/*",
    )
    return (await session.request(request, pod.kind, max_bytes=_READ + 65536)).body


def _query(container: str, parameters: LogParameters, tail: int) -> tuple[tuple[str, str], ...]:
    # The caller's own limitBytes would be cut inside a line; so more is read and cut here.
    query = {"tailLines": str(tail), "limitBytes": str(_READ)}
    if container:
        query["container"] = container
    if parameters.previous:
        query["previous"] = "true"
    if parameters.timestamps:
        query["timestamps"] = "true"
    if parameters.since_time:
        query["sinceTime"] = parameters.since_time
    elif parameters.since_seconds:
        query["sinceSeconds"] = str(parameters.since_seconds)
    return tuple(query.items())


def _part(body: bytes, parameters: LogParameters, limit: int, cluster: ClusterOptions) -> _Part:
    text = _COLOURS.sub("", body.decode("utf-8", "backslashreplace")).replace("\r\n", "\n")
    if cluster.redaction:
        # Before anything is looked for in it: what matches must not tell what is masked.
        text = spoken(text)
    lines = visible(text).split("\n")
    if not lines[-1]:
        lines.pop()
    read = matching = len(lines)
    if parameters.grep:
        lines, matching = _matching(lines, parameters.grep, parameters.context)
    kept = _last(lines, limit, parameters.tail_lines)
    return _Part(kept, len(kept), len(lines), matching, read)


def _matching(lines: list[str], grep: str, context: int) -> tuple[list[str], int]:
    """Return the matching lines, each with so many around it and a `--` between parts, and how many match."""
    wanted = {part for part in grep.lower().split("|") if part}
    matches = [at for at, line in enumerate(map(str.lower, lines)) if any(part in line for part in wanted)]
    if not context:
        return [lines[at] for at in matches], len(matches)
    kept: list[str] = []
    end = 0
    for at in matches:
        begin = max(at - context, end)
        if kept and begin > end:
            kept.append("--")
        kept += lines[begin : max(at + context + 1, begin)]
        end = max(min(at + context + 1, len(lines)), end)
    return kept, len(matches)


def _last(lines: list[str], limit: int, count: int) -> list[str]:
    kept: list[str] = []
    for line in reversed(lines[-count:]):
        limit -= len(line.encode()) + 1
        if limit < 0:
            if not kept:
                kept.append(line.encode()[: limit + len(line.encode())].decode("utf-8", "ignore") + " …[line cut]")
            break
        kept.append(line)
    return kept[::-1]
