from typing import Any

import pytest

from tests.contract.conftest import APPLY, MERGE, Http, Reply, config_map, deployment


@pytest.fixture
def maps(space: str) -> str:
    """The path of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{space}/configmaps"


@pytest.fixture
def deployments(space: str) -> str:
    """The path of a namespace's Deployments."""
    return f"/apis/apps/v1/namespaces/{space}/deployments"


async def _apply(http: Http, path: str, body: Any, manager: str = "first", **query: str) -> Reply:
    options = "".join(f"&{key}={value}" for key, value in query.items())
    name = body["metadata"]["name"]
    return await http("PATCH", f"{path}/{name}?fieldManager={manager}{options}", body, content_type=APPLY)


def _owned(answer: Reply) -> dict[tuple[str, str], Any]:
    entries = answer.json["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def _with(*env: tuple[str, str], image: str = "example.test/app:1", **spec: Any) -> dict[str, Any]:
    body = deployment("web", **spec)
    found = {"name": "app", "image": image, **({"env": [{"name": n, "value": v} for n, v in env]} if env else {})}
    body["spec"]["template"]["spec"]["containers"] = [found]
    return body


async def test_an_apply_creates_and_owns_what_it_says(http: Http, maps: str) -> None:
    """Applying what is not there answers 201; the manager owns just the fields that were sent."""
    answer = await _apply(http, maps, config_map("a", data={"k": "v"}, labels={"l": "1"}))
    assert answer.status == 201
    assert _owned(answer) == {("first", "Apply"): {"f:data": {"f:k": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}}


async def test_applying_the_same_again_changes_nothing(http: Http, maps: str) -> None:
    """An apply without a difference keeps the resourceVersion."""
    first = await _apply(http, maps, config_map("a", data={"k": "v"}))
    again = await _apply(http, maps, config_map("a", data={"k": "v"}))
    assert (again.status, again.json["metadata"]) == (200, first.json["metadata"])


async def test_a_dry_run_shows_what_would_come_of_it(http: Http, maps: str) -> None:
    """dryRun=All on apply merges, defaults and checks, and stores nothing."""
    created = await _apply(http, maps, config_map("a", data={"k": "v"}), dryRun="All")
    assert created.status == 201
    assert (await http.get(f"{maps}/a")).status == 404
    await _apply(http, maps, config_map("a", data={"k": "v"}))
    changed = await _apply(http, maps, config_map("a", data={"k": "w"}), dryRun="All")
    assert (changed.status, changed.json["data"]) == (200, {"k": "w"})
    assert (await http.get(f"{maps}/a")).json["data"] == {"k": "v"}


async def test_what_is_no_longer_applied_goes(http: Http, maps: str) -> None:
    """A field that its only manager leaves out of the next apply is removed."""
    await _apply(http, maps, config_map("a", data={"k": "v", "l": "w"}))
    answer = await _apply(http, maps, config_map("a", data={"k": "v"}))
    assert answer.json["data"] == {"k": "v"}


async def test_what_another_still_owns_stays(http: Http, maps: str) -> None:
    """A field that two managers apply stays when one of them gives it up; who owns nothing is not listed."""
    await _apply(http, maps, config_map("a", data={"k": "v"}))
    await _apply(http, maps, config_map("a", data={"k": "v", "l": "w"}), "second")
    answer = await _apply(http, maps, config_map("a"))
    assert answer.json["data"] == {"k": "v", "l": "w"}
    assert _owned(answer) == {("second", "Apply"): {"f:data": {"f:k": {}, "f:l": {}}}}


async def test_a_conflict_names_manager_and_field(http: Http, maps: str) -> None:
    """A value that another manager applied otherwise is 409 with a FieldManagerConflict cause, and nothing changes."""
    await _apply(http, maps, config_map("a", data={"k": "v"}))
    answer = await _apply(http, maps, config_map("a", data={"k": "w"}), "second")
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "first": .data.k'
    assert answer.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".data.k"}
    ]
    assert (await http.get(f"{maps}/a")).json["data"] == {"k": "v"}


async def test_a_conflict_with_one_who_updated_says_so(http: Http, deployments: str) -> None:
    """For a manager that updated, not applied, the conflict names its version; several fields are listed."""
    await http("POST", deployments, deployment("web"))
    answer = await _apply(http, deployments, _with(image="example.test/app:2", replicas=3), "second")
    assert answer.message == (
        'Apply failed with 2 conflicts: conflicts with "contract" using apps/v1:\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="app"].image'
    )
    fields = [cause["field"] for cause in answer.json["details"]["causes"]]
    assert fields == [".spec.replicas", '.spec.template.spec.containers[name="app"].image']


