import re
from typing import Any

import orjson
import pytest

from gateway.access.questions import AnswerNeeded, Answers
from gateway.clusters.options import LimitOptions
from gateway.demo.faults import Reply, Reset
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "nginx:1"}]}
"""
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boxes.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"kind": "Box", "plural": "boxes", "singular": "box", "listKind": "BoxList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                    }
                },
            }
        ],
    },
}
BOX = {"apiVersion": "example.com/v1", "kind": "Box", "metadata": {"name": "one", "namespace": "demo"}}


def config_map(name: str = "a", *, namespace: str | None = "demo", **data: str) -> dict[str, Any]:
    """Return a ConfigMap."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def bundle(*objects: dict[str, Any]) -> str:
    """Return objects as the documents of one text."""
    return "\n---\n".join(orjson.dumps(each).decode() for each in objects)


@pytest.fixture
async def auto(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench that writes without asking."""
    return await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="none"), label="PROD")


@pytest.fixture
async def person(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench where a person confirms."""
    return await workbench(PolicyOptions(writes=frozenset({"apply"})), label="PROD")


async def asked(bench: Workbench, manifest: Any, given: dict[str, str | None] | None = None, **more: Any) -> Any:
    """Return the question that a call puts."""
    with pytest.raises(AnswerNeeded) as needed:
        await bench.call("resource_apply", {"manifest": manifest, **more}, answers=Answers(given or {}, can_ask=True))
    return needed.value.question


def patches(bench: Workbench, *, dry: bool) -> list[str]:
    """Return the apply requests that were sent, dry runs or real ones."""
    return [line for line in bench.sent() if line.startswith("PATCH") and ("dryRun=All" in line) == dry]


async def test_each_document_is_created_changed_or_unchanged(auto: Workbench) -> None:
    """The answer's first line decides, then each document with its difference."""
    await auto.call("resource_apply", {"manifest": bundle(config_map("a", x="1"), config_map("b", x="1"))})
    manifest = bundle(config_map("a", x="1"), config_map("b", x="2"), config_map("c", x="3"))
    text = await auto.call("resource_apply", {"manifest": manifest})
    assert text.splitlines()[0] == "cluster east [PROD] · written: 1 created, 1 changed, 1 unchanged"
    assert "changed ConfigMap demo/b\n@@ -4,4 +4,4 @@ metadata\n   name: b\n" in text
    assert '-  x: "1"\n+  x: "2"' in text
    assert "created ConfigMap demo/c\n+apiVersion: v1" in text
    assert "unchanged ConfigMap demo/a" in text


async def test_what_is_there_already_is_not_written(auto: Workbench) -> None:
    """An unchanged document is tried and left alone."""
    await auto.call("resource_apply", {"manifest": config_map(x="1")})
    auto.cluster.requests.clear()
    text = await auto.call("resource_apply", {"manifest": config_map(x="1")})
    assert "nothing to write: the cluster has all of this already" in text
    assert (len(patches(auto, dry=True)), len(patches(auto, dry=False))) == (1, 0)


async def test_defaults_are_no_change(auto: Workbench) -> None:
    """Fields that the API server fills in are not shown as differences of an update."""
    # No controller of the embedded cluster changes it between the two.
    manifest = DEPLOYMENT.replace("kind: Deployment", "kind: StatefulSet").replace(
        "replicas", "serviceName: web\n  replicas"
    )
    await auto.call("resource_apply", {"manifest": manifest})
    text = await auto.call("resource_apply", {"manifest": manifest.replace("replicas: 1", "replicas: 3")})
    assert [line for line in text.splitlines() if line[0] in "+-"] == ["-  replicas: 1", "+  replicas: 3"]


async def test_the_namespace_is_given_asked_for_or_default(person: Workbench, auto: Workbench) -> None:
    """An object without a namespace gets the argument's, else the person's, else `default`, and the answer says so."""
    unplaced = config_map("a", namespace=None)
    text = await auto.call("resource_apply", {"manifest": unplaced, "namespace": "demo"})
    assert "created ConfigMap demo/a" in text
    text = await auto.call("resource_apply", {"manifest": unplaced, "dryRun": True})
    assert text.splitlines()[1] == "namespace default, because neither the manifest nor `namespace` names one"
    question = await asked(person, unplaced)
    assert question.message == "Cluster east [PROD]: which namespace for ConfigMap a?"
    question = await asked(person, bundle(unplaced, config_map("b")), {"namespace": "demo"})
    assert question.message.startswith("Cluster east [PROD]: apply this (1 created, 1 unchanged)?\n")
    assert "created ConfigMap demo/b" in question.message


async def test_the_arguments_namespace_moves_nothing(auto: Workbench) -> None:
    """Documents that name their namespace, or have none, keep it so."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    manifest = bundle(namespace, config_map("a", namespace="demo"))
    text = await auto.call("resource_apply", {"manifest": manifest, "namespace": "kube-system"})
    assert "created Namespace n" in text
    assert "created ConfigMap demo/a" in text


async def test_namespace_then_kind_then_the_rest(auto: Workbench) -> None:
    """Whatever the order in the manifest, each is written after what it needs, and progress is told."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    box = {**BOX, "metadata": {"name": "one", "namespace": "n"}, "spec": {"size": 1}}
    manifest = bundle(box, config_map("a", namespace="n"), CRD, namespace)
    text = await auto.call("resource_apply", {"manifest": manifest})
    written = re.findall(r"^created (\w+)", text, re.MULTILINE)
    assert written == ["Namespace", "CustomResourceDefinition", "Box", "ConfigMap"]
    assert list(auto.reports[-1]) == [4, 4, "created ConfigMap n/a"]
    # The kind is known at once, to this tool and to others.
    assert "one" in await auto.call("resource_list", {"resource": "boxes", "namespace": "n"})


async def test_what_can_not_be_tried_is_said(auto: Workbench) -> None:
    """Before the word is given, the reader learns which parts the API server has not judged."""
    text = await auto.call("resource_apply", {"manifest": bundle(CRD, BOX), "dryRun": True})
    assert "created Box demo/one (can't be tried before: this manifest brings its kind)" in text
    assert text.endswith("Nothing was written: this was a dry run.")
    assert patches(auto, dry=False) == []


async def test_an_object_that_fits_its_kind_only_after_the_change(auto: Workbench) -> None:
    """A new field in a definition and its first use go in one call."""
    await auto.call("resource_apply", {"manifest": CRD})
    wider = orjson.loads(orjson.dumps(CRD).replace(b'"size":', b'"color":{"type":"string"},"size":'))
    box = {**BOX, "spec": {"color": "red"}}
    text = await auto.call("resource_apply", {"manifest": bundle(wider, box), "dryRun": True})
    assert "(can't be tried before: this manifest changes its kind)" in text
    assert "1 created, 1 changed" in await auto.call("resource_apply", {"manifest": bundle(wider, box)})


async def test_a_conflict_is_no_matter_of_the_kind(auto: Workbench) -> None:
    """Another manager's field in an object stays theirs, also while the object's kind changes; nothing is written."""
    path = "/apis/example.com/v1/namespaces/demo/boxes/one"
    await auto.call("resource_apply", {"manifest": CRD})
    theirs = {"fieldManager": "other"}
    await auto.cluster.request(
        "PATCH", path, {**BOX, "spec": {"size": 1}}, content_type="application/apply-patch+yaml", params=theirs
    )
    auto.cluster.requests.clear()
    wider = orjson.loads(orjson.dumps(CRD).replace(b'"size":', b'"color":{"type":"string"},"size":'))
    text = await auto.failure("resource_apply", {"manifest": bundle(wider, {**BOX, "spec": {"size": 2}})})
    assert 'conflict with "other" (.spec.size)' in text
    assert patches(auto, dry=False) == []


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "demo"}}


