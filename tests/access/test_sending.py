"""What a run of a tool may still send: busy API servers waited for, dead ones left alone, writes never sent twice."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import pytest

from gateway.access.outgoing import Unclear
from gateway.access.sending import MOST_REPEATS, TooManyRequests, pause_before_repeating
from gateway.access.session import ClusterSession
from gateway.clusters.breaker import BreakerOpen
from gateway.clusters.options import LimitOptions
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Fault, Hang, HugeList, Latency, Refuse, Reply, Reset, server_error, too_many_requests
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.client import Answer
from gateway.kube.errors import ServerFault, Throttled
from gateway.kube.exec import ExecLimits
from gateway.kube.request import DRY_RUN, Request
from gateway.kube.types import ResourceType
from gateway.policy.options import PolicyOptions
from tests.workbench import NOBODY, MakeWorkbench, Workbench

PODS = ResourceType("", "v1", "pods", "Pod", "pod", namespaced=True, verbs=frozenset())
READ = Request(verb="list", group="", version="v1", resource="pods", namespace="demo")
BUSY = Reply(429, b"Too many requests, please try again later.\n", headers=(("Retry-After", "0"),))
BUDGET = (
    b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429,"message":"Cannot '
    b'evict pod as it would violate the pod\'s disruption budget.","details":{"retryAfterSeconds":10,"causes":'
    b'[{"reason":"DisruptionBudget","message":"The disruption budget web is still being processed by the server."}]}}'
)
STARTING = b'{"kind":"Status","reason":"TooManyRequests","code":429,"message":"storage is (re)initializing"}'


def write(verb: Literal["create", "patch", "delete"] = "patch", *, dry_run: bool = False) -> Request:
    """Return a write; what it is about does not matter."""
    return Request(
        verb=verb,
        group="",
        version="v1",
        resource="pods",
        namespace="demo",
        name="web",
        subresource="eviction" if verb == "create" else "",
        query=(DRY_RUN,) if dry_run else (),
        body=b"{}",
        content_type="application/apply-patch+yaml",
    )


def answer(status: int, retry_after: str | None = "1", body: bytes = b"busy") -> Answer:
    """Return an answer as an API server gives it."""
    return Answer(status, {} if retry_after is None else {"retry-after": retry_after}, body)


@pytest.mark.parametrize(
    ("given", "repeats", "left", "pause"),
    [
        (answer(429), 0, 30, 1.125),
        (answer(429, "0"), 0, 30, 0.1125),
        (answer(429, "8"), 0, 30, 9),
        (answer(429, body=STARTING), 0, 30, 1.125),
        (answer(429), MOST_REPEATS - 1, 30, 1.125),
        (answer(429), MOST_REPEATS, 30, None),
        (answer(429), 0, 1.6, None),
        (answer(429, "28"), 0, 1000, None),
        (answer(429, None), 0, 30, None),
        (answer(429, "10", BUDGET), 0, 30, None),
        (answer(503), 0, 30, None),
        (answer(200), 0, 30, None),
    ],
)
def test_only_what_was_not_begun_is_sent_again(given: Answer, repeats: int, left: float, pause: float | None) -> None:
    """A 429 with Retry-After says so; a disruption budget's means no; and the caller's time must suffice."""
    found = pause_before_repeating(given, repeats, left, 0.5)
    assert found == (None if pause is None else pytest.approx(pause))


@pytest.fixture
async def writing(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench that may write, on a cluster that is given up after a fifth of a second."""
    policy = PolicyOptions(
        writes=frozenset({"apply", "post", "delete"}), subresources=frozenset({"pods/eviction"}), confirmation="none"
    )
    return await workbench(policy, LimitOptions(first_byte_seconds=0.2))


@pytest.mark.parametrize("request_", [READ, write("delete")])
async def test_a_busy_api_server_is_asked_again(writing: Workbench, request_: Request) -> None:
    """Reads and writes alike: it says that it has not begun; the record and the caller see what came in the end."""
    async with writing.session() as session:
        with writing.cluster.fault(BUSY, paths=["*/pods*"], count=2) as busy, suppress(GatewayError):
            await session.request(request_, PODS)
    assert busy.hits == 2
    assert len(writing.sent()) == 3
    assert [record.status for record in writing.records] == [200 if request_ is READ else 404]


