"""The tool `resource_apply`: server-side apply of a manifest, seen and confirmed before anything is written."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, StringConstraints, WithJsonSchema

from gateway.access.confirmation import Confirmation, Proposal, WouldFail
from gateway.access.outgoing import Unclear
from gateway.access.session import ClusterSession
from gateway.errors import BadArgument, GatewayError, Refused
from gateway.kube.errors import Conflict, Invalid, NotFound, ServerFault
from gateway.tools.applying import Outcome, Preview, preview, words, write
from gateway.tools.difference import fitting
from gateway.tools.manifests import parse_manifest
from gateway.tools.targets import CRD, NAMESPACE, Target, targets_of
from gateway.tools.tool import Arguments, Tool

NAME: Final = "resource_apply"
_TRYING: Final = 45.0
"""Seconds for trying everything."""
_WRITING: Final = 60.0
"""Seconds for writing everything; what was not begun by then is left."""
_SECONDS: Final = 120.0
_QUESTION: Final = 2400
"""Bytes of difference that a person is shown: about two screens."""
_QUESTION_PARTS: Final = 20
_REQUESTS: Final = 4
"""Requests to the API server that a document may take: it is read, tried and written, and some are so twice."""
_HEAD: Final = 1024
"""Bytes kept free for what is around the difference."""


class ApplyArguments(Arguments):
    """Arguments of `resource_apply`."""

    manifest: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=False, max_length=8 * 1024 * 1024)]
        | Annotated[dict[str, Any], WithJsonSchema({"type": "object"})],
        Field(description="YAML, several documents allowed, or one object"),
    ]
    namespace: Annotated[str | None, Field(description="for objects that name none")] = None
    dry_run: Annotated[bool, Field(description="only show the difference")] = False
    force: Annotated[bool, Field(description="take over fields of other managers")] = False
    plan: Annotated[str | None, Field(description="from the first call, if it gave one")] = None


class PartlyApplied(GatewayError):
    """Some of the manifest was written, or may have been; the text says exactly what."""

    outcome = "partial"


@dataclass(frozen=True, slots=True)
class ApplyTool:
    """`resource_apply` with what confirms it."""

    confirmation: Confirmation

    async def run(self, session: ClusterSession, arguments: ApplyArguments) -> str:
        """Try each document, show the difference, and write after the word that the policy wants."""
        force = arguments.force
        if force and not session.cluster.policy.force:
            raise Refused(
                "The gateway's policy for this cluster does not allow force. Call again without it to see which "
                "manager owns which field. Nothing was written."
            )
        documents = await asyncio.to_thread(parse_manifest, arguments.manifest)
        most = session.cluster.limits.requests_per_call // _REQUESTS
        if len(documents) > most:
            raise BadArgument(
                f"The manifest has {len(documents)} documents, and {most} can be applied in one call to this cluster. "
                "Apply it in parts. Nothing was written."
            )
        targets, note = await targets_of(session, documents, arguments.namespace)
        previews = await _previews(session, targets, force=force)
        view = _View(session, previews, note)
        if arguments.dry_run:
            return view.text("Nothing was written: this was a dry run.")
        if all(each.outcome == "unchanged" for each in previews):
            return view.text("")
        proposal = Proposal(
            NAME,
            asked=_canonical([force, [[each.named, each.document.content] for each in targets]]),
            met=_canonical([each.met for each in previews]),
            message=view.question(force=force),
            done="written",
        )
        verdict = await self.confirmation.ask(session, proposal, arguments.plan)
        if not verdict.go:
            return view.text(verdict.text)
        written = await _write(session, previews, force=force)
        return _View(session, written, note).text("", written=True, whole=not verdict.shown)


def _canonical(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


async def _previews(session: ClusterSession, targets: Sequence[Target], *, force: bool) -> list[Preview]:
    """Try everything, in the order in which it would be written.

    Raises:
        GatewayError: Something would fail; nothing was written.
    """
    first = [each for key in (NAMESPACE, CRD) for each in targets if each.key == key]
    try:
        async with asyncio.timeout(_TRYING):
            previews = await preview(session, first, force=force)
            new = {(each.target.key, each.target.document.name) for each in previews if each.outcome == "created"}
            changed = {each.target.document.name for each in previews if each.outcome != "unchanged"}
            rest = [
                replace(each, awaits=each.awaits or "this manifest brings its namespace")
                if (NAMESPACE, each.namespace) in new
                else each
                for each in targets
                if each.key not in {NAMESPACE, CRD}
            ]
            tried = await preview(session, rest, force=force)
            # What does not fit a kind as it is may fit it as this manifest makes it.
            again = [
                replace(each.target, awaits="this manifest changes its kind")
                for each in tried
                if isinstance(each.error, ServerFault | Invalid | NotFound)
                and f"{each.target.kind.plural}.{each.target.kind.group}" in changed
            ]
            redone = {id(each.target.document): each for each in await preview(session, again, force=force)}
            previews += [redone.get(id(each.target.document), each) for each in tried]
    except TimeoutError as error:
        raise GatewayError(
            f"Trying the documents took over {_TRYING:g} s. Nothing was written. Apply fewer at a time."
        ) from error
    failing = [each for each in previews if each.error is not None]
    if failing:
        lines = [
            f"{each.target.named} ({each.target.document.where}): {words(each.error)}."
            for each in failing[:10]
            if each.error is not None
        ]
        if session.cluster.policy.force and any(isinstance(each.error, Conflict) for each in failing):
            lines.append("With force=true conflicting fields are taken over; ask a person before that.")
        count = f"{len(failing)} of {len(previews)} documents would fail"
        raise WouldFail("\n".join([f"cluster {session.cluster.shown} · nothing was written: {count}", *lines]))
    return previews


async def _write(session: ClusterSession, previews: Sequence[Preview], *, force: bool) -> list[Preview]:
    """Write what was tried, in order, up to the first failure; return it with what really became of it.

    Raises:
        PartlyApplied: Not everything was written.
    """
    due = [each for each in previews if each.outcome != "unchanged"]
    done: list[Preview] = []
    deadline = asyncio.get_running_loop().time() + _WRITING
    for number, each in enumerate(due):
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await write(session, each, force=force)
        except (GatewayError, TimeoutError) as error:
            raise _stopped(session, done, each, error, due[number + 1 :]) from error
        finally:
            if each.target.key == CRD:
                session.renew_catalog()
        done.append(replace(each, outcome=outcome, target=replace(each.target, awaits="")))
        await session.report(number + 1, len(due), _title(done[-1]))
    return [*done, *(each for each in previews if each.outcome == "unchanged")]


def _stopped(
    session: ClusterSession,
    done: Sequence[Preview],
    at: Preview,
    error: GatewayError | TimeoutError,
    rest: Sequence[Preview],
) -> PartlyApplied:
    unknown = isinstance(error, TimeoutError | Unclear)
    why = "no answer in time" if isinstance(error, TimeoutError) else words(error)
    failed = f"may have been written: {at.target.named}: {why}" if unknown else f"not written: {at.target.named}: {why}"
    count = f"{len(done)} of {len(done) + 1 + len(rest)} written"
    lines = [
        f"cluster {session.cluster.shown} · stopped: {count}",
        *map(_title, done),
        f"{failed}.",
        *(f"not begun: {each.target.named}" for each in rest),
    ]
    if done or unknown:
        lines.append("What was written stays. Correct the manifest or the cause, and apply all of it again.")
    return PartlyApplied("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _View:
    """What the agent and the person see of the previews."""

    session: ClusterSession
    previews: Sequence[Preview]
    note: str

    def _counts(self) -> str:
        counted = Counter(each.outcome for each in self.previews)
        order: tuple[Outcome, ...] = ("created", "changed", "unchanged")
        return ", ".join(f"{counted[outcome]} {outcome}" for outcome in order if counted[outcome])

    def text(self, ending: str, *, written: bool = False, whole: bool = True) -> str:
        """Return the answer: what is done to each document, the difference if `whole`, and what was written."""
        if written:
            said = f"written: {self._counts()}"
        elif all(each.outcome == "unchanged" for each in self.previews):
            said = "nothing to write: the cluster has all of this already"
        else:
            said = f"nothing written; would be {self._counts()}"
        head = [f"cluster {self.session.cluster.shown} · {said}", *([self.note] if self.note else [])]
        titles = [_title(each) for each in self.previews]
        budget = self.session.cluster.limits.answer_bytes - _HEAD - sum(len(title.encode()) + 1 for title in titles)
        parts = fitting([each.lines if whole else () for each in self.previews], max(budget, 0))
        for title, part in zip(titles, parts, strict=True):
            head += [title, *part]
        return "\n".join([*head, *([ending] if ending else [])])

    def question(self, *, force: bool) -> str:
        """Return the question to the person, of a length that a person reads."""
        due = [each for each in self.previews if each.outcome != "unchanged"]
        taking = ", TAKING OVER FIELDS FROM OTHER MANAGERS" if force else ""
        parts = fitting([each.lines for each in due[:_QUESTION_PARTS]], _QUESTION)
        lines = [f"apply this ({self._counts()}{taking})?"]
        for each, part in zip(due, parts, strict=False):
            lines += [_title(each), *part]
        if len(due) > _QUESTION_PARTS:
            lines.append(f"…and {len(due) - _QUESTION_PARTS} more objects")
        return "\n".join(lines)


def _title(each: Preview) -> str:
    awaits = f" (can't be tried before: {each.target.awaits})" if each.target.awaits else ""
    warning = f" · warning: {each.warning}" if each.warning else ""
    return f"{each.outcome} {each.target.named}{awaits}{warning}"


def tool(confirmation: Confirmation) -> Tool[ApplyArguments]:
    """Make the tool; `confirmation` decides what may be written."""
    return Tool(
        name=NAME,
        title="Apply a manifest",
        description="Server-side apply. Shows the difference first; writes only what is confirmed. Deletes nothing.",
        arguments=ApplyArguments,
        run=ApplyTool(confirmation).run,
        rate="writes",
        needs="apply",
        seconds=lambda _: _SECONDS,
        read_only=False,
        destructive=True,
    )
