import orjson
import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.world import furnish
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

DEMO = "{apiVersion: v1, kind: Namespace, metadata: {name: demo}}"


@pytest.fixture
async def east(cluster: EmbeddedCluster, bench: Workbench) -> Workbench:
    """Give the shop's broken cluster `east`."""
    furnish(cluster, "east")
    await cluster.apply(DEMO)
    return bench


@pytest.fixture
async def west(cluster: EmbeddedCluster, bench: Workbench) -> Workbench:
    """Give the shop's broken cluster `west`."""
    furnish(cluster, "west")
    await cluster.apply(DEMO)
    return bench


async def first_line(bench: Workbench, resource: str, name: str, namespace: str = "shop") -> str:
    """Ask about one object."""
    text = await bench.call("diagnose", {"resource": resource, "name": name, "namespace": namespace})
    return text.splitlines()[0]


@pytest.mark.parametrize(
    ("resource", "name", "cause"),
    [
        ("deploy", "checkout", "ends because the variable PAYMENTS_URL is missing or empty (ConfigMap shop/checkout)"),
        ("service", "checkout", "ends because the variable PAYMENTS_URL is missing or empty (ConfigMap shop/checkout)"),
        ("deploy", "recommendations", "recommendations:1.9.0-rc1: the registry has no such image or tag"),
        ("deploy", "loyalty", "can't start: ConfigMap shop/loyalty-settings does not exist"),
        ("deploy", "catalog", "fails its readiness probe (GET :http/healthz): the application answers with status 503"),
        ("svc", "promo", "pods of deployment shop/promotions have app.kubernetes.io/name=promotions"),
        ("job", "migrate-orders-0042", 'column "refund_id" of relation "orders" already exists'),
        ("deploy", "cart", "deployment shop/cart: 2 of 2 pods ready · nothing is wrong"),
        ("cronjob", "nightly-report", "nothing is wrong"),
    ],
)
async def test_the_first_line_names_the_cause_in_the_east(
    east: Workbench, resource: str, name: str, cause: str
) -> None:
    """Whatever of a broken application is asked about, the first line names what is to be mended."""
    line = await first_line(east, resource, name)
    assert line.startswith("cluster east · ")
    assert cause in line


async def test_what_was_mended_is_told_as_past(cluster: EmbeddedCluster, east: Workbench) -> None:
    """A setting that is there by now is not called missing; its pods only have to start again."""
    metadata = {"name": "checkout", "namespace": "shop"}
    cluster.seed(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"PAYMENTS_URL": "http://p"}}]
    )
    text = await east.call("diagnose", {"resource": "deploy", "name": "checkout", "namespace": "shop"})
    assert "was missing or empty, which is set by now (ConfigMap shop/checkout)" in text.splitlines()[0]
    assert "next: change: restart the pods that have not started since" in text


@pytest.mark.parametrize(
    ("resource", "name", "namespace", "cause"),
    [
        ("deploy", "search", "shop", "it requests cpu 16, and the largest node has 4"),
        ("sts", "warehouse", "shop", "volume claim shop/data-warehouse-0 wants storage class 'fast-ssd'"),
        ("pvc", "data-warehouse-0", "shop", "which does not exist; there is standard"),
        ("deploy", "image-resizer", "shop", "is killed for memory: its limit is 64Mi"),
        ("deploy", "exporter", "reports", "quota reports/reports-quota is reached (pods=2"),
    ],
)
async def test_the_first_line_names_the_cause_in_the_west(
    west: Workbench, resource: str, name: str, namespace: str, cause: str
) -> None:
    """Resources, storage, memory and quota are named with the decisive value."""
    assert cause in await first_line(west, resource, name, namespace)


async def test_a_workload_takes_at_most_twelve_requests(east: Workbench) -> None:
    """The bound holds for a crash loop, whose log, events and settings are all read."""
    await first_line(east, "deploy", "checkout")
    assert len(east.sent()) <= 12


async def test_many_broken_things_of_a_namespace_fit_into_one_answer(east: Workbench) -> None:
    """A namespace takes at most 30 requests and 6 KB, and names every broken workload."""
    text = await east.call("diagnose", {"namespace": "shop"})
    assert len(east.sent()) <= 30
    assert len(text.encode()) <= 6 * 1024
    for name in ("checkout", "recommendations", "loyalty", "catalog", "promo", "migrate-orders-0042"):
        assert f"/{name} " in text


