import asyncio
from contextlib import suppress
from dataclasses import asdict

import pytest
from prometheus_client import generate_latest

from gateway.access.session import ClusterSession
from gateway.clusters.options import LimitOptions
from gateway.demo.faults import Hang, HugeList, Refuse, Reply
from gateway.discovery.resolve import One, resolve
from gateway.errors import BadArgument, ClusterUnavailable, GatewayError, NotOffered, Refused
from gateway.kube.errors import ApiError, Forbidden, InvalidToken, NotFound, TooLarge
from gateway.kube.request import Request
from gateway.kube.types import ResourceType
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: demo}
data: {colour: blue}
"""
SECRETS = ResourceType("", "v1", "secrets", "Secret", "secret", namespaced=True, verbs=frozenset({"get", "list"}))


async def kind_of(session: ClusterSession, name: str) -> ResourceType:
    """Return a kind as discovery has it."""
    match = resolve(await session.catalog(), name)
    assert isinstance(match, One)
    return match.type


def read(resource: str, name: str = "", namespace: str = "demo", **more: str) -> Request:
    """Make a request to read something of the core group."""
    verb = "get" if name else "list"
    return Request(verb=verb, group="", version="v1", resource=resource, namespace=namespace, name=name, **more)  # type: ignore[arg-type]


async def test_a_warm_read_is_one_request_on_an_open_connection(bench: Workbench) -> None:
    """After the first call nothing goes to the cluster but what was asked for (promise 5)."""
    await bench.cluster.apply(CONFIG_MAP)
    async with bench.session() as session:
        kind = await kind_of(session, "configmaps")
        await session.request(read("configmaps", "settings"), kind)
    requests, connections = bench.cluster.served, bench.cluster.connections
    caller = await bench.caller()
    for _ in range(20):
        async with bench.access.session(caller, "test", answers=session.answers) as warm:
            await warm.request(read("configmaps", "settings"), await kind_of(warm, "cm"))
    assert bench.cluster.served - requests == 20
    assert bench.cluster.connections == connections


async def test_a_request_is_recorded_with_who_what_and_what_came_of_it(bench: Workbench) -> None:
    """One record says everything about a request but its token and its content."""
    await bench.cluster.apply(CONFIG_MAP)
    async with bench.session(tool="resource_get") as session:
        answer = await session.request(read("configmaps", "settings"), await kind_of(session, "cm"))
        principal = session.principal
    [record] = bench.records
    fields = asdict(record)
    assert fields.pop("timestamp").tzinfo is not None
    assert fields.pop("ms") > 0
    assert fields.pop("token_id")
    assert fields.pop("api_audit_id") == answer.headers.get("audit-id", "")
    assert fields == {
        "level": "info",
        "event": "kubernetes_request",
        "request_id": "request-1",
        "issuer": "https://kubernetes.default.svc",
        "subject": "system:serviceaccount:demo:mcp",
        "source": "",
        "cluster": "east",
        "tool": "resource_get",
        "verb": "get",
        "group": "",
        "resource": "configmaps",
        "subresource": "",
        "namespace": "demo",
        "name": "settings",
        "dry_run": False,
        "confirmation": "",
        "decision": "allow",
        "status": 200,
        "bytes": len(answer.body),
    }
    assert principal.token_digest not in repr(record)
    assert b"blue" in answer.body
    assert "blue" not in repr(record)


async def test_a_session_holds_its_cluster_and_no_longer(bench: Workbench) -> None:
    """The lease ends with the run of the tool, whatever became of it."""
    with suppress(ZeroDivisionError):
        async with bench.session():
            assert bench.pool.state().leases == 1
            raise ZeroDivisionError
    assert bench.pool.state().leases == 0


async def test_a_restricted_kind_is_refused_in_the_words_of_one_that_does_not_exist(bench: Workbench) -> None:
    """Even the gateway's own mistake, a type that discovery never gives, sends nothing (promise 7)."""
    async with bench.session() as session:
        with pytest.raises(NotOffered, match="serves no such kind"):
            await session.request(read("secrets"), SECRETS)
    assert bench.sent() == []
    assert [(record.resource, record.decision, record.status) for record in bench.records] == [
        ("secrets", "not_found", 0)
    ]