@pytest.mark.parametrize(
    "manifest",
    [
        bundle(*(config_map(f"c{i}") for i in range(9)), SECRET),
        bundle({"apiVersion": "v1", "kind": "List", "items": [config_map("c"), SECRET]}),
        bundle({"apiVersion": "v1", "kind": "SecretList", "items": [config_map("c") | {"kind": "Secret"}]}),
    ],
    ids=["ten documents", "List", "SecretList"],
)
async def test_restricted_kinds_are_unknown_kinds(auto: Workbench, manifest: str) -> None:
    """Nothing is sent, and the words are those for a kind that nobody ever heard of."""
    text = await auto.failure("resource_apply", {"manifest": manifest})
    assert "Cluster east [PROD] serves no 'v1/Secret'" in text
    assert text.endswith("Nothing was written.")
    unheard = await auto.failure("resource_apply", {"manifest": manifest.replace("Secret", "Sesame")})
    assert unheard.replace("Sesame", "Secret") == text
    assert auto.sent() == []


async def test_a_definition_does_not_open_what_the_policy_closes(workbench: MakeWorkbench) -> None:
    """A CustomResourceDefinition in the manifest must not make a kind known that the policy restricts or denies."""
    for policy in (
        {"restricted_groups": frozenset({"example.com"})},
        {"kinds": KindRules(deny=frozenset({"boxes.example.com"}))},
    ):
        bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="none", **policy))
        text = await bench.failure("resource_apply", {"manifest": bundle(CRD, BOX)})
        assert "serves no 'example.com/v1/Box'" in text
        assert bench.sent() == []