async def test_an_api_server_that_stays_busy_is_told_with_its_time(writing: Workbench) -> None:
    """It is asked so often and no more, and where the caller's time would not suffice, not again at all."""
    async with writing.session() as session:
        with writing.cluster.fault(BUSY, paths=["*/pods*"]) as busy, pytest.raises(Throttled):
            await session.request(READ, PODS)
        assert busy.hits == 1 + MOST_REPEATS
        with writing.cluster.fault(too_many_requests(60), paths=["*/pods*"]) as busy:
            text = await writing.failure("resource_list", {"resource": "pods", "namespace": "demo"})
        assert busy.hits == 1
    assert "Try again in 60 s" in text


async def test_who_waits_for_a_busy_api_server_holds_no_place(workbench: MakeWorkbench) -> None:
    """With room for one at once, another goes through in the meantime."""
    bench = await workbench(limits=LimitOptions(connections=1))
    async with bench.session() as session:
        with bench.cluster.fault(too_many_requests(1), paths=["*/pods"], count=1) as busy:
            waiting = asyncio.create_task(session.request(READ, PODS))
            while not busy.hits:  # noqa: ASYNC110  # it comes, or the test's time is up
                await asyncio.sleep(0)
            await session.request(READ, PODS)
            assert not waiting.done()
            assert (await waiting).ok


@pytest.mark.parametrize("fault", [Reset(-1), Reset(0), Reset(20), Hang("tls"), Hang("headers"), server_error(504)])
@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
async def test_a_write_that_got_no_answer_is_sent_once_and_may_have_been_done(
    writing: Workbench, fault: Fault, verb: Literal["create", "patch", "delete"]
) -> None:
    """Nobody is told that it failed, and nothing is sent twice."""
    async with writing.session() as session:
        with writing.cluster.fault(fault, paths=["*/pods/web*"]) as struck, pytest.raises(Unclear) as caught:
            await session.request(write(verb), PODS)
    assert struck.hits == 1
    assert caught.value.message.startswith("Cluster east did not say that it was done, nor that it was not: ")
    assert caught.value.message.endswith("It may have been done. Look before you do it again.")


async def test_what_was_only_tried_or_never_sent_has_not_been_done(writing: Workbench) -> None:
    """A dry run changes nothing; nor does what found no connection, or failed before anything was stored."""
    async with writing.session() as session:
        with writing.cluster.fault(Reset(-1), paths=["*/pods/web"]), pytest.raises(ClusterUnavailable) as tried:
            await session.request(write(dry_run=True), PODS)
        webhook = server_error(500, 'failed calling webhook "policy.example.com": connection refused')
        with writing.cluster.fault(webhook, paths=["*/pods/web"]), pytest.raises(ServerFault):
            await session.request(write(), PODS)
        with writing.cluster.fault(Refuse()):
            with suppress(ClusterUnavailable):
                await session.request(READ, PODS)  # which finds the open connections cut
            with pytest.raises(ClusterUnavailable) as refused:
                await session.request(write(), PODS)
    assert not isinstance(tried.value, Unclear)
    assert not isinstance(refused.value, Unclear)


async def test_a_dead_cluster_is_left_alone_and_tried_again(workbench: MakeWorkbench) -> None:
    """Five calls find out; the next ones are refused without a connection; after the rest one finds it alive again."""
    bench = await workbench()
    async with bench.session() as session:
        with bench.cluster.fault(Refuse()):
            for _ in range(5):
                with pytest.raises(ClusterUnavailable, match="can't be reached"):
                    await session.request(READ, PODS)
            with pytest.raises(BreakerOpen, match="Nothing was sent: cluster east has not answered for 0 s"):
                await session.request(READ, PODS)
            [state] = bench.pool.state().clusters
            assert (state.name, state.breaker.word, state.breaker.last_error) == ("east", "open", "connect")
            bench.clock.forward(12)
            with pytest.raises(ClusterUnavailable, match="can't be reached"):
                await session.request(READ, PODS)
            with pytest.raises(BreakerOpen):
                await session.request(READ, PODS)
        bench.clock.forward(24)
        assert (await session.request(READ, PODS)).ok
    assert [record.decision for record in bench.records] == [
        *["connect"] * 5, "breaker_open", "connect", "breaker_open", "allow"
    ]  # fmt: skip
    [state] = bench.pool.state().clusters
    assert (state.breaker.word, state.breaker.opened) == ("closed", 1)


