"""Boundary to containers' logs: the last lines that fit, filtered if asked, readable whatever the bytes."""

from typing import Annotated, Final

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.errors import BadArgument
from gateway.kube.request import Request
from gateway.kube.types import ResourceType
from gateway.tools.tool import Arguments

DEFAULT_LINES: Final = 100
DEFAULT_BYTES: Final = 32 * 1024
_MOST_BYTES: Final = 1024 * 1024
_READ: Final = 4 * 1024 * 1024
"""Bytes read of a log before it is filtered and cut."""
_GREP_LINES: Final = 20_000
"""Last lines that are searched when the caller filters without saying how many."""


class LogParameters(Arguments):
    """What part of a log; times as in the Kubernetes API, sizes in bytes."""

    container: str | None = None
    previous: Annotated[bool, Field(description="of the container before its last restart")] = False
    since_seconds: Annotated[int | None, Field(ge=1)] = None
    since_time: str | None = None
    timestamps: bool = False
    limit_bytes: Annotated[int, Field(ge=1)] = DEFAULT_BYTES
    tail_lines: Annotated[int, Field(ge=1)] = DEFAULT_LINES
    grep: Annotated[str | None, Field(description="text to find, any case; a|b for either")] = None


async def read_log(
    session: ClusterSession, kind: ResourceType, namespace: str, name: str, parameters: LogParameters
) -> str:
    """Return the last lines of a pod's log, at most `tailLines` of them and `limitBytes` bytes.

    Raises:
        BadArgument: The kind has no log.
    """
    if kind.group or kind.plural != "pods":
        message = f"{kind.plural} have no log of their own. List their pods, then read a pod's logs."
        raise BadArgument(message)
    request = Request(
        verb="get",
        group="",
        version="v1",
        resource="pods",
        namespace=namespace,
        name=name,
        subresource="log",
        query=_query(parameters),
        accept="*/*",
    )
    answer = await session.request(request, kind, max_bytes=_READ + 65536)
    lines = answer.body.decode("utf-8", "backslashreplace").splitlines()
    read = len(lines)
    if parameters.grep:
        wanted = [part for part in parameters.grep.lower().split("|") if part]
        lines = [line for line in lines if any(part in line.lower() for part in wanted)]
    kept = _last(lines, min(parameters.limit_bytes, _MOST_BYTES), parameters.tail_lines)
    return "\n".join([_head(session, f"{namespace}/{name}", parameters, (read, len(lines), len(kept))), *kept])


def _query(parameters: LogParameters) -> tuple[tuple[str, str], ...]:
    # An API server cuts limitBytes from the front of the tail, and inside a line; so more is read and cut here.
    tail = max(parameters.tail_lines, _GREP_LINES) if parameters.grep else parameters.tail_lines
    query = {"tailLines": str(min(tail, _GREP_LINES)), "limitBytes": str(_READ)}
    if parameters.container:
        query["container"] = parameters.container
    if parameters.previous:
        query["previous"] = "true"
    if parameters.timestamps:
        query["timestamps"] = "true"
    if parameters.since_time:
        query["sinceTime"] = parameters.since_time
    elif parameters.since_seconds:
        query["sinceSeconds"] = str(parameters.since_seconds)
    return tuple(query.items())


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


def _head(session: ClusterSession, pod: str, parameters: LogParameters, counts: tuple[int, int, int]) -> str:
    read, matching, kept = counts
    which = f" container {parameters.container}" if parameters.container else ""
    before = " (before its last restart)" if parameters.previous else ""
    head = f"cluster {session.cluster.shown} · log of pod {pod}{which}{before}"
    if not read:
        return f"{head} · empty: nothing was written, or the container has not started"
    if parameters.grep:
        if not matching:
            return f"{head} · none of the last {read} lines matches {parameters.grep[:80]!r}"
        return f"{head} · {kept} of {matching} matching lines, of the last {read}"
    more = "; raise tailLines or limitBytes for more" if kept < read or read >= parameters.tail_lines else ""
    return f"{head} · last {kept} lines{more}"