async def test_a_kind_in_another_version_is_suggested(auto: Workbench) -> None:
    """An outdated apiVersion is answered with the one the cluster serves."""
    manifest = {"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "a"}}
    text = await auto.failure("resource_apply", {"manifest": manifest})
    assert "Did you mean networking.k8s.io/v1/Ingress?" in text


async def test_the_policy_holds_for_what_can_not_be_tried(workbench: MakeWorkbench) -> None:
    """An object of a namespace that is not allowed is refused before the first write, tried or not."""
    policy = PolicyOptions(
        writes=frozenset({"apply"}), confirmation="none", namespaces=NamespaceRules(deny=frozenset({"kube-system"}))
    )
    bench = await workbench(policy)
    for objects in (
        [config_map("a"), config_map("b", namespace="kube-system")],
        [CRD, {**BOX, "metadata": {"name": "b", "namespace": "kube-system"}}],
    ):
        text = await bench.failure("resource_apply", {"manifest": bundle(*objects)})
        assert "does not allow namespace kube-system" in text
        assert patches(bench, dry=False) == []


async def test_the_same_object_twice_is_refused(auto: Workbench) -> None:
    """Of two documents for one object neither is written."""
    text = await auto.failure("resource_apply", {"manifest": bundle(config_map(x="1"), config_map(x="2"))})
    assert text == "ConfigMap demo/a stands in the manifest more than once. Nothing was written."


async def test_long_names_are_told_apart(auto: Workbench) -> None:
    """Names are shown whole: two that differ at their ends are two objects, to the gateway and to a reader."""
    names = ["a" * 200 + "x", "a" * 200 + "y"]
    text = await auto.call("resource_apply", {"manifest": bundle(*map(config_map, names))})
    assert all(f"created ConfigMap demo/{name}" in text for name in names)


async def test_kinds_that_take_no_changes_are_refused(auto: Workbench) -> None:
    """What can only be created, such as a review, is no object to apply."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {"name": "a"}}
    text = await auto.failure("resource_apply", {"manifest": review})
    assert "its kind takes no changes" in text
    assert auto.sent() == []


async def test_warnings_of_the_api_server_are_passed_on(auto: Workbench) -> None:
    """What the API server warns of, such as a deprecation, stands beside its document."""
    await auto.call("resource_apply", {"manifest": config_map(x="1")})
    warning = ("Warning", '299 - "this is \\"deprecated\\""')
    reply = Reply(200, orjson.dumps(config_map(x="2")), "application/json", (warning,))
    with auto.cluster.fault(reply, verbs=["patch"]):
        text = await auto.call("resource_apply", {"manifest": config_map(x="2"), "dryRun": True})
    assert 'changed ConfigMap demo/a · warning: this is "deprecated"' in text


async def test_force_is_for_policies_that_have_it(auto: Workbench) -> None:
    """Without policy.force the argument is refused before anything is sent."""
    text = await auto.failure("resource_apply", {"manifest": config_map(), "force": True})
    assert "does not allow force" in text
    assert auto.sent() == []


async def test_every_document_that_would_fail_is_named(auto: Workbench) -> None:
    """All mistakes are told at once, each with its document, and nothing is written."""
    broken = config_map("b") | {"dta": {}}
    lost = config_map("c", namespace="nowhere")
    text = await auto.failure("resource_apply", {"manifest": bundle(config_map("a"), broken, lost)})
    first, *lines = text.splitlines()
    assert first == "cluster east [PROD] · nothing was written: 2 of 3 documents would fail"
    assert lines[0].startswith(
        "ConfigMap demo/b (document 2, line 3): it does not fit its kind: .dta: field not declared"
    )
    assert lines[1].startswith('ConfigMap nowhere/c (document 3, line 5): namespaces "nowhere" not found: correct')
    assert patches(auto, dry=False) == []


def _status(code: int, message: str, reason: str) -> bytes:
    return orjson.dumps(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
    )


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (400, 'admission webhook "w.example.com" does not support dry run', "so the change can't be shown"),
        (403, 'admission webhook "w.example.com" denied the request: no', "admission refuses it: admission webhook"),
        (403, 'configmaps "a" is forbidden: exceeded quota: q', "admission refuses it: configmaps"),
        (403, 'configmaps "a" is forbidden: User "x" cannot patch', "Forbidden by the cluster's RBAC"),
        (409, "the object has been modified; please apply your changes", "it has changed meanwhile"),
        (422, 'ConfigMap "a" is invalid: data: field is immutable', "field is immutable"),
        (500, 'failed calling webhook "w": connection refused', "The API server failed with status 500"),
    ],
)
async def test_refusals_are_told_apart(auto: Workbench, code: int, message: str, words: str) -> None:
    """Each way in which a dry run fails gets its own words, and nothing is written."""
    reply = Reply(code, _status(code, message, "X"), "application/json")
    with auto.cluster.fault(reply, verbs=["patch"]):
        text = await auto.failure("resource_apply", {"manifest": config_map()})
    assert words in text
    assert "nothing was written: 1 of 1" in text
    assert patches(auto, dry=False) == []


async def test_a_failure_half_way_is_reported(auto: Workbench) -> None:
    """What was written, what was refused and what was not begun are each named."""
    good, bad, rest = config_map("a"), {**BOX, "spec": {"size": "large"}}, config_map("z")
    text = await auto.failure("resource_apply", {"manifest": bundle(CRD, good, bad, rest)})
    first, *lines = text.splitlines()
    assert first == "cluster east [PROD] · stopped: 2 of 4 written"
    assert lines[:2] == ["created CustomResourceDefinition boxes.example.com", "created ConfigMap demo/a"]
    assert lines[2].startswith("not written: Box demo/one: it does not fit its kind: .spec.size: ")
    assert lines[3] == "not begun: ConfigMap demo/z"
    assert "apply all of it again" in lines[4]


async def test_a_write_without_an_answer_may_have_been_made(auto: Workbench) -> None:
    """Where the connection breaks during a write, the answer says that nobody knows."""
    with auto.cluster.fault(Reset(), paths=["*/boxes/*"], verbs=["patch"]):
        text = await auto.failure("resource_apply", {"manifest": bundle(CRD, BOX)})
    assert "stopped: 1 of 2 written" in text
    assert "may have been written: Box demo/one: Cluster east [PROD] did not say that it was done" in text


async def test_the_question_is_of_a_length_that_a_person_reads(person: Workbench) -> None:
    """However much changes, the question stays short and says what it leaves out."""
    many = bundle(*(config_map(f"c{i}", **{f"k{j}": "v" * 50 for j in range(40)}) for i in range(60)))
    question = await asked(person, many)
    assert len(question.message) < 5000
    assert question.message.startswith("Cluster east [PROD]: apply this (60 created)?\n")
    assert "more changed lines not shown" in question.message
    assert question.message.endswith("…and 40 more objects")


async def test_the_question_says_when_fields_are_taken_over(workbench: MakeWorkbench) -> None:
    """Force is nothing that a person should overlook."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), force=True))
    question = await asked(bench, config_map(), force=True)
    assert "TAKING OVER FIELDS FROM OTHER MANAGERS" in question.message


async def test_an_answer_fits(workbench: MakeWorkbench) -> None:
    """However large the difference, the answer keeps within its budget and names every document."""
    limits = LimitOptions(answer_bytes=8192)
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="none"), limits)
    manifest = bundle(config_map("a", x="v" * 500_000), *(config_map(f"c{i}", x="l\n" * 2000) for i in range(5)))
    text = await bench.call("resource_apply", {"manifest": manifest})
    assert len(text.encode()) <= 8192
    assert [f"created ConfigMap demo/{name}" in text for name in ("a", "c0", "c4")] == [True] * 3
    assert text.count("more changed lines not shown") == 6


