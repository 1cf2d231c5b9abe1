"""Boundary between an object of a manifest and server-side apply (KEP-555): tried, then written as tried."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.access.session import ClusterSession
from gateway.errors import BadArgument, GatewayError, NotOffered, Refused
from gateway.kube.client import Answer
from gateway.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    InvalidToken,
    NotFound,
    ServerFault,
    Throttled,
)
from gateway.redaction.masks import numbered
from gateway.redaction.objects import without_credentials
from gateway.tools.difference import addition, difference, without_noise
from gateway.tools.explain import explain
from gateway.tools.naming import shown
from gateway.tools.shaping import parse
from gateway.tools.targets import Target

_AT_ONCE: Final = 8
"""Documents that are tried at a time."""
_OFF_LOOP: Final = 16 * 1024
"""Bytes of an object from which its difference is made in a thread."""
_SETTLES: Final = 10.0
"""Seconds in which a new kind or namespace becomes usable."""
_PAUSE: Final = 0.1
_MOST_RETRIES: Final = 5


Outcome = Literal["created", "changed", "unchanged"]


@dataclass(frozen=True, slots=True)
class Preview:
    """What applying a document would do; with an `error` it would fail. `live` is None where there is nothing yet."""

    target: Target
    outcome: Outcome = "unchanged"
    lines: tuple[str, ...] = ()
    live: dict[str, Any] | None = field(default=None, repr=False)
    warning: str = ""
    error: GatewayError | None = None

    @property
    def met(self) -> list[Any]:
        """What the word of a person or a plan is about, see `_met`."""
        return _met(self.live)


def _met(live: dict[str, Any] | None) -> list[Any]:
    """Return which object there is, in what state but for its status."""
    return [live["metadata"].get("uid"), without_noise(live)] if live is not None else []


async def preview(session: ClusterSession, targets: Iterable[Target], *, force: bool) -> list[Preview]:
    """Try each target on the server, without writing; what would fail is in its preview.

    Raises:
        ClusterUnavailable: The cluster can't be asked.
        InvalidToken: It no longer accepts the token.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> Preview:
        async with slots:
            try:
                return await _tried(session, target, force=force)
            except InvalidToken:
                raise
            except (ApiError, BadArgument, NotOffered, Refused) as error:
                return Preview(target, error=error)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(target)) for target in targets]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


async def _tried(session: ClusterSession, target: Target, *, force: bool) -> Preview:
    redaction = session.cluster.redaction
    if target.awaits:
        # It is not sent before something else was written, so the policy is asked now.
        session.judge(target.request(force=force, dry_run=False), target.kind)
        return Preview(target, "created", _lines(None, target.document.content, redaction=redaction))
    live = await _live(session, target)
    answer = await session.request(target.request(force=force, dry_run=True), target.kind)
    warning = _warning(answer)
    if live is None:
        return Preview(target, "created", _lines(None, target.document.content, redaction=redaction), warning=warning)
    after = await parse(answer.body)
    if len(answer.body) > _OFF_LOOP:
        lines = await asyncio.to_thread(_lines, live, after, redaction=redaction)
    else:
        lines = _lines(live, after, redaction=redaction)
    return Preview(target, "changed" if lines else "unchanged", lines, live, warning)


def _lines(live: dict[str, Any] | None, after: dict[str, Any], *, redaction: bool) -> tuple[str, ...]:
    """Return the lines that show what changes; credentials have numbers, so that it is seen where one changes."""
    if redaction:
        mask = numbered()
        live = without_credentials(live, mask=mask)
        after = without_credentials(after, mask=mask)
    return tuple(addition(after) if live is None else difference(live, after))


async def _live(session: ClusterSession, target: Target) -> dict[str, Any] | None:
    try:
        return await parse((await session.request(target.reading(), target.kind)).body)
    except NotFound:
        return None


def _warning(answer: Answer) -> str:
    """Return the text of the API server's warning (KEP-1693), such as a deprecation."""
    _, quote, rest = answer.headers.get("warning", "").partition('"')
    return shown(rest.rpartition('"')[0].replace('\\"', '"')[:80]) if quote else ""


async def write(session: ClusterSession, tried: Preview, *, force: bool) -> Outcome:
    """Write what was tried, if the object is still what it was then; wait a moment for a new kind or namespace.

    Raises:
        Unclear: It may have been written.
        GatewayError: It was not written.
    """
    target, live = tried.target, tried.live
    until = asyncio.get_running_loop().time() + _SETTLES
    retries = 0
    while True:
        try:
            answer = await session.request(target.request(force=force, dry_run=False, live=live), target.kind)
        except (NotFound, Throttled, Forbidden) as error:
            if not target.awaits or not _settles(error) or asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(_PAUSE)
        except Conflict as error:
            retries += 1
            if live is None or error.causes or retries > _MOST_RETRIES:
                raise
            # A new resourceVersion may come of a status alone, which nobody was asked about.
            now = await _live(session, target)
            if now is None or _met(now) != _met(live):
                raise
            live = now
        else:
            return "created" if answer.status == _CREATED else "changed"


_CREATED: Final = 201


def _settles(error: ApiError) -> bool:
    return not isinstance(error, Forbidden) or "service account" in error.message


def words(error: GatewayError) -> str:
    """Return why applying a document fails, and what to do about it."""
    said = " ".join(error.message.split()).rstrip(". ")
    match error:
        case Conflict(causes=causes) if causes:
            fields: dict[str, list[str]] = {}
            for cause in causes:
                fields.setdefault(cause.message, []).append(cause.field)
            listed = "; ".join(f"{who} ({', '.join(paths)})" for who, paths in fields.items())
            return f"{listed}. Leave these fields out, or have that manager changed"
        case Conflict():
            return f"it has changed meanwhile ({said}). Look at it again; leave resourceVersion and uid out"
        case ServerFault() if "typed patch object" in said or "not declared in schema" in said:
            return f"it does not fit its kind: {said.partition('): ')[2] or said}"
        case Forbidden() if 'User "' not in said:
            return f"admission refuses it: {said}"
        case Invalid() if "does not support dry run" in said:
            return f"{said}, so the change can't be shown before it is made, and is not made. Tell a person"
        case NotFound() if said.startswith('namespaces "'):
            return f"{said}: correct the namespace, or put a Namespace into the manifest"
        case Invalid():
            return said
        case _:
            return explain(error).rstrip(". ")