@pytest.mark.parametrize(
    ("policy", "request_", "error"),
    [
        (PolicyOptions(kinds=KindRules(deny=frozenset({"pods"}))), read("pods"), Refused),
        (PolicyOptions(kinds=KindRules(allow=frozenset({"configmaps"}))), read("pods"), Refused),
        (PolicyOptions(namespaces=NamespaceRules(deny=frozenset({"demo"}))), read("pods"), Refused),
        (PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"prod"}))), read("pods"), Refused),
        (PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"prod"}))), read("pods", namespace=""), BadArgument),
        (PolicyOptions(), read("pods", "web", subresource="exec"), Refused),
        (PolicyOptions(), read("pods", "web", subresource="proxy"), Refused),
        (
            PolicyOptions(),
            Request(verb="patch", group="", version="v1", resource="pods", namespace="demo", name="web", body=b"{}"),
            Refused,
        ),
        (
            PolicyOptions(writes=frozenset({"apply"})),
            Request(verb="delete", group="", version="v1", resource="pods", namespace="demo", name="web"),
            Refused,
        ),
    ],
)
async def test_what_the_policy_forbids_is_not_sent_but_recorded(
    workbench: MakeWorkbench, policy: PolicyOptions, request_: Request, error: type[GatewayError]
) -> None:
    """The choke point judges the request as it would go out, and keeps the refusal (promise 6)."""
    bench = await workbench(policy)
    pods = ResourceType("", "v1", "pods", "Pod", "pod", namespaced=True, verbs=frozenset())
    async with bench.session() as session:
        with pytest.raises(error):
            await session.request(request_, pods)
    assert bench.sent() == []
    [record] = bench.records
    assert (record.verb, record.resource, record.decision, record.status) == (
        request_.verb,
        "pods",
        error.outcome,
        0,
    )


async def test_a_request_for_another_kind_than_it_says_is_the_gateways_own_mistake(bench: Workbench) -> None:
    """The policy judges the path by what the catalog says of the kind, so the two must be of one kind."""
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        with pytest.raises(ValueError, match="made with the type pods"):
            await session.request(read("secrets"), pods)
        with pytest.raises(ValueError, match="made with the type pods"):
            await session.request(read("namespaces", "demo", namespace=""), pods)
    assert bench.sent() == []


@pytest.mark.parametrize("name", ["a/b", "a%2Flog", "..", "a\nb"])
async def test_a_name_that_can_not_be_sent_is_recorded_as_it_was_typed(bench: Workbench, name: str) -> None:
    """Whoever tries to reach another path leaves a trace."""
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        with pytest.raises(BadArgument):
            await session.request(read("pods", name), pods)
    assert bench.sent() == []
    assert [(record.name, record.decision) for record in bench.records] == [(name, "bad_argument")]


async def test_what_the_api_server_refuses_is_an_error_of_its_kind(bench: Workbench) -> None:
    """The status stays with the record, and the words with the error."""
    async with bench.session(service_account="demo/viewer") as session:
        nodes = await kind_of(session, "nodes")
        pods = await kind_of(session, "pods")
        with pytest.raises(Forbidden, match='User "system:serviceaccount:demo:viewer" cannot list resource "nodes"'):
            await session.request(read("nodes", namespace=""), nodes)
        with pytest.raises(NotFound, match='pods "nobody" not found'):
            await session.request(read("pods", "nobody"), pods)
    assert [(record.decision, record.status) for record in bench.records] == [("allow", 403), ("allow", 404)]
    assert 'kube_mcp_gateway_api_requests_total{cluster="east",status="403",verb="list"} 1.0' in scrape(bench)