async def test_a_manifest_is_taken_as_it_is(auto: Workbench) -> None:
    """Indented YAML keeps its indentation, long texts are taken, and strings for booleans are understood."""
    manifest = (
        "  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a, namespace: demo}\n  data:\n    x: " + "y" * 9000
    )
    text = await auto.call("resource_apply", {"manifest": manifest, "dryRun": "true", "plan": "", "namespace": None})
    assert "would be 1 created" in text


def test_schema_is_short(auto: Workbench) -> None:
    """A model pays for every word of the schema on each turn."""
    schema = auto.tools["resource_apply"].input_schema()
    assert schema["properties"]["manifest"]["anyOf"] == [{"type": "string"}, {"type": "object"}]
    assert schema["required"] == ["manifest"]


async def test_more_documents_than_one_call_may_ask_about_are_refused(workbench: MakeWorkbench) -> None:
    """Before anything is tried or written; the answer says how many there may be."""
    policy = PolicyOptions(writes=frozenset({"apply"}), confirmation="none")
    bench = await workbench(policy, LimitOptions(requests_per_call=20))
    manifest = bundle(*(config_map(f"c{number}") for number in range(6)))
    text = await bench.failure("resource_apply", {"manifest": manifest})
    assert "has 6 documents, and 5 can be applied in one call to this cluster" in text
    assert bench.sent() == []
    await bench.call("resource_apply", {"manifest": bundle(*(config_map(f"c{number}") for number in range(5)))})
