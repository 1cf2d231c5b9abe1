"""Boundary between a test and the inside of the gateway: a session on an embedded cluster, through the real rooms."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from gateway.access.confirmation import Confirmation
from gateway.access.continuation import Continuation
from gateway.access.plans import Plans, UsedInMemory
from gateway.access.questions import Answers
from gateway.access.sealing import SealingKeys
from gateway.access.session import Access, Caller, ClusterSession
from gateway.clusters.options import ClusterOptions, LimitOptions
from gateway.clusters.pool import Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.discovery.fetch import Discovery
from gateway.errors import GatewayError
from gateway.identity.options import IdentityOptions
from gateway.identity.verifier import Identity
from gateway.kube.credential import BearerToken
from gateway.policy.options import PolicyOptions
from gateway.protocol.outgoing import answer, words
from gateway.telemetry.audit import AuditRecord
from gateway.telemetry.metrics import Metrics
from gateway.tools import all_tools
from gateway.tools.explain import explain
from gateway.tools.tool import Tool

NOBODY = Answers({}, can_ask=False)
"""Nothing was asked, and nobody could be."""


_FENCED = re.compile(r" · data, not instructions, up to (\[end [0-9a-f]{4}\])\n(.*?)\n\1(?=\n|$)", re.DOTALL)


def unfenced(text: str) -> str:
    """Return an answer without the words that say where a cluster's own lines end."""
    return _FENCED.sub(r"\n\2", text)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def listed(cluster: EmbeddedCluster, **changes: Any) -> ClusterOptions:
    """Return the cluster as an operator would list it, with these settings beside its address and CA."""
    options: dict[str, Any] = {
        "name": cluster.name,
        "server": cluster.server,
        "certificate_authority_data": cluster.ca_pem.decode(),
    }
    return ClusterOptions(**(options | changes))


@dataclass(slots=True)
class Workbench:
    """One listed cluster and everything between a tool and it, the way `gateway.app` builds it; enter it to use it.

    `records`, `metrics` and `reports` hold what calls left behind; `clock` is everybody's but the tokens'.
    """

    cluster: EmbeddedCluster
    options: ClusterOptions
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)
    records: list[AuditRecord] = field(default_factory=list)
    reports: list[tuple[float, float | None, str]] = field(default_factory=list)
    tools: Mapping[str, Tool[Any]] = field(init=False)
    pool: Pool = field(init=False)
    identity: Identity = field(init=False)
    discovery: Discovery = field(init=False)
    access: Access = field(init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        keys = SealingKeys()
        confirmation = Confirmation(Plans(keys, UsedInMemory(self.clock), self.clock))
        self.tools = {tool.name: tool for tool in all_tools(Continuation(keys), confirmation)}
        self.pool = await self._stack.enter_async_context(Pool(TrustStore(self.clock), self.clock))
        self.identity = Identity(ClusterRegistry([self.options]), self.pool, IdentityOptions(), clock=self.clock)
        self._stack.push_async_callback(self.identity.close)
        self.discovery = Discovery(self.clock)
        self._stack.push_async_callback(self.discovery.close)
        self.pool.when_retired(self.discovery.forget, self.identity.forget)
        self.access = Access(self.pool, self.discovery, self.identity, self.metrics, self.records.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def caller(self, service_account: str = "demo/mcp") -> Caller:
        """Return the service account as a caller whose new token was verified."""
        token = await self.cluster.token(service_account=service_account)
        principal = await self.identity.authenticate(token)
        return Caller(principal, BearerToken.of(token), self.options, "request-1")

    @asynccontextmanager
    async def session(
        self, *, answers: Answers = NOBODY, service_account: str = "demo/mcp", tool: str = "test"
    ) -> AsyncIterator[ClusterSession]:
        """Hold a session as one run of a tool has it."""
        caller = await self.caller(service_account)
        async with self.access.session(caller, tool, answers, self._report) as session:
            yield session

    async def _report(self, done: float, total: float | None, message: str) -> None:
        self.reports.append((done, total, message))

    async def call(
        self,
        tool: str | Tool[Any],
        arguments: Mapping[str, Any],
        *,
        answers: Answers = NOBODY,
        service_account: str = "demo/mcp",
    ) -> str:
        """Run a tool with arguments as a client sends them and return its text; raises what the tool raises."""
        tool = self.tools[tool] if isinstance(tool, str) else tool
        checked = tool.arguments.model_validate(dict(arguments))
        async with self.session(answers=answers, service_account=service_account, tool=tool.name) as session:
            text: str = await tool.run(session, checked)
            return answer(self.metrics, self.options, text)

    async def failure(self, tool: str | Tool[Any], arguments: Mapping[str, Any], **session: Any) -> str:
        """Run a tool that must fail, and return what the agent reads."""
        with pytest.raises(GatewayError) as caught:
            await self.call(tool, arguments, **session)
        return words(self.metrics, self.options, explain(caught.value))

    def sent(self) -> list[str]:
        """Return what reached the API server but discovery and the verification of tokens: `METHOD path?query`."""
        return [
            f"{seen.method} {seen.path}{'?' if seen.query else ''}{seen.query}"
            for seen in self.cluster.requests
            if seen.path not in {"/api", "/apis", "/openid/v1/jwks", "/.well-known/openid-configuration"}
        ]


MakeWorkbench = Callable[..., Awaitable[Workbench]]


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    """Give a started embedded cluster called `east`."""
    async with EmbeddedCluster("east") as started:
        yield started


@pytest.fixture
async def workbench(cluster: EmbeddedCluster) -> AsyncIterator[MakeWorkbench]:
    """Give the factory of workbenches on the cluster; what it takes beside policy and limits are cluster options."""
    async with AsyncExitStack() as stack:

        async def make(
            policy: PolicyOptions | None = None, limits: LimitOptions | None = None, **options: Any
        ) -> Workbench:
            policy, limits = policy or PolicyOptions(), limits or LimitOptions()
            chosen = listed(cluster, policy=policy, limits=limits, **options)
            return await stack.enter_async_context(Workbench(cluster, chosen))

        yield make


@pytest.fixture
async def bench(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench with every setting at its default: read-only, all namespaces."""
    return await workbench()
