from typing import Any

import pytest

from tests.contract.conftest import JSON_PATCH, MERGE, STRATEGIC, Cluster, Http, config_map, deployment


@pytest.fixture
def maps(space: str) -> str:
    """The path of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{space}/configmaps"


@pytest.fixture
def deployments(space: str) -> str:
    """The path of a namespace's Deployments."""
    return f"/apis/apps/v1/namespaces/{space}/deployments"


async def test_a_created_object_is_given_its_identity(http: Http, maps: str) -> None:
    """Create answers 201 with uid, resourceVersion and creation, and says who owns what was sent."""
    answer = await http("POST", maps, config_map("a", data={"k": "v"}))
    metadata = answer.json["metadata"]
    assert (answer.status, len(metadata["uid"])) == (201, 36)
    (entry,) = metadata["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("contract", "Update")
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:k": {}}}


async def test_a_name_is_taken_once(http: Http, maps: str) -> None:
    """Creating the same name again is 409 AlreadyExists."""
    await http("POST", maps, config_map("a"))
    answer = await http("POST", maps, config_map("a"))
    assert (answer.status, answer.json["reason"]) == (409, "AlreadyExists")
    assert answer.message == 'configmaps "a" already exists'


async def test_a_name_can_be_left_to_the_server(http: Http, maps: str) -> None:
    """A generateName gets five characters appended."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    name = (await http("POST", maps, body)).json["metadata"]["name"]
    assert name.startswith("made-")
    assert len(name) == len("made-") + 5


async def test_a_dry_run_changes_nothing(http: Http, maps: str) -> None:
    """dryRun=All answers as if it had been done, with an invented uid and no resourceVersion."""
    answer = await http("POST", f"{maps}?dryRun=All", config_map("dry"))
    assert answer.status == 201
    assert "uid" in answer.json["metadata"]
    assert "resourceVersion" not in answer.json["metadata"]
    assert (await http.get(f"{maps}/dry")).status == 404
    await http("POST", maps, config_map("real", data={"k": "v"}))
    changed = await http("PATCH", f"{maps}/real?dryRun=All", {"data": {"k": "w"}}, content_type=MERGE)
    assert changed.json["data"] == {"k": "w"}
    assert (await http.get(f"{maps}/real")).json["data"] == {"k": "v"}
    assert (await http("DELETE", f"{maps}/real?dryRun=All")).status == 200
    assert (await http.get(f"{maps}/real")).status == 200


HANDLED = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '

REFUSED: list[tuple[str, Any, int, str]] = [
    ("", {"apiVersion": "v1", "kind": "ConfigMap"}, 422,
     'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
    ("", {**config_map("a"), "metadata": {"name": "a", "namespace": "other"}}, 400,
     "the namespace of the provided object does not match the namespace sent on the request"),
    ("", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, 400,
     HANDLED.replace("ConfigMap", "Secret", 1) + "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
    ("", {"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}}, 400,
     HANDLED.replace("v1", "v2")
     + 'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"'),
    ("", config_map("a", data={"k": 1}), 400,
     HANDLED + "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
    ("fieldValidation=Strict", config_map("a", dat={"k": "v"}), 400,
     HANDLED + 'strict decoding error: unknown field "dat"'),
    ("dryRun=Some", config_map("a"), 422,
     'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'),
    ("", "x", 400,
     ("the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
      "invalid character 'x' looking for beginning of value (78)")),
]  # fmt: skip


@pytest.mark.parametrize(("query", "body", "status", "message"), REFUSED, ids=range(len(REFUSED)))
async def test_what_cannot_be_created_is_refused(
    http: Http, maps: str, *, query: str, body: Any, status: int, message: str
) -> None:
    """A missing name, a foreign namespace, kind or version, a wrong type and a strict unknown field are refused."""
    answer = await http("POST", f"{maps}?{query}", body)
    assert (answer.status, answer.message) == (status, message)


async def test_a_bad_name_is_explained(http: Http, maps: str) -> None:
    """A name that is no RFC 1123 subdomain is 422, with the rule and the field as cause."""
    answer = await http("POST", maps, config_map("A_b"))
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, "metadata.name")
    assert "a lowercase RFC 1123 subdomain must consist of" in answer.message


async def test_a_namespace_must_exist(http: Http) -> None:
    """Creating in a missing namespace is 404 and names the namespace."""
    answer = await http("POST", "/api/v1/namespaces/never-made/configmaps", config_map("a"))
    assert (answer.status, answer.message) == (404, 'namespaces "never-made" not found')


async def test_an_unknown_field_is_dropped_with_a_warning(http: Http, maps: str) -> None:
    """By default an unknown field is not stored, and a Warning header says so."""
    answer = await http("POST", maps, config_map("a", dat={"k": "v"}))
    assert answer.status == 201
    assert answer.headers["Warning"] == '299 - "unknown field \\"dat\\""'
    assert "dat" not in answer.json


async def test_another_media_type_is_not_supported(http: Http, maps: str) -> None:
    """A body of an unknown form is 415."""
    answer = await http("POST", maps, "x", content_type="text/csv")
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


async def test_yaml_can_be_sent(http: Http, maps: str) -> None:
    """application/yaml is read as well as JSON."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sent}\ndata: {when: '2026-01-01'}\n"
    answer = await http("POST", maps, text, content_type="application/yaml")
    assert (answer.status, answer.json["data"]) == (201, {"when": "2026-01-01"})


async def test_a_deployment_is_completed(http: Http, deployments: str) -> None:
    """What a Deployment leaves out gets the documented defaults."""
    spec = (await http("POST", f"{deployments}?dryRun=All", deployment("web"))).json["spec"]
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert spec["template"]["spec"] == {
        "containers": [
            {
                "name": "app",
                "image": "example.test/app:1",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def _with(**container: Any) -> dict[str, Any]:
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = [{"name": "app", "image": "i:1", **container}]
    return body


BAD: list[tuple[dict[str, Any], str]] = [
    (deployment("web", replicas=-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (deployment("web", selector={"matchLabels": {"app": "other"}}),
     'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'),
    (_with(image=""), "spec.template.spec.containers[0].image: Required value"),
    (_with(name=""), "spec.template.spec.containers[0].name: Required value"),
    (_with(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
     'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "none"'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), BAD, ids=range(len(BAD)))
async def test_an_invalid_deployment_is_explained(
    http: Http, deployments: str, body: dict[str, Any], message: str
) -> None:
    """422 says which field breaks which rule."""
    answer = await http("POST", f"{deployments}?dryRun=All", body)
    assert (answer.status, answer.message) == (422, f'Deployment.apps "web" is invalid: {message}')


async def test_a_selector_does_not_change(http: Http, deployments: str) -> None:
    """A Deployment's selector is immutable."""
    await http("POST", deployments, deployment("web"))
    other = {"matchLabels": {"app": "z"}}
    template = {"metadata": {"labels": {"app": "z"}}}
    answer = await http(
        "PATCH", f"{deployments}/web", {"spec": {"selector": other, "template": template}}, content_type=MERGE
    )
    words = 'spec.selector: Invalid value: {"matchLabels":{"app":"z"}}: field is immutable'
    assert (answer.status, answer.message) == (422, f'Deployment.apps "web" is invalid: {words}')


async def test_an_immutable_config_map_stays_as_it_is(http: Http, maps: str) -> None:
    """With immutable: true the data can't be changed any more."""
    await http("POST", maps, config_map("a", data={"k": "v"}, immutable=True))
    answer = await http("PATCH", f"{maps}/a", {"data": {"k": "w"}}, content_type=MERGE)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert "field is immutable when `immutable` is set" in answer.message


async def test_the_generation_counts_changes_of_the_spec(http: Http, deployments: str) -> None:
    """metadata.generation grows with the spec and not with labels; ConfigMaps have none."""
    await http("POST", deployments, deployment("web", paused=True))
    labelled = await http("PATCH", f"{deployments}/web", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    scaled = await http("PATCH", f"{deployments}/web", {"spec": {"revisionHistoryLimit": 3}}, content_type=MERGE)
    generations = [answer.json["metadata"]["generation"] for answer in (labelled, scaled)]
    assert generations == [1, 2]


async def test_a_write_against_something_older_conflicts(http: Http, maps: str) -> None:
    """An update with a resourceVersion that is not the newest is 409 Conflict, without causes."""
    made = (await http("POST", maps, config_map("a", data={"k": "1"}))).json
    await http("PATCH", f"{maps}/a", {"data": {"k": "2"}}, content_type=MERGE)
    answer = await http("PUT", f"{maps}/a", made)
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    assert "causes" not in answer.json["details"]


async def test_an_update_without_a_version_replaces(http: Http, maps: str) -> None:
    """A PUT that names no resourceVersion wins; one of another name or of nothing is refused."""
    await http("POST", maps, config_map("a", data={"k": "1"}))
    assert (await http("PUT", f"{maps}/a", config_map("a", data={"l": "2"}))).json["data"] == {"l": "2"}
    renamed = await http("PUT", f"{maps}/a", config_map("b"))
    assert renamed.message == "the name of the object (b) does not match the name on the URL (a)"
    assert (await http("PUT", f"{maps}/none", config_map("none"))).status == 404


async def test_a_write_that_changes_nothing_is_none(http: Http, maps: str) -> None:
    """An update to what is there already keeps the resourceVersion."""
    made = (await http("POST", maps, config_map("a", data={"k": "1"}))).json
    again = (await http("PATCH", f"{maps}/a", {"data": {"k": "1"}}, content_type=MERGE)).json
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_merge_patch_merges_maps_and_removes_with_null(http: Http, maps: str) -> None:
    """RFC 7396: keys are merged, null removes."""
    await http("POST", maps, config_map("a", data={"k": "1", "l": "2"}))
    answer = await http("PATCH", f"{maps}/a", {"data": {"k": None, "m": "3"}}, content_type=MERGE)
    assert answer.json["data"] == {"l": "2", "m": "3"}


async def test_a_json_patch_is_done_step_by_step(http: Http, maps: str) -> None:
    """RFC 6902: operations apply in order; one that does not fit is 422 and nothing is changed."""
    await http("POST", maps, config_map("a", data={"k": "1"}))
    steps = [
        {"op": "test", "path": "/data/k", "value": "1"},
        {"op": "add", "path": "/data/a~1b", "value": "2"},
        {"op": "move", "from": "/data/k", "path": "/data/moved"},
        {"op": "replace", "path": "/data/moved", "value": "9"},
    ]
    refused = await http("PATCH", f"{maps}/a", [steps[0], {"op": "remove", "path": "/data/z"}], content_type=JSON_PATCH)
    assert (refused.status, refused.message) == (422, "the server rejected our request due to an error in our request")
    invalid_key = await http("PATCH", f"{maps}/a", steps, content_type=JSON_PATCH)
    assert invalid_key.status == 422
    steps[1]["path"] = "/data/added"
    answer = await http("PATCH", f"{maps}/a", steps, content_type=JSON_PATCH)
    assert answer.json["data"] == {"added": "2", "moved": "9"}


async def test_a_strategic_merge_patch_merges_lists_by_their_key(http: Http, deployments: str) -> None:
    """Containers and their environment are merged by name, arguments replaced, and $patch: delete removes."""
    body = _with(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], args=["x", "y"])
    await http("POST", deployments, body)
    change = {"name": "app", "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}], "args": ["z"]}
    patch = {"spec": {"template": {"spec": {"containers": [change, {"name": "side", "image": "s:1"}]}}}}
    answer = await http("PATCH", f"{deployments}/web", patch, content_type=STRATEGIC)
    containers = {found["name"]: found for found in answer.json["spec"]["template"]["spec"]["containers"]}
    assert sorted((found["name"], found["value"]) for found in containers["app"]["env"]) == [("A", "1"), ("C", "3")]
    assert (containers["app"]["args"], containers["side"]["image"]) == (["z"], "s:1")


async def test_a_patch_without_a_known_form_is_not_supported(http: Http, maps: str) -> None:
    """A PATCH as plain JSON is 415."""
    await http("POST", maps, config_map("a"))
    assert (await http("PATCH", f"{maps}/a", {"data": {}})).status == 415


async def test_deletion_answers_with_what_is_gone(http: Http, maps: str) -> None:
    """DELETE of a plain object is a Success Status that names it by uid; once more it is 404."""
    uid = (await http("POST", maps, config_map("a"))).json["metadata"]["uid"]
    answer = await http("DELETE", f"{maps}/a")
    assert (answer.status, answer.json["status"]) == (200, "Success")
    assert answer.json["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
    assert (await http("DELETE", f"{maps}/a")).status == 404


@pytest.mark.parametrize("what", ["uid", "resourceVersion"])
async def test_deletion_can_insist_on_what_it_deletes(http: Http, maps: str, what: str) -> None:
    """A precondition that does not hold is 409, and nothing is deleted; one that holds lets it go."""
    metadata = (await http("POST", maps, config_map("a"))).json["metadata"]
    wrong = await http("DELETE", f"{maps}/a", {"preconditions": {what: "1"}})
    name = {"uid": "UID", "resourceVersion": "ResourceVersion"}[what]
    assert wrong.status == 409
    assert f"the {name} in the precondition (1) does not match the {name} in record ({metadata[what]})" in wrong.message
    assert (await http("DELETE", f"{maps}/a", {"preconditions": {what: metadata[what]}})).status == 200


async def test_a_finalizer_holds_a_deletion(http: Http, maps: str) -> None:
    """With a finalizer a deleted object lingers with a deletionTimestamp, and goes when the finalizer is taken away."""
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.test/hold"]
    await http("POST", maps, body)
    answer = await http("DELETE", f"{maps}/a")
    assert (answer.status, answer.json["kind"]) == (200, "ConfigMap")
    assert "deletionTimestamp" in (await http.get(f"{maps}/a")).json["metadata"]
    await http("PATCH", f"{maps}/a", {"metadata": {"finalizers": None}}, content_type=MERGE)
    assert (await http.get(f"{maps}/a")).status == 404


async def test_a_propagation_policy_is_one_of_three(http: Http, maps: str) -> None:
    """An unknown propagationPolicy is 422 and nothing is deleted."""
    await http("POST", maps, config_map("a"))
    answer = await http("DELETE", f"{maps}/a?propagationPolicy=Sideways")
    assert (answer.status, (await http.get(f"{maps}/a")).status) == (422, 200)
    assert 'Unsupported value: "Sideways"' in answer.message


async def test_a_foreground_deletion_waits_for_dependents(http: Http, deployments: str) -> None:
    """Foreground leaves the object with the foregroundDeletion finalizer until its dependents are gone."""
    await http("POST", deployments, deployment("web", paused=True))
    answer = await http("DELETE", f"{deployments}/web?propagationPolicy=Foreground")
    assert answer.json["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_a_protected_namespace_stays(http: Http) -> None:
    """The namespaces Kubernetes itself needs can't be deleted."""
    answer = await http("DELETE", "/api/v1/namespaces/kube-system")
    assert (answer.status, answer.message) == (
        403,
        'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    )


async def test_a_collection_is_deleted_by_selector(http: Http, maps: str) -> None:
    """DELETE on a collection deletes what the selector selects and answers with the list."""
    for name, group in (("a", "1"), ("b", "1"), ("c", "2")):
        await http("POST", maps, config_map(name, labels={"group": group}))
    answer = await http("DELETE", f"{maps}?labelSelector=group%3D1")
    assert (answer.status, answer.json["kind"]) == (200, "ConfigMapList")
    left = (await http.get(f"{maps}?labelSelector=group")).json["items"]
    assert [item["metadata"]["name"] for item in left] == ["c"]


async def test_a_body_over_three_mebibytes_is_too_large(http: Http, maps: str) -> None:
    """More than 3 MiB of body is 413."""
    answer = await http("POST", maps, config_map("a", data={"k": "x" * (3 << 20)}))
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")


async def test_namespaces_are_made_with_an_account(cluster: Cluster, http: Http, space: str) -> None:
    """A namespace has its name as label, a finalizer and is Active."""
    found = (await http.get(f"/api/v1/namespaces/{space}")).json
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == space
    assert (found["spec"]["finalizers"], found["status"]["phase"]) == (["kubernetes"], "Active")
    del cluster