async def test_force_takes_the_fields_over(http: Http, maps: str) -> None:
    """With force the value is set and the former manager no longer owns the field."""
    await _apply(http, maps, config_map("a", data={"k": "v", "l": "1"}))
    answer = await _apply(http, maps, config_map("a", data={"k": "w"}), "second", force="true")
    assert answer.json["data"] == {"k": "w", "l": "1"}
    assert _owned(answer) == {
        ("first", "Apply"): {"f:data": {"f:l": {}}},
        ("second", "Apply"): {"f:data": {"f:k": {}}},
    }


async def test_equal_values_are_shared(http: Http, maps: str) -> None:
    """Two managers that apply the same value own it together, without a conflict."""
    await _apply(http, maps, config_map("a", data={"k": "v"}))
    answer = await _apply(http, maps, config_map("a", data={"k": "v"}), "second")
    assert (answer.status, set(_owned(answer))) == (200, {("first", "Apply"), ("second", "Apply")})


async def test_an_update_takes_over_what_it_changes(http: Http, maps: str) -> None:
    """A patch that changes an applied field makes the patcher its owner, so that the next apply conflicts."""
    await _apply(http, maps, config_map("a", data={"k": "v"}))
    changed = await http("PATCH", f"{maps}/a", {"data": {"k": "w"}}, content_type=MERGE)
    assert _owned(changed) == {("contract", "Update"): {"f:data": {"f:k": {}}}}
    answer = await _apply(http, maps, config_map("a", data={"k": "v"}))
    assert answer.message == 'Apply failed with 1 conflict: conflict with "contract" using v1: .data.k'


async def test_an_object_nobody_applied_belongs_to_before_first_apply(http: Http, maps: str) -> None:
    """Where managedFields were wiped out, the first apply finds all fields owned by `before-first-apply`."""
    await http("POST", maps, config_map("a", data={"k": "v"}))
    wiped = await http("PATCH", f"{maps}/a", {"metadata": {"managedFields": []}}, content_type=MERGE)
    assert "managedFields" not in wiped.json["metadata"]
    answer = await _apply(http, maps, config_map("a", data={"k": "w"}))
    assert answer.message == 'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.k'


async def test_containers_are_merged_by_name(http: Http, deployments: str) -> None:
    """Items of an associative list belong to who applied them; another manager's container stays."""
    await _apply(http, deployments, _with(("A", "1"), ("B", "2")))
    side = _with(("C", "3"))
    side["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "example.test/side:1"})
    await _apply(http, deployments, side, "second")
    answer = await _apply(http, deployments, _with(("B", "2")))
    containers = answer.json["spec"]["template"]["spec"]["containers"]
    assert [found["name"] for found in containers] == ["app", "side"]
    assert [found["name"] for found in containers[0]["env"]] == ["B", "C"]


async def test_a_struct_that_is_no_longer_applied_goes_with_its_defaults(http: Http, deployments: str) -> None:
    """Leaving a probe out removes it whole, with what the server had filled in."""
    body = _with()
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 80}}
    first = await _apply(http, deployments, body)
    assert first.json["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] == 10
    answer = await _apply(http, deployments, _with())
    assert "readinessProbe" not in answer.json["spec"]["template"]["spec"]["containers"][0]


async def test_a_default_belongs_to_nobody(http: Http, deployments: str) -> None:
    """What the server fills in on an apply is nobody's, so anybody may apply something else."""
    await _apply(http, deployments, _with())
    answer = await _apply(http, deployments, _with(revisionHistoryLimit=3), "second")
    assert (answer.status, answer.json["spec"]["revisionHistoryLimit"]) == (200, 3)


async def test_ports_are_one_port_by_number_and_protocol(http: Http, deployments: str) -> None:
    """A port applied without protocol is keyed with the default TCP."""
    body = _with()
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    answer = await _apply(http, deployments, body)
    template = _owned(answer)["first", "Apply"]["f:spec"]["f:template"]["f:spec"]
    ports = template["f:containers"]['k:{"name":"app"}']["f:ports"]
    assert ports == {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}


TYPED = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "


def _bad(**container: Any) -> dict[str, Any]:
    body = _with()
    body["spec"]["template"]["spec"]["containers"][0] |= container
    return body


def _twice() -> dict[str, Any]:
    body = _with()
    body["spec"]["template"]["spec"]["containers"] *= 2
    return body


MISTYPED: list[tuple[dict[str, Any], str]] = [
    (_with(foo=1), ".spec.foo: field not declared in schema"),
    (_bad(foo={"a": 1}), '.spec.template.spec.containers[name="app"].foo: field not declared in schema'),
    (_with(replicas="x"), ".spec.replicas: expected numeric (int or float), got string"),
    (_with(paused="yes"), ".spec.paused: expected boolean, got &{yes}"),
    (_bad(resources="x"), '.spec.template.spec.containers[name="app"].resources: expected map, got &{x}'),
    (_bad(env={"a": 1}), '.spec.template.spec.containers[name="app"].env: expected list, got &{map[a:1]}'),
    (_twice(), '.spec.template.spec.containers: duplicate entries for key [name="app"]'),
]


@pytest.mark.parametrize(("body", "message"), MISTYPED, ids=range(len(MISTYPED)))
async def test_what_does_not_fit_the_schema_is_a_500_without_a_reason(
    http: Http, deployments: str, body: dict[str, Any], message: str
) -> None:
    """An unknown field or a wrong type in an apply is HTTP 500 without a reason: the caller's fault all the same."""
    answer = await _apply(http, deployments, body)
    assert (answer.status, answer.message) == (500, TYPED + message)
    assert "reason" not in answer.json


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        (config_map("a"), "", 422,
         'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'),
        ({**config_map("a"), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}, "fieldManager=m", 400,
         "metadata.managedFields must be nil"),
        (config_map("b"), "fieldManager=m", 400, "the name of the object (b) does not match the name on the URL (a)"),
        ({**config_map("a"), "kind": "Secret"}, "fieldManager=m", 400, "invalid object type: /v1, Kind=Secret"),
        ({"metadata": {"name": "a"}}, "fieldManager=m", 400, "invalid object type: /, Kind="),
        ({**config_map("a"), "metadata": {}}, "fieldManager=m", 400,
         "the name of the object (a based on URL) was undeterminable: name must be provided"),
    ],
    ids=range(6),
)  # fmt: skip
async def test_an_apply_that_contradicts_itself_is_refused(
    http: Http, maps: str, *, body: dict[str, Any], query: str, status: int, message: str
) -> None:
    """No manager, another name, another kind, managedFields of one's own: each is refused in its own words."""
    answer = await http("PATCH", f"{maps}/a?{query}", body, content_type=APPLY)
    assert (answer.status, answer.message) == (status, message)