@pytest.mark.parametrize(
    "fault", [Reply(401, b"{}"), Reply(403, b"{}"), server_error(500), server_error(503), Reply(429)]
)
async def test_an_answer_never_opens_it(bench: Workbench, fault: Fault) -> None:
    """However often a cluster says no, it lives."""
    async with bench.session() as session:
        with bench.cluster.fault(fault, paths=["*/pods"]):
            for _ in range(6):
                with pytest.raises(GatewayError):
                    await session.request(READ, PODS)
        assert bench.pool.state().clusters[0].breaker.word == "closed"


async def test_unverified_tokens_neither_open_nor_close_it(bench: Workbench) -> None:
    """What anybody can cause has no say in what verified callers get; while it is open, nobody waits for a verdict."""
    known = await bench.caller()
    tokens = [await bench.cluster.token() for _ in range(12)]
    assert len(set(tokens)) == 12
    bench.identity.forget(known.principal.cluster_key)
    with bench.cluster.fault(Refuse()):
        for token in tokens:
            with pytest.raises(ClusterUnavailable, match="nothing answers"):
                await bench.identity.authenticate(token)
        assert bench.pool.state().clusters[0].breaker.failures == 0
        async with bench.access.session(known, "test", NOBODY) as session:
            for _ in range(5):
                with pytest.raises(ClusterUnavailable):
                    await session.request(READ, PODS)
    with pytest.raises(ClusterUnavailable, match="it answers nobody just now") as caught:
        await bench.identity.authenticate(tokens[0])
    assert caught.value.retry_after > 5
    bench.clock.forward(12)
    await bench.identity.authenticate(tokens[0])
    assert bench.pool.state().clusters[0].breaker.word == "half-open"


async def test_discovery_finds_out_too(bench: Workbench) -> None:
    """A cluster that was never read is not waited for by each call anew; and what its discovery gets counts as well."""
    async with bench.session() as session:
        with bench.cluster.fault(Refuse()):
            for _ in range(5):
                with pytest.raises(ClusterUnavailable, match="can't be reached"):
                    await session.catalog()
            with pytest.raises(BreakerOpen):
                await session.catalog()
        bench.clock.forward(12)
        await session.catalog()
    assert bench.pool.state().clusters[0].breaker.word == "closed"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("diagnose", {"namespace": "demo"}),
        ("diagnose", {"resource": "pod", "name": "web", "namespace": "demo"}),
        ("resource_list", {"resource": "pods", "namespace": "demo"}),
        ("resource_get", {"resource": "pods", "name": "web"}),
    ],
)
async def test_a_cluster_that_hangs_costs_one_time_out(
    writing: Workbench, tool: str, arguments: dict[str, str]
) -> None:
    """However many requests a tool makes one after another, it waits in vain once."""
    async with writing.session() as session:
        await session.catalog()
    loop = asyncio.get_running_loop()
    with writing.cluster.fault(Hang("tls")):
        began = loop.time()
        text = await writing.failure(tool, arguments)
        assert loop.time() - began < 2 * 0.2
    assert "east" in text or "did not answer" in text


async def test_who_waits_in_line_at_a_cluster_that_turns_out_dead_is_told_at_once(workbench: MakeWorkbench) -> None:
    """A queue before a hanging cluster does not wait in vain one after another."""
    limits = LimitOptions(connections=1, first_byte_seconds=0.2, breaker_failures=1)
    bench = await workbench(limits=limits)
    caller = await bench.caller()

    async def call() -> str:
        async with bench.access.session(caller, "test", NOBODY) as session:
            with pytest.raises(ClusterUnavailable) as caught:
                await session.request(READ, PODS)
            return caught.value.outcome

    with bench.cluster.fault(Hang("tls")):
        began = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(call() for _ in range(8)))
        assert asyncio.get_running_loop().time() - began < 2 * 0.2
    assert outcomes == ["unavailable"] + ["breaker_open"] * 7


