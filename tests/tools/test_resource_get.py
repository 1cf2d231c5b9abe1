from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access.questions import AnswerNeeded, Answers
from gateway.demo.faults import BrokenService, Reply
from gateway.demo.wire import Obj
from gateway.errors import GatewayError
from gateway.policy.options import NamespaceRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

BUDGET = 24 * 1024
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo, annotations: {team: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
"""


def config_map(name: str, namespace: str = "demo", **data: str) -> Obj:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


async def test_an_object_is_compact_json_below_the_clusters_name(workbench: MakeWorkbench) -> None:
    """The first line says which cluster and which object; what nobody asked for is left out."""
    bench = await workbench(label="PROD")
    await bench.cluster.apply(DEPLOYMENT)
    text = await bench.call("resource_get", {"resource": "deploy", "name": "web", "namespace": "demo"})
    head, _, body = text.partition("\n")
    assert head == "cluster east [PROD] · deployments.apps/web in namespace demo"
    document = orjson.loads(body)
    assert body == orjson.dumps(document).decode()
    assert (document["apiVersion"], document["kind"], document["spec"]["replicas"]) == ("apps/v1", "Deployment", 2)
    assert not {"managedFields", "annotations"} & set(document["metadata"])


async def test_one_call_is_one_request(bench: Workbench) -> None:
    """With a namespace nothing is asked for but the object."""
    bench.cluster.seed([config_map("a")])
    await bench.call("resource_get", {"resource": "cm", "name": "a", "namespace": "demo"})
    assert bench.sent() == ["GET /api/v1/namespaces/demo/configmaps/a"]


async def test_annotations_come_when_they_are_asked_for(bench: Workbench) -> None:
    """All but last-applied, which is the object once more."""
    await bench.cluster.apply(DEPLOYMENT)
    arguments = {"resource": "deploy", "name": "web", "namespace": "demo", "includeAnnotations": "true"}
    assert '"team":"shop"' in await bench.call("resource_get", arguments)


async def test_the_same_object_as_yaml(bench: Workbench) -> None:
    """For whoever asks for it, with the same first line."""
    bench.cluster.seed([config_map("a", colour="blue")])
    arguments = {"resource": "cm", "name": "a", "namespace": "demo"}
    head, _, body = (await bench.call("resource_get", arguments | {"output": "yaml"})).partition("\n")
    assert head == "cluster east · configmaps/a in namespace demo"
    plain = await bench.call("resource_get", arguments)
    assert yaml.safe_load(body) == orjson.loads(plain.partition("\n")[2])


async def test_where_a_program_reads_all_is_json(bench: Workbench) -> None:
    """The cluster is a field then, and nothing stands around it."""
    bench.cluster.seed([config_map("a", colour="blue")])
    text = await bench.call("resource_get", {"resource": "cm", "name": "a", "namespace": "demo", "output": "json"})
    answer = orjson.loads(text)
    assert (answer["cluster"], answer["object"]["data"], [*answer]) == (
        "east",
        {"colour": "blue"},
        ["cluster", "object"],
    )


async def test_a_kind_without_namespaces_needs_none(bench: Workbench) -> None:
    """A namespace that is given all the same changes nothing."""
    for more in ({}, {"namespace": "demo"}, {"namespace": ""}):
        text = await bench.call("resource_get", {"resource": "ns", "name": "demo", **more})
        assert text.startswith("cluster east · namespaces/demo\n")


async def test_a_missing_namespace_is_found_or_asked_for(bench: Workbench) -> None:
    """One namespace is used, several are the person's choice, and the answer names the one it was."""
    bench.cluster.seed([config_map("one"), config_map("two"), config_map("two", "default", here="yes")])
    text = await bench.call("resource_get", {"resource": "cm", "name": "one"})
    assert text.startswith("cluster east · configmaps/one in namespace demo\n")
    arguments = {"resource": "cm", "name": "two"}
    with pytest.raises(AnswerNeeded):
        await bench.call("resource_get", arguments, answers=Answers({}, can_ask=True))
    text = await bench.call("resource_get", arguments, answers=Answers({"namespace": "default"}, can_ask=True))
    assert text.startswith("cluster east · configmaps/two in namespace default\n")
    assert '"here":"yes"' in text
    assert await bench.failure("resource_get", arguments) == (
        "ConfigMap two is in several namespaces: default, demo. Call again with one of them."
    )


async def test_the_status_alone(bench: Workbench) -> None:
    """What is asked for is shown, and not the object around it."""
    text = await bench.call("resource_get", {"resource": "ns", "name": "demo", "subresource": "status"})
    assert text == (
        'cluster east · namespaces/demo/status\n{"apiVersion":"v1","kind":"Namespace","status":{"phase":"Active"}}'
    )


async def test_the_scale_alone(bench: Workbench) -> None:
    """A workload's wish and count, in the words of autoscaling/v1."""
    await bench.cluster.apply(DEPLOYMENT)
    arguments = {"resource": "deploy", "name": "web", "namespace": "demo", "subresource": "Scale"}
    text = await bench.call("resource_get", arguments)
    assert text.startswith('cluster east · deployments.apps/web/scale in namespace demo\n{"kind":"Scale"')
    assert orjson.loads(text.partition("\n")[2])["spec"] == {"replicas": 2}


@pytest.mark.parametrize(
    ("resource", "subresource", "text"),
    [
        ("ns", "scale", "No subresource 'scale' here: namespaces has status to read."),
        ("cm", "status", "No subresource 'status' here: configmaps has none to read."),
        ("pods", "exec", "No subresource 'exec' here: pods has status and logs to read."),
        ("pods", "proxy", "No subresource 'proxy' here: pods has status and logs to read."),
        ("pods", "log/../exec", "No subresource 'log/../exec' here: pods has status and logs to read."),
        ("nodes", "proxy", "No subresource 'proxy' here: nodes has status to read."),
        ("deploy", "x" * 300, f"No subresource '{'x' * 40}' here: deployments has scale and status and logs to read."),
    ],
)
async def test_other_subresources_are_refused_with_those_there_are(
    bench: Workbench, resource: str, subresource: str, text: str
) -> None:
    """What is not on the list is not sent, not even for the API server to refuse."""
    arguments = {"resource": resource, "name": "web", "namespace": "demo", "subresource": subresource}
    assert await bench.failure("resource_get", arguments) == f"{text} Leave it out for the object itself."
    assert bench.sent() == []


@pytest.mark.parametrize("output", ["object", "yaml", "json"])
@pytest.mark.parametrize(
    "data",
    [
        {"config": "line of text\n" * 10_000},
        {f"key-{n}": "v" * 50 for n in range(2000)},
        {"quotes": '"' * 100_000, "more": "ü" * 100_000},
    ],
)
async def test_a_large_object_is_cut_where_it_says_so(bench: Workbench, output: str, data: dict[str, str]) -> None:
    """It keeps within the budget in every form, and it is said how to read more."""
    bench.cluster.seed([config_map("large", **data)])
    arguments: dict[str, Any] = {"resource": "cm", "name": "large", "namespace": "demo", "output": output}
    text = await bench.call("resource_get", arguments)
    assert len(text.encode()) <= BUDGET
    assert len(text.encode()) > BUDGET // 3
    assert " more " in text
    if output == "json":
        assert orjson.loads(text)["cut"] is True
    else:
        assert text.splitlines()[0].endswith(" · parts cut at …[more]; parameters.limitBytes for more")
    text = await bench.call("resource_get", arguments | {"parameters": {"limitBytes": 1_000_000}})
    assert BUDGET < len(text.encode()) <= 1_000_000
    assert "limitBytes" not in text.splitlines()[0]


@pytest.mark.parametrize(
    "name", ["a/b", "a%2Flog", "a%2flog", "..", ".", "a\\b", "a\nb", "x" * 254, "a/../../../../secrets/b", "a\x00b"]
)
@pytest.mark.parametrize("where", ["name", "namespace"])
async def test_a_name_that_could_reach_another_path_sends_nothing(bench: Workbench, name: str, where: str) -> None:
    """Slash, percent and dots are refused before anything goes out, in a name and in a namespace."""
    arguments = {"resource": "pods", "name": "web", "namespace": "demo"} | {where: name}
    text = await bench.failure("resource_get", arguments)
    assert text.startswith((f"{where} holds characters that no Kubernetes name has", f"{where} is longer than 253"))
    assert bench.sent() == []


@given(
    name=st.text(alphabet=st.sampled_from("ab./%\\?#&=+;:@ \n\té2Ff"), min_size=1, max_size=12),
    namespace=st.text(alphabet=st.sampled_from("ab./%\\?#2Ff"), min_size=1, max_size=8),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_name_reaches_another_path(bench: Workbench, name: str, namespace: str) -> None:
    """Whatever the name, what arrives is one pod's path, or nothing does."""
    bench.cluster.requests.clear()
    arguments = {"resource": "pods", "name": name, "namespace": namespace}
    if not name.strip() or not namespace.strip():
        return
    await bench.failure("resource_get", arguments)
    for sent in bench.sent():
        method, _, path = sent.partition(" ")
        assert method == "GET"
        assert path.startswith("/api/v1/namespaces/")
        assert path.count("/") == 6
        assert "%2f" not in path.lower()
        assert "?" not in path
        assert "/pods/" in path


@pytest.mark.parametrize("resource", ["secrets", "sa", "roles", "rolebindings.rbac.authorization.k8s.io", "v1/Secret"])
async def test_restricted_kinds_can_not_be_read(bench: Workbench, resource: str) -> None:
    """With a cluster-admin's token as well."""
    text = await bench.failure("resource_get", {"resource": resource, "name": "mcp", "namespace": "demo"})
    assert text.startswith(f"Cluster east serves no '{resource}'.")
    assert bench.sent() == []


async def test_the_policy_narrows_namespaces(workbench: MakeWorkbench) -> None:
    """Also that of the namespace object itself."""
    bench = await workbench(PolicyOptions(namespaces=NamespaceRules(deny=frozenset({"kube-system"}))))
    said = "The gateway's policy does not allow namespace kube-system on this cluster."
    assert await bench.failure("resource_get", {"resource": "cm", "name": "a", "namespace": "kube-system"}) == said
    assert await bench.failure("resource_get", {"resource": "ns", "name": "kube-system"}) == said
    assert bench.sent() == []
    await bench.call("resource_get", {"resource": "ns", "name": "demo"})


async def test_what_is_not_there_says_where_to_look(bench: Workbench) -> None:
    """In Kubernetes' words, and the next call."""
    assert await bench.failure("resource_get", {"resource": "cm", "name": "nobody", "namespace": "demo"}) == (
        'configmaps "nobody" not found. Check name and namespace with resource_list, or the kind with resource_types.'
    )
    assert await bench.failure("resource_get", {"resource": "node", "name": "nobody"}) == (
        'nodes "nobody" not found. Check name and namespace with resource_list, or the kind with resource_types.'
    )


async def test_what_rbac_forbids_is_said_in_kubernetes_words(bench: Workbench) -> None:
    """Who may not do what where."""
    text = await bench.failure(
        "resource_get", {"resource": "cm", "name": "a", "namespace": "kube-system"}, service_account="demo/viewer"
    )
    assert text == (
        'Forbidden by the cluster\'s RBAC: User "system:serviceaccount:demo:viewer" cannot get resource "configmaps" '
        'in API group "" in the namespace "kube-system". Use a namespace or kind the token may read, or ask a person '
        "to grant it."
    )


async def test_an_aggregated_api_that_is_broken_does_not_answer(bench: Workbench) -> None:
    """Whether discovery still has its kinds or not, the agent gets a sentence."""
    bench.cluster.serve_metrics()
    await bench.call("resource_types", {})
    with bench.cluster.fault(BrokenService("metrics.k8s.io", "v1beta1")):
        text = await bench.failure("resource_get", {"resource": "nodes.metrics.k8s.io", "name": "east-1"})
    assert text.startswith("The API server failed with status 503: ")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>"])
async def test_an_answer_that_is_no_object_is_told(bench: Workbench, body: bytes) -> None:
    """A proxy's page is no ConfigMap."""
    with bench.cluster.fault(Reply(200, body), paths=["*/configmaps/*"]):
        text = await bench.failure("resource_get", {"resource": "cm", "name": "a", "namespace": "demo"})
    assert text.startswith("The API server's answer is not")


async def test_a_token_that_ended_is_the_persons_to_renew(bench: Workbench) -> None:
    """The cluster's 401 in the middle of a call."""
    async with bench.session() as session:
        tool = bench.tools["resource_get"]
        await session.catalog()
        bench.cluster.rotate_keys()
        with pytest.raises(GatewayError) as caught:
            await tool.run(session, tool.arguments(resource="cm", name="a", namespace="demo"))
    assert caught.value.outcome == "unauthenticated"