async def test_a_second_document_is_dropped_silently(http: Http, maps: str) -> None:
    """Of two YAML documents in one apply only the first is read."""
    text = "".join(f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n" for name in ("one", "two"))
    answer = await http("PATCH", f"{maps}/one?fieldManager=m", text, content_type=APPLY)
    assert answer.status == 201
    assert (await http.get(f"{maps}/two")).status == 404


async def test_an_older_version_conflicts_without_causes(http: Http, maps: str) -> None:
    """An applied resourceVersion that is not the newest is 409 without FieldManagerConflict."""
    body = config_map("a", data={"k": "v"})
    await _apply(http, maps, body)
    body["metadata"]["resourceVersion"] = "1"
    answer = await _apply(http, maps, body)
    assert (answer.status, answer.json["details"]) == (409, {"name": "a", "kind": "configmaps"})


async def test_a_missing_namespace_is_named(http: Http) -> None:
    """Applying into a namespace that does not exist is 404, not a creation of it."""
    answer = await _apply(http, "/api/v1/namespaces/never-made/configmaps", config_map("a"))
    assert (answer.status, answer.message) == (404, 'namespaces "never-made" not found')


async def test_an_immutable_field_is_refused_in_an_apply_too(http: Http, deployments: str) -> None:
    """What may not change is 422 in a dry run as in earnest."""
    await _apply(http, deployments, _with())
    body = _with(selector={"matchLabels": {"app": "z"}})
    body["spec"]["template"]["metadata"]["labels"] = {"app": "z"}
    answer = await _apply(http, deployments, body, dryRun="All", force="true")
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, "spec.selector")


async def test_an_apply_does_not_reach_the_status(http: Http, deployments: str) -> None:
    """A status in an applied Deployment is neither stored nor owned."""
    answer = await _apply(http, deployments, {**_with(paused=True), "status": {"replicas": 7}})
    assert answer.json["status"].get("replicas") is None
    assert "f:status" not in _owned(answer)["first", "Apply"]


async def test_quantities_may_be_numbers(http: Http, deployments: str) -> None:
    """cpu: 1 is the quantity "1"."""
    answer = await _apply(http, deployments, _bad(resources={"limits": {"cpu": 1}}))
    assert answer.json["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


async def test_yaml_has_its_own_mind_about_booleans(http: Http, maps: str) -> None:
    """In YAML as Kubernetes reads it `on` and `y` are booleans, which data may not be."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {first: on, other: y}\n"
    answer = await http("PATCH", f"{maps}/a?fieldManager=m", text, content_type=APPLY)
    first, *lines = answer.message.split("\n")
    assert first == "failed to create typed patch object (/a; /v1, Kind=ConfigMap): errors:"
    assert sorted(lines) == [
        f"  .data.{key}: expected string, got &value.valueUnstructured{{Value:true}}" for key in ("first", "other")
    ]