async def test_one_kind_that_hangs_leaves_the_others_of_a_call_alone(writing: Workbench) -> None:
    """While the cluster answers about something else, a time-out is not taken for its death."""
    async with writing.session() as session:
        with writing.cluster.fault(Hang("tls"), paths=["*/pods"]):
            slow = asyncio.create_task(session.request(READ, PODS))
            services = ResourceType("", "v1", "services", "Service", "service", namespaced=True, verbs=frozenset())
            ask = Request(verb="list", group="", version="v1", resource="services", namespace="demo")
            with writing.cluster.fault(Latency(0.05), paths=["*/services"]):
                assert (await session.request(ask, services)).ok
            with pytest.raises(ClusterUnavailable):
                await slow
            assert (await session.request(ask, services)).ok


async def test_watches_and_commands_go_the_same_way(workbench: MakeWorkbench) -> None:
    """What goes on for longer is refused by the same breaker, which its opening counts for; watches cost no request."""
    policy = PolicyOptions(writes=frozenset({"post"}), subresources=frozenset({"pods/exec"}), confirmation="none")
    bench = await workbench(policy, LimitOptions(requests_per_call=20, breaker_failures=4))
    watching = replace(READ, verb="watch", query=(("watch", "true"), ("timeoutSeconds", "1")))
    command = replace(READ, verb="get", name="web", subresource="exec", query=(("command", "true"),))
    async with bench.session() as session:
        for _ in range(21):
            async with session.watch(watching, PODS):
                pass
        with bench.cluster.fault(Refuse()):
            for _ in range(2):
                with pytest.raises(ClusterUnavailable, match="can't be reached"):
                    await session.watch(watching, PODS).__aenter__()
                with pytest.raises(ClusterUnavailable, match="can't be reached"):
                    await session.exec(command, PODS, ExecLimits(1, 100, 100))
            with pytest.raises(BreakerOpen):
                await session.watch(watching, PODS).__aenter__()
            with pytest.raises(BreakerOpen):
                await session.exec(command, PODS, ExecLimits(1, 100, 100))


async def test_a_call_makes_only_so_many_requests(workbench: MakeWorkbench) -> None:
    """A tool that would go on and on ends with words that say what to do."""
    bench = await workbench(limits=LimitOptions(requests_per_call=20))
    async with bench.session() as session:
        for _ in range(20):
            await session.request(READ, PODS)
        with pytest.raises(TooManyRequests, match="made 20 requests to cluster east"):
            await session.request(READ, PODS)
    assert len(bench.sent()) == 20


async def test_what_a_call_has_read_is_held_until_it_ends(bench: Workbench) -> None:
    """Large answers count for as long as the tool may have them, or until it says that it has not."""

    async def read(session: ClusterSession) -> int:
        with bench.cluster.fault(HugeList(size=1 << 20), paths=["*/pods"]):
            return len((await session.request(READ, PODS)).body)

    async with bench.session() as session:
        size = await read(session)
        assert bench.pool.memory.held == size
        session.let_go()
        assert bench.pool.memory.held == 0
        await read(session)
    assert bench.pool.memory.held == 0


async def test_twenty_dead_clusters_leave_a_healthy_one_alone(bench: Workbench) -> None:
    """Every call to the healthy one is answered with one request on connections that were open; the others fail."""
    async with EmbeddedCluster("gone") as gone:
        server = gone.server
    caller = await bench.caller()
    dead = [
        bench.options.model_copy(update={"name": f"dead-{n}", "server": f"{server}/{n}", "address": server})
        for n in range(20)
    ]

    async def call(cluster: str, times: int) -> list[str]:
        options = next(each for each in (bench.options, *dead) if each.name == cluster)
        there = type(caller)(caller.principal, caller.token, options, "request-1")
        outcomes = []
        for _ in range(times):
            async with bench.access.session(there, "test", NOBODY) as session:
                try:
                    outcomes.append("ok" if (await session.request(READ, PODS)).ok else "")
                except ClusterUnavailable as error:
                    outcomes.append(error.outcome)
        return outcomes

    await call("east", 4)
    before, connections = bench.cluster.served, bench.cluster.connections
    healthy, *rest = await asyncio.gather(call("east", 100), *(call(each.name, 20) for each in dead))
    assert healthy == ["ok"] * 100
    assert bench.cluster.served - before == 100
    assert bench.cluster.connections == connections
    assert rest == [["unavailable"] * 5 + ["breaker_open"] * 15] * 20
    words = {state.name: state.breaker.word for state in bench.pool.state().clusters}
    assert words == {"east": "closed", **{each.name: "open" for each in dead}}
