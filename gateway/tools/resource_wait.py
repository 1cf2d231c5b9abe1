"""The tool `resource_wait`: until one object, or all that a selector matches, are as wanted; by watch, not polling."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.errors import BadArgument, NotOffered
from gateway.kube.request import Request, by_name
from gateway.kube.types import ResourceType
from gateway.kube.watch import Events, Listed, View, follow
from gateway.tools.goals import Goal, Verdict, goal_of
from gateway.tools.naming import namespace_of, resource_type, shown
from gateway.tools.shaping import parse, whole_lines
from gateway.tools.tool import Arguments, Tool

LONGEST: Final = 300.0
"""Seconds of the longest wait; a larger wish is taken as this many."""
_AROUND: Final = 60.0
"""Seconds for what comes before a wait: discovery, finding the namespace, the first list."""
_HEARTBEAT: Final = 10.0
"""Seconds between two words of progress while nothing changes."""
_MOST: Final = 500
"""Objects that can be waited for at once."""
_LINES: Final = 4096
"""Bytes for what is still missing."""


class WaitArguments(Arguments):
    """Arguments of `resource_wait`."""

    resource: Annotated[str, Field(description="kind, plural, short name, or plural.group")]
    name: str | None = None
    label_selector: Annotated[str | None, Field(description="instead of name")] = None
    namespace: str | None = None
    condition: Annotated[str, Field(description="`rolled out`, exists, deleted, or such as Ready, Complete=True")]
    timeout: Annotated[float, Field(gt=0, description="seconds, at most 300")] = 60


@dataclass(frozen=True, slots=True)
class _Item:
    """What is kept of an object."""

    name: str
    uid: str
    verdict: Verdict


@dataclass(slots=True)
class _Wait:
    """One wait: what for, and how it stands. `seconds` is its time limit."""

    session: ClusterSession
    kind: ResourceType
    namespace: str
    arguments: WaitArguments
    goal: Goal
    seconds: float
    began: float = field(default_factory=time.monotonic)
    view: View[_Item] = field(default_factory=lambda: View({}))
    first: frozenset[str] | None = None
    told: str = ""

    async def run(self) -> bool:
        """Wait until it is over; False where the time was up first."""
        watching = asyncio.create_task(self._watch(), name="resource-wait")
        deadline = asyncio.timeout(self.seconds)
        try:
            async with deadline:
                while not (await asyncio.wait({watching}, timeout=_HEARTBEAT))[0]:
                    await self._tell()
                watching.result()
        except TimeoutError:
            if not deadline.expired():
                raise
            return False
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return True

    async def _watch(self) -> None:
        async with aclosing(follow(self._listed, self._watched, self._keep)) as views:
            async for view in views:
                self.view = view
                if self.first is None:
                    self.first = frozenset(view.objects)
                    self._check_there()
                if self._is_over():
                    return
                if self.sentence() != self.told:
                    await self._tell()

    async def _tell(self) -> None:
        self.told = self.sentence()
        await self.session.report(self.elapsed(), self.seconds, self.told)

    async def _listed(self) -> Listed:
        self.session.let_go()
        answer = await self.session.request(self._request("list", limit=str(_MOST)), self.kind)
        document = await parse(answer.body)
        metadata = document.get("metadata") or {}
        if metadata.get("continue"):
            message = f"More than {_MOST} objects match. Narrow it with namespace or labelSelector."
            raise BadArgument(message)
        return Listed(document.get("items") or (), metadata.get("resourceVersion") or "")

    def _watched(self, version: str) -> AbstractAsyncContextManager[Events]:
        left = max(1, round(self.seconds - self.elapsed() + 1))
        request = self._request(
            "watch", watch="true", resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds=str(left)
        )
        return self.session.watch(request, self.kind)

    def _request(self, verb: Literal["list", "watch"], **query: str) -> Request:
        if self.arguments.name:
            query |= (by_name(self.arguments.name),)
        if self.arguments.label_selector:
            query["labelSelector"] = self.arguments.label_selector
        return Request(
            verb=verb,
            group=self.kind.group,
            version=self.kind.version,
            resource=self.kind.plural,
            namespace=self.namespace,
            query=tuple(query.items()),
        )

    def _keep(self, item: dict[str, Any]) -> _Item:
        metadata = item.get("metadata") or {}
        across = self.kind.namespaced and not self.namespace
        name = f"{metadata.get('namespace')}/{metadata.get('name')}" if across else str(metadata.get("name"))
        # The items of a list do not say their kind.
        return _Item(name, metadata.get("uid") or "", self.goal.judge({**item, "kind": self.kind.kind}))

    def _check_there(self) -> None:
        if self.first or self.goal.is_exists or self.goal.is_deleted:
            return
        message = (
            f"Nothing to wait for: there is no {self.subject()}. Check name, labelSelector and namespace with "
            "resource_list; condition=exists waits until it is there."
        )
        raise NotOffered(message)

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.began

    def items(self) -> list[_Item]:
        """Return what there is; for a deletion only what there was at first: another object may take the name."""
        items = self.view.objects.values()
        return [item for item in items if not self.goal.is_deleted or item.uid in (self.first or ())]

    def missing(self) -> list[_Item]:
        """Return what is not yet as wanted."""
        return [item for item in self.items() if not item.verdict.done]

    def _is_over(self) -> bool:
        """Whether it is as wanted, or can't become so."""
        items = self.items()
        if self.goal.is_deleted:
            return not items
        return bool(items) and (not self.missing() or any(item.verdict.hopeless for item in items))

    def subject(self) -> str:
        """Name what is waited for."""
        named = f"/{self.arguments.name}" if self.arguments.name else f" matching {self.arguments.label_selector}"
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.qualified}{named}{where}"

    def sentence(self) -> str:
        """Say in one line how it stands."""
        if self.view.trouble:
            return self.view.trouble
        items, missing = self.items(), self.missing()
        if not items:
            return "there is none now"
        if len(items) == 1:
            return items[0].verdict.words
        first = f"; {missing[0].name}: {missing[0].verdict.words}" if missing else ""
        return f"{len(items) - len(missing)} of {len(items)} are as wanted{first}"


