"""The caller's door to one cluster: every Kubernetes request a tool causes goes through `ClusterSession.request`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final

from gateway.access.outgoing import Out, Outgoing, Unclear
from gateway.access.questions import Answers
from gateway.access.sending import Sender
from gateway.access.spent import Spent
from gateway.access.watches import Watches
from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Lease, Pool
from gateway.clusters.rates import Rate, RateLimited, RateLimits
from gateway.discovery.catalog import Catalog
from gateway.discovery.fetch import Discovery
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.identity.principal import Principal
from gateway.identity.verifier import Identity
from gateway.kube.client import AGENT, Answer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import ApiError, InvalidToken, Unreachable
from gateway.kube.exec import SWITCHED, ExecLimits, Ran, started
from gateway.kube.paths import Attributes, attributes_of, resource_path
from gateway.kube.request import DRY_RUN, Request
from gateway.kube.types import ResourceType
from gateway.kube.watch import Events, opened
from gateway.policy.rules import check
from gateway.telemetry.audit import Auditor, AuditRecord
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recent import Recent
from gateway.telemetry.traces import CallTrace

MAX_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of an API server's answer at which reading stops."""

WATCHING: Final = 200
"""The HTTP status with which a watch is open, whatever comes later."""

Report = Callable[[float, float | None, str], Awaitable[None]]
"""Tells the client how far a call has come: done, total or None, and a sentence."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, with what token, on which cluster; `request_id` goes from the edge to the answer and every record."""

    principal: Principal
    token: BearerToken
    cluster: ClusterOptions
    request_id: str
    spent: Spent = field(default_factory=Spent)
    trace: CallTrace | None = None


async def _silent(_done: float, _total: float | None, _message: str) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Access:
    """What sessions are made of: the rooms below, and where metrics and audit records go."""

    pool: Pool
    discovery: Discovery
    identity: Identity
    metrics: Metrics
    audit: Auditor
    rates: RateLimits | None = None
    watches: Watches = field(default_factory=Watches)
    recent: Recent = field(default_factory=Recent)

    async def admit(self, caller: Caller, rate: Rate) -> None:
        """Count one call of a tool, or one reading of an MCP resource.

        Raises:
            RateLimited: The caller has used up what it may call in a minute.
        """
        if self.rates is None:
            return
        principal, cluster = caller.principal, caller.cluster
        try:
            await self.rates.take(rate, cluster, (principal.issuer, principal.subject))
        except RateLimited:
            self.metrics.rate_limited(cluster.name, rate)
            self.recent.limited(principal.issuer, principal.subject, cluster.name, rate)
            raise

    def ended(self, caller: Caller, tool: str, outcome: str, started: float) -> None:
        """Count one call that began at this reading of `time.perf_counter`; a person's time to answer is left out."""
        spent, principal, cluster = caller.spent, caller.principal, caller.cluster.name
        seconds = time.perf_counter() - started - spent.asking
        self.metrics.tool_call(tool, cluster, outcome, seconds, seconds - spent.api, caller.request_id)
        self.recent.call(caller.request_id, principal.issuer, principal.subject, cluster, tool, outcome, seconds)
        if caller.trace is not None:
            caller.trace.begin(tool, cluster, caller.request_id)
            caller.trace.end(outcome)

    def session(
        self, caller: Caller, tool: str, answers: Answers, report: Report = _silent, *, seconds: float | None = None
    ) -> "_Run":
        """Return what holds the caller's cluster for one run of a tool (`async with`), and gives its session.

        It may take `seconds`, or else what a call may. Entering it raises ClusterUnavailable where the cluster has no
        usable client.
        """
        return _Run(self, caller, tool, answers, report, seconds)


class _Run:
    """The life of one session. A class, for a generator takes several times as long."""

    __slots__ = ("_access", "_answers", "_caller", "_leasing", "_report", "_seconds", "_sender", "_tool")

    def __init__(  # noqa: PLR0917  # only `Access.session` calls it
        self, access: Access, caller: Caller, tool: str, answers: Answers, report: Report, seconds: float | None
    ) -> None:
        self._access = access
        self._caller = caller
        self._tool = tool
        self._answers = answers
        self._report = report
        self._seconds = caller.cluster.limits.call_seconds if seconds is None else seconds
        self._leasing = access.pool.lease(caller.cluster)

    async def __aenter__(self) -> "ClusterSession":
        lease = await self._leasing.__aenter__()
        access, caller = self._access, self._caller
        deadline = asyncio.get_running_loop().time() + self._seconds
        self._sender = Sender(lease, caller.token, access.metrics, deadline)
        return ClusterSession(access, caller, lease, self._sender, self._tool, self._answers, self._report)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.let_go()
        await self._leasing.__aexit__(kind, error, trace)


_NOTHING: Final = Attributes("", "", "", "", "", "", "")