async def test_secrets_are_never_read(east: Workbench) -> None:
    """No request of a diagnosis, of an object or of everything, goes to a restricted kind."""
    await east.call("diagnose", {})
    await first_line(east, "deploy", "checkout")
    assert not [sent for sent in east.sent() if "secrets" in sent or "serviceaccounts" in sent or "rbac" in sent]


async def test_the_same_findings_are_there_as_data(east: Workbench) -> None:
    """With output=json the answer is JSON: ids, objects, evidence and the next step as a call."""
    answer = orjson.loads(
        await east.call("diagnose", {"resource": "deploy/checkout", "namespace": "shop", "output": "json"})
    )
    assert (answer["cluster"], answer["healthy"]) == ("east", False)
    finding = answer["findings"][0]
    assert finding["id"] == "crash-missing-setting"
    assert finding["object"] == {"resource": "deployments.apps", "namespace": "shop", "name": "checkout"}
    assert {step.get("tool") for step in finding["next"]} == {None, "resource_get"}
    assert "image" in answer["changed"]


async def test_symptoms_stand_below_their_cause(east: Workbench) -> None:
    """A service without ready pods is told as the effect of what its pods lack, not as a second trouble."""
    text = await east.call("diagnose", {"resource": "deploy", "name": "catalog", "namespace": "shop"})
    assert "therefore: service shop/catalog has no ready endpoint" in text
    assert "2. [" not in text


async def test_what_may_not_be_read_is_said(east: Workbench) -> None:
    """A token that may read only one namespace is told which lists of the cluster are missing."""
    text = await east.call("diagnose", {"namespace": "demo"}, service_account="demo/viewer")
    assert "nothing is wrong in what could be read" in text.splitlines()[0]
    assert "RBAC does not let this token read them" in text


async def test_the_policy_bounds_what_is_read(cluster: EmbeddedCluster, workbench: MakeWorkbench) -> None:
    """Kinds and namespaces that the operator keeps back are said to be missing, and never asked for."""
    furnish(cluster, "east")
    await cluster.apply(DEMO)
    policy = PolicyOptions(kinds=KindRules(deny=frozenset({"configmaps", "services"})))
    bench = await workbench(policy)
    text = await bench.call("diagnose", {"resource": "deploy", "name": "checkout", "namespace": "shop"})
    assert "PAYMENTS_URL" in text.splitlines()[0]
    assert "not allowed by the gateway's policy" in text
    assert not [sent for sent in bench.sent() if "configmaps" in sent or "/services" in sent]


async def test_a_namespace_that_is_not_allowed_is_not_read(cluster: EmbeddedCluster, workbench: MakeWorkbench) -> None:
    """Outside the allowed namespaces nothing is sent but what proves the token."""
    furnish(cluster, "east")
    await cluster.apply(DEMO)
    bench = await workbench(PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"demo"}))))
    text = await bench.failure("diagnose", {"resource": "deploy", "name": "checkout", "namespace": "shop"})
    assert "does not allow namespace shop" in text
    assert bench.sent() == []


async def test_an_object_that_does_not_exist_is_said(east: Workbench) -> None:
    """A wrong name is Kubernetes' own answer with the next step, not a diagnosis of nothing."""
    text = await east.failure("diagnose", {"resource": "deploy", "name": "chekout", "namespace": "shop"})
    assert 'deployments.apps "chekout" not found' in text


async def test_a_name_without_a_kind_is_asked_back(east: Workbench) -> None:
    """Without a kind nothing can be looked up; the answer says what to add."""
    assert "resource is missing" in await east.failure("diagnose", {"name": "checkout", "namespace": "shop"})


@pytest.mark.parametrize("arguments", [{"namespace": "shop"}, {}], ids=["namespace", "cluster"])
async def test_of_what_nobody_could_look_at_nothing_is_said(
    workbench: MakeWorkbench, arguments: dict[str, object]
) -> None:
    """Where the policy lets nothing be read, that is the answer, and not that nothing is wrong."""
    bench = await workbench(PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"elsewhere"}))))
    furnish(bench.cluster, "east")
    text = await bench.failure("diagnose", arguments)
    assert "could be read: the gateway's policy for this cluster does not allow it" in text