async def resource_wait(session: ClusterSession, arguments: WaitArguments) -> str:
    """Wait, and say what came of it: as wanted, hopeless, or what is still missing when the time is up."""
    if bool(arguments.name) == bool(arguments.label_selector):
        message = "Give either name or labelSelector: the one object, or all that match, to wait for."
        raise BadArgument(message)
    kind = await resource_type(session, arguments.resource)
    if "watch" not in kind.verbs:
        message = f"{kind.qualified} can't be watched on this cluster, so nothing of it can be waited for."
        raise BadArgument(message)
    goal = goal_of(arguments.condition, kind)
    limit = min(arguments.timeout, LONGEST)
    left = session.principal.expires_at - time.time()
    try:
        namespace = await _namespace(session, kind, arguments, goal)
    except NotOffered:
        if not goal.is_deleted:
            raise
        name = shown(arguments.name or "")
        return f"cluster {session.cluster.shown} · {kind.qualified}/{name} · deleted already: no namespace has it"
    wait = _Wait(session, kind, namespace, arguments, goal, min(limit, max(left, 0.0)))
    over = await wait.run()
    notes = []
    if not over:
        if left < limit:
            notes.append("The wait ended with the token. Ask the person to renew it, then call again.")
        elif arguments.timeout > LONGEST:
            notes.append(f"{LONGEST:g} s is the longest wait.")
    return _answer(wait, notes, over=over)


async def _namespace(session: ClusterSession, kind: ResourceType, arguments: WaitArguments, goal: Goal) -> str:
    if not arguments.name or goal.is_exists:
        return (arguments.namespace or "") if kind.namespaced else ""
    return await namespace_of(session, kind, arguments.name, arguments.namespace)


def _answer(wait: _Wait, notes: list[str], *, over: bool) -> str:
    head = f"cluster {wait.session.cluster.shown} · {wait.subject()}"
    items, missing = wait.items(), wait.missing()
    wanted = wait.goal.shown
    if over and not missing:
        since = wait.elapsed()
        after = f"{wanted} already" if not wait.told else f"{wanted} after {since:.0f} s"
        detail = items[0].verdict.words if len(items) == 1 and not wait.goal.is_exists else ""
        several = f" · all {len(items)}" if len(items) > 1 else ""
        return "\n".join(part for part in (f"{head} · {after}{several}", detail) if part)
    # What can't become as wanted comes first, because it is why there is no sense in waiting.
    missing.sort(key=lambda item: not item.verdict.hopeless)
    lines, cut = whole_lines((f"{item.name}: {item.verdict.words}" for item in missing), _LINES)
    if over:
        head += f" · NOT {wanted}, and waiting longer will not help"
        notes = [*notes, "Call diagnose for the cause."]
        if wait.kind.plural == "deployments":
            # Its Progressing condition stays False until its pods are up.
            notes.append("If that is mended already, wait for condition Available.")
    else:
        counted = f", {len(missing)} of {len(items)} missing" if len(items) > 1 else ""
        head += f" · NOT {wanted} after {wait.elapsed():.0f} s{counted}"
        if not items:
            lines = ["there is none"]
        notes = [*notes, *([wait.view.trouble] if wait.view.trouble else [])]
        notes.append("Call again to go on waiting, or diagnose for the cause.")
    if cut:
        lines.append(f"and {len(missing) - len(lines)} more")
    return "\n".join([head, *lines, *notes])


TOOL = Tool(
    name="resource_wait",
    title="Wait for a resource",
    description="Waits until a rollout is complete, a condition holds, or objects exist or are gone. Do not poll.",
    arguments=WaitArguments,
    run=resource_wait,
    seconds=lambda arguments: min(arguments.timeout, LONGEST) + _AROUND,
)