def scrape(bench: Workbench) -> str:
    """Return the metrics as Prometheus reads them."""
    return generate_latest(bench.metrics.registry).decode()


async def test_the_clusters_401_ends_the_verdict(bench: Workbench) -> None:
    """A token that the cluster no longer accepts is not believed for the rest of its life."""
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        assert bench.identity.state().verdicts == 1
        bench.cluster.rotate_keys()
        with pytest.raises(InvalidToken):
            await session.request(read("pods"), pods)
        assert bench.identity.state().verdicts == 0


async def test_a_401_during_discovery_ends_the_verdict_too(bench: Workbench) -> None:
    """Whatever the request was for, the token is no longer good."""
    async with bench.session() as session:
        bench.cluster.rotate_keys()
        with pytest.raises(InvalidToken):
            await session.catalog()
        assert bench.identity.state().verdicts == 0


async def test_a_cluster_that_is_down_is_told_by_its_name(workbench: MakeWorkbench) -> None:
    """The caller hears which cluster, what is the matter and what to do; the record says how it failed."""
    bench = await workbench(label="PROD")
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        with bench.cluster.fault(Refuse()), pytest.raises(ClusterUnavailable) as caught:
            await session.request(read("pods"), pods)
        assert caught.value.message == (
            "Cluster east [PROD] can't be reached: nothing answers at its address. Other clusters are not affected; "
            "try again in a minute, and tell a person if it lasts."
        )
    assert [(record.decision, record.status) for record in bench.records] == [("connect", 0)]


async def test_discovery_of_a_cluster_that_is_down_says_the_same(bench: Workbench) -> None:
    """It makes no difference to the caller which of the gateway's questions got no answer."""
    async with bench.session() as session:
        with bench.cluster.fault(Refuse()), pytest.raises(ClusterUnavailable, match="Cluster east can't be reached"):
            await session.catalog()


async def test_an_answer_without_end_is_abandoned(bench: Workbench) -> None:
    """A huge list costs no more than its limit, and is recorded as what it was."""
    async with bench.session() as session:
        maps = await kind_of(session, "configmaps")
        with bench.cluster.fault(HugeList(size=64 << 20)), pytest.raises(TooLarge):
            await session.request(read("configmaps"), maps)
    assert [record.decision for record in bench.records] == ["too_large"]


async def test_a_call_that_finds_no_place_is_refused_and_recorded(workbench: MakeWorkbench) -> None:
    """With the room inside taken and nobody allowed to wait, the next call is told so at once."""
    bench = await workbench(limits=LimitOptions(connections=1, queue=0))
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        with bench.cluster.fault(Hang("tls")) as hanging:
            first = asyncio.create_task(session.request(read("pods"), pods))
            while not hanging.hits:  # noqa: ASYNC110  # it comes, or the test's time is up
                await asyncio.sleep(0)
            with pytest.raises(ClusterUnavailable, match="waiting already"):
                await session.request(read("pods"), pods)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
    assert [(record.decision, record.status) for record in bench.records] == [("unavailable", 0), ("cancelled", 0)]
    assert 'status="cancelled"' in scrape(bench)


@pytest.mark.parametrize("status", [200, 418, 500])
async def test_the_answers_audit_id_is_kept(bench: Workbench, status: int) -> None:
    """An operator finds the request again in the API server's own audit log."""
    async with bench.session() as session:
        pods = await kind_of(session, "pods")
        with bench.cluster.fault(Reply(status, b"{}", headers=(("Audit-Id", "a-1"),)), paths=["*/pods"]):
            if status == 200:
                await session.request(read("pods"), pods)
            else:
                with pytest.raises(ApiError):
                    await session.request(read("pods"), pods)
    assert [(record.status, record.api_audit_id) for record in bench.records] == [(status, "a-1")]
