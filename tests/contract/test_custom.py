from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from tests.contract.conftest import AGGREGATED, APPLY, MERGE, STRATEGIC, TABLE, Cluster, Http, until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_numbers = count()


def definition(group: str, plural: str = "widgets") -> dict[str, Any]:
    """Return the definition of a resource with a schema, a status, a scale and columns."""
    part = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    }
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "parts": {"type": "array", "items": part, **keyed},
        },
    }
    status = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"kind": "Widget", "plural": plural, "shortNames": ["wg"], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


@pytest.fixture
async def group(cluster: Cluster, http: Http) -> AsyncIterator[str]:
    """A group of the test's own with a served resource `widgets`."""
    name = f"g{next(_numbers)}-{id(cluster) % 9973}.example.test"
    assert (await http("POST", DEFINITIONS, definition(name))).status == 201

    async def served() -> bool:
        return (await http.get(f"/apis/{name}/v1/widgets")).status == 200

    await until(served)
    yield name
    await cluster.request("DELETE", f"{DEFINITIONS}/widgets.{name}")


@pytest.fixture
def widgets(group: str, space: str) -> str:
    """The path of a namespace's widgets."""
    return f"/apis/{group}/v1/namespaces/{space}/widgets"


def widget(group: str, name: str = "w", **spec: Any) -> dict[str, Any]:
    """Return a widget."""
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_a_definition_becomes_a_served_resource(http: Http, group: str) -> None:
    """A definition gets its names accepted and is established; discovery names it with group and names."""

    async def conditions() -> Any:
        found = (await http.get(f"{DEFINITIONS}/widgets.{group}")).json["status"].get("conditions") or []
        return {entry["type"]: entry["status"] for entry in found}.get("Established") == "True" and found

    assert {entry["type"] for entry in await until(conditions)} == {"NamesAccepted", "Established"}

    async def announced() -> Any:
        document = (await http.get("/apis", accept=AGGREGATED)).json
        return next((item for item in document["items"] if item["metadata"]["name"] == group), None)

    found = (await until(announced))["versions"][0]
    resource = found["resources"][0]
    assert found["freshness"] == "Current"
    assert resource["responseKind"] == {"group": group, "version": "v1", "kind": "Widget"}
    assert (resource["shortNames"], resource["singularResource"], resource["categories"]) == (["wg"], "widget", ["all"])
    assert [sub["subresource"] for sub in resource["subresources"]] == ["status", "scale"]


async def test_an_unknown_resource_of_a_custom_group_is_a_page_not_found(http: Http, group: str) -> None:
    """What a custom group does not have is 404 in plain text, unlike in a built-in group."""
    answer = await http.get(f"/apis/{group}/v1/things")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


async def test_a_custom_resource_is_defaulted_and_pruned(http: Http, group: str, widgets: str) -> None:
    """The schema's defaults are filled in, unknown fields are dropped with a warning."""
    answer = await http("POST", widgets, widget(group, size=3, foo=1))
    assert (answer.status, answer.json["spec"]) == (201, {"size": 3, "color": "red"})
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.foo\\""'
    assert answer.json["metadata"]["generation"] == 1
    assert answer.json["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {".": {}, "f:color": {}, "f:size": {}}}


async def test_items_of_a_custom_list_say_what_they_are(http: Http, group: str, widgets: str) -> None:
    """Unlike a typed list's, the items of a custom resource's list have kind and apiVersion."""
    await http("POST", widgets, widget(group, size=3))
    answer = (await http.get(widgets)).json
    assert (answer["kind"], answer["metadata"]["continue"]) == ("WidgetList", "")
    assert (answer["items"][0]["kind"], answer["items"][0]["apiVersion"]) == ("Widget", f"{group}/v1")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.size: Required value"),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 1, "color": "green"}, 'spec.color: Unsupported value: "green": supported values: "red", "blue"'),
    ],
)
async def test_the_schema_is_enforced(http: Http, group: str, widgets: str, spec: dict[str, Any], message: str) -> None:
    """What breaks the schema is 422 with field and rule."""
    answer = await http("POST", widgets, widget(group, **spec))
    assert (answer.status, answer.message) == (422, f'Widget.{group} "w" is invalid: {message}')