class ClusterSession:
    """One run of one tool on the caller's cluster.

    `confirmation` is whose word the tool got for what it does from now on; records show it.
    """

    __slots__ = ("_access", "_answers", "_caller", "_headers", "_lease", "_sender", "_tool", "confirmation", "report")

    def __init__(  # noqa: PLR0917  # only `Access.session` calls it
        self,
        access: Access,
        caller: Caller,
        lease: Lease,
        sender: Sender,
        tool: str,
        answers: Answers,
        report: Report,
    ) -> None:
        """Tie the parts together; `report` tells the client how far a long call has come."""
        self._access = access
        self._caller = caller
        self._lease = lease
        self._sender = sender
        self._tool = tool
        self._answers = answers
        self.confirmation = ""
        self.report = report
        # By which the cluster's own audit log tells what an agent did from what the person did with the same rights.
        self._headers = {"User-Agent": f"{AGENT} (tool={tool}; request={caller.request_id})"}
        if caller.trace is not None:
            caller.trace.begin(tool, caller.cluster.name, caller.request_id)
            self._headers |= caller.trace.headers

    @property
    def cluster(self) -> ClusterOptions:
        """The cluster's settings, its policy among them."""
        return self._caller.cluster

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self._caller.principal

    @property
    def answers(self) -> Answers:
        """What the person was asked and said."""
        return self._answers

    async def catalog(self, *, refresh: bool = False) -> Catalog:
        """Return what the cluster serves; with `refresh`, look again where that was not done just now.

        Raises:
            ClusterUnavailable: The cluster can't be reached.
            ApiError: It refuses discovery.
        """
        try:
            return await self._access.discovery.catalog(self._lease, self._caller.token, refresh=refresh)
        except InvalidToken:
            self._access.identity.end(self._caller.token.digest)
            raise
        except Unreachable as error:
            raise self._unavailable(error) from error

    def renew_catalog(self) -> None:
        """Have the cluster asked again what it serves, because this call changed it."""
        self._access.discovery.renew(self._lease.key)

    async def request(self, request: Request, kind: ResourceType, *, max_bytes: int = MAX_ANSWER) -> Answer:
        """Send one Kubernetes request with the caller's token, if the policy lets it out.

        The policy judges the final path, read the way the API server reads it.

        Raises:
            BadArgument: A name that can't be sent, or a namespace that must be named.
            NotOffered: The kind is restricted.
            Refused: The policy forbids it.
            ApiError: The API server's answer is not a success.
            ClusterUnavailable: There was no answer, or too many calls wait for this cluster.
            TooLarge: The answer is over `max_bytes`.
        """
        with self._judged(request, kind) as outgoing:
            answer = await self._sender.send(request, outgoing.target, max_bytes, partial(self._sending, outgoing))
            outgoing.answered(answer)
        return answer

    def let_go(self) -> None:
        """Say that what was read so far is held no more, where a run goes on for long."""
        self._sender.let_go()

    def judge(self, request: Request, kind: ResourceType) -> None:
        """Raise what the policy has against a request that is to be sent only after a person's word, and record that.

        Raises:
            GatewayError: As `request` would.
        """
        self._judged(request, kind)

    def declined(self) -> None:
        """Record that a person was asked and did not say yes: what was tried before stands in the records before."""
        self.confirmation = "person"
        self._record(Outgoing(_NOTHING, decision="declined"))

    async def exec(self, request: Request, kind: ResourceType, limits: ExecLimits) -> Ran:
        """Run one command in a container, if the policy lets it out. It is never sent twice.

        Only its start counts against the calls that may use the cluster at once: it may take a minute.

        Raises:
            ClusterUnavailable: There was no answer; the text says so where the command may have been started.
            GatewayError: See `request`; the command was not started.
        """
        async with AsyncExitStack() as stack:
            outgoing = stack.enter_context(self._judged(request, kind))
            outgoing.is_stream = True
            server, token = self._lease.server, self._caller.token
            try:
                command = await self._sender.open(
                    stack, lambda: started(server, outgoing.target, token, self._sending(outgoing))
                )
            except ApiError as error:
                outgoing.status = error.status
                raise
            except Unreachable as error:
                if not error.sent:
                    raise
                message = (
                    f"Cluster {self.cluster.shown} did not say whether it started the command: {error.message}. "
                    "It may have run or be running. Look before you run it again."
                )
                raise Unclear(message) from error
            outgoing.status = SWITCHED
            ran = await command.finish(limits)
            outgoing.size = ran.stdout.size + ran.stderr.size
            return ran

    @asynccontextmanager
    async def watch(self, request: Request, kind: ResourceType) -> AsyncIterator[Events]:
        """Open one watch, if the policy lets it out; leaving this ends it.

        Only its opening counts against the calls that may use the cluster at once; how many may be open is bounded by
        itself. It is recorded when it has ended.

        Raises:
            ClusterUnavailable: As many as allowed are open; or the connection broke, which is raised inside as well.
            Expired: The resourceVersion is too old, or has become so; raised inside as well.
            GatewayError: See `request`.
        """
        async with AsyncExitStack() as stack:
            outgoing = stack.enter_context(self._judged(request, kind))
            outgoing.is_stream = True
            stack.enter_context(self._access.watches.place(self.principal))
            server, token, accept = self._lease.server, self._caller.token, request.accept
            try:
                # How often a watch that ends is opened again is the API server's doing.
                watch = await self._sender.open(
                    stack,
                    lambda: opened(server, outgoing.target, token, accept=accept, headers=self._sending(outgoing)),
                    counted=False,
                )
            except ApiError as error:
                outgoing.status = error.status
                raise
            outgoing.status, outgoing.audit_id = WATCHING, watch.audit_id
            yield watch.events

    def _judged(self, request: Request, kind: ResourceType) -> Out:
        """Let the policy judge what is to go out; return what is entered while it is out."""
        outgoing = Outgoing(request.attributes, dry_run=DRY_RUN in request.query)
        try:
            self._let_out(request, kind, outgoing)
        except Exception as error:
            self._over(outgoing, error)
            raise
        return Out(outgoing, self._over)

    def _over(self, outgoing: Outgoing, error: BaseException | None) -> None:
        """Record what came of a request; raise what its caller is told of a failure, where that is something else."""
        told: GatewayError | None = None
        match error:
            case None:
                pass
            case InvalidToken():
                self._access.identity.end(self._caller.token.digest)
            case Unreachable():
                outgoing.decision = error.kind
                told = self._unclear(error) if outgoing.may_have_changed(error) else self._unavailable(error)
            case GatewayError():
                outgoing.decision = error.outcome
                told = self._unclear(error) if outgoing.may_have_changed(error) else None
            case asyncio.CancelledError():
                outgoing.decision = "cancelled"
        self._record(outgoing)
        if told is not None:
            raise told from error

    def _sending(self, outgoing: Outgoing) -> dict[str, str]:
        """Note that it goes out now, and return what it says of itself."""
        if outgoing.began is None:
            outgoing.began = self._caller.spent.begin()
            if self._caller.trace is not None:
                what = outgoing.attributes
                outgoing.trace = self._caller.trace.request(
                    what.verb, what.group, what.resource, what.subresource, what.namespace
                )
        return self._headers if outgoing.trace is None else self._headers | outgoing.trace.headers

    def _let_out(self, request: Request, kind: ResourceType, outgoing: Outgoing) -> None:
        """Read the final path the way the API server does, and let the policy judge that."""
        path = resource_path(outgoing.attributes)
        attributes = outgoing.attributes = attributes_of(request.verb, path)
        if (kind.group, kind.plural) != (attributes.group, attributes.resource):
            message = f"a request for {attributes.resource} was made with the type {kind.qualified}"
            raise ValueError(message)
        check(self.cluster.policy, attributes, namespaced=kind.namespaced)
        outgoing.target = request.target(path)

    def _record(self, outgoing: Outgoing) -> None:
        seconds = 0.0 if outgoing.began is None else self._caller.spent.end() - outgoing.began
        if outgoing.trace is not None:
            outgoing.trace.end(outgoing.status, outgoing.decision, outgoing.size)
        cluster, principal, attributes = self.cluster.name, self._caller.principal, outgoing.attributes
        decision = "allow" if outgoing.status else outgoing.decision
        timed = None if outgoing.began is None or outgoing.is_stream else seconds
        self._access.metrics.api_request(cluster, attributes.verb, outgoing.status or decision, timed)
        self._access.audit(
            AuditRecord(
                request_id=self._caller.request_id,
                issuer=principal.issuer,
                subject=principal.subject,
                token_id=principal.token_id,
                cluster=cluster,
                tool=self._tool,
                verb=attributes.verb,
                group=attributes.group,
                resource=attributes.resource,
                subresource=attributes.subresource,
                namespace=attributes.namespace,
                name=attributes.name,
                dry_run=outgoing.dry_run,
                confirmation=self.confirmation,
                decision=decision,
                status=outgoing.status,
                bytes=outgoing.size,
                ms=round(seconds * 1000, 1),
                api_audit_id=outgoing.audit_id,
            )
        )

    def _unclear(self, error: GatewayError) -> Unclear:
        said = error.message.rstrip(". \n")
        return Unclear(
            f"Cluster {self.cluster.shown} did not say that it was done, nor that it was not: {said}. It may have been "
            "done. Look before you do it again."
        )

    def _unavailable(self, error: Unreachable) -> ClusterUnavailable:
        message = (
            f"Cluster {self.cluster.shown} can't be reached: {error.message}. Other clusters are not affected; "
            "try again in a minute, and tell a person if it lasts."
        )
        return ClusterUnavailable(message)