async def test_an_unknown_field_in_an_apply_is_not_declared(http: Http, group: str, widgets: str) -> None:
    """Applying an unknown field of a custom resource is the 500 of a field that is not in the schema."""
    answer = await http("PATCH", f"{widgets}/w?fieldManager=m", widget(group, size=3, foo=1), content_type=APPLY)
    assert (answer.status, answer.message) == (
        500,
        f"failed to create typed patch object (/w; {group}/v1, Kind=Widget): .spec.foo: field not declared in schema",
    )


async def test_lists_with_keys_are_merged_in_an_apply(http: Http, group: str, widgets: str) -> None:
    """x-kubernetes-list-type: map makes a list's items belong to those who apply them."""
    for manager, part in (("one", "a"), ("two", "b")):
        body = widget(group, size=3, parts=[{"name": part, "n": 1}])
        assert (await http("PATCH", f"{widgets}/w?fieldManager={manager}", body, content_type=APPLY)).status < 300
    assert (await http.get(f"{widgets}/w")).json["spec"]["parts"] == [{"name": "a", "n": 1}, {"name": "b", "n": 1}]


async def test_an_update_of_a_custom_resource_needs_its_version(http: Http, group: str, widgets: str) -> None:
    """A PUT without a resourceVersion is refused for custom resources."""
    await http("POST", widgets, widget(group, size=3))
    answer = await http("PUT", f"{widgets}/w", widget(group, size=4))
    assert answer.status == 422
    assert answer.message.endswith("metadata.resourceVersion: Invalid value: 0: must be specified for an update")


async def test_a_strategic_patch_is_not_for_custom_resources(http: Http, group: str, widgets: str) -> None:
    """Strategic merge patch is 415 for a custom resource."""
    await http("POST", widgets, widget(group, size=3))
    answer = await http("PATCH", f"{widgets}/w", {"spec": {"size": 4}}, content_type=STRATEGIC)
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


async def test_a_status_is_written_apart(http: Http, group: str, widgets: str) -> None:
    """The status subresource writes the status alone, the resource itself all but the status."""
    await http("POST", widgets, {**widget(group, size=3), "status": {"size": 9}})
    await http("PATCH", f"{widgets}/w/status", {"spec": {"size": 5}, "status": {"size": 2}}, content_type=MERGE)
    answer = await http("PATCH", f"{widgets}/w", {"spec": {"size": 4}, "status": {"size": 7}}, content_type=MERGE)
    assert (answer.json["spec"]["size"], answer.json["status"]["size"]) == (4, 2)


async def test_a_scale_reads_where_the_definition_says(http: Http, group: str, widgets: str) -> None:
    """Scale of a custom resource reads and writes the paths that its definition names."""
    await http("POST", widgets, widget(group, size=3))
    found = (await http.get(f"{widgets}/w/scale")).json
    assert (found["kind"], found["spec"], found["status"]) == ("Scale", {"replicas": 3}, {"replicas": 0})
    await http("PATCH", f"{widgets}/w/scale", {"spec": {"replicas": 6}}, content_type=MERGE)
    assert (await http.get(f"{widgets}/w")).json["spec"]["size"] == 6


async def test_a_custom_table_has_the_definitions_columns(http: Http, group: str, widgets: str) -> None:
    """A definition's columns come after the name; dates as ages."""
    await http("POST", widgets, widget(group, size=3))
    table = (await http.get(widgets, accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Age"]
    cells = table["rows"][0]["cells"]
    assert (cells[:2], cells[2][-1]) == (["w", 3], "s")


async def test_a_custom_resource_is_selected_by_its_name_only(http: Http, widgets: str) -> None:
    """Without selectableFields a field selector knows metadata.name and metadata.namespace."""
    answer = await http.get(f"{widgets}?fieldSelector=spec.size%3D3")
    assert (answer.status, answer.message) == (400, "field label not supported: spec.size")


async def test_a_definition_goes_with_all_its_objects(http: Http, group: str, widgets: str) -> None:
    """Deleting a definition deletes its objects, and then the resource is no longer served."""
    await http("POST", widgets, widget(group, size=3))
    await http("DELETE", f"{DEFINITIONS}/widgets.{group}")

    async def gone() -> bool:
        return (await http.get(widgets)).status == 404

    assert await until(gone)


async def test_a_definition_must_be_named_after_its_resource(http: Http) -> None:
    """A definition whose name is not plural.group is 422."""
    body = definition("named.example.test")
    body["metadata"]["name"] = "other.named.example.test"
    answer = await http("POST", DEFINITIONS, body)
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, "metadata.name")
