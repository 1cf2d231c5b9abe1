from typing import Any

from tests.contract.conftest import AGGREGATED, Http


def _groups(document: Any) -> dict[str, Any]:
    return {item["metadata"].get("name", ""): item for item in document["items"]}


async def test_aggregated_discovery_names_groups_versions_and_resources(http: Http) -> None:
    """Aggregated discovery v2 lists resources with scope, verbs, short names and singular names (KEP-3352)."""
    answer = await http.get("/apis", accept=AGGREGATED)
    apps = _groups(answer.json)["apps"]["versions"][0]
    found = {entry["resource"]: entry for entry in apps["resources"]}["deployments"]
    assert answer.headers["Content-Type"].replace(" ", "") == AGGREGATED
    assert (found["scope"], found["singularResource"], found["shortNames"]) == ("Namespaced", "deployment", ["deploy"])
    assert "list" in found["verbs"]


async def test_the_kind_of_a_built_in_comes_without_its_group(http: Http) -> None:
    """For built-in resources responseKind has an empty group and version, so a reader must take them from above it."""
    core = _groups((await http.get("/api", accept=AGGREGATED)).json)[""]
    kinds = [entry["responseKind"] for entry in core["versions"][0]["resources"]]
    assert {"group": "", "version": "", "kind": "Pod"} in kinds


async def test_discovery_lists_subresources_with_their_verbs(http: Http) -> None:
    """A subresource has its own verbs and kind: scale is autoscaling/v1, exec is created and got."""
    core = _groups((await http.get("/api", accept=AGGREGATED)).json)[""]
    pods = next(entry for entry in core["versions"][0]["resources"] if entry["resource"] == "pods")
    found = {sub["subresource"]: sub for sub in pods["subresources"]}
    assert found["exec"]["verbs"] == ["create", "get"]
    assert found["log"]["verbs"] == ["get"]
    assert found["eviction"]["responseKind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}


async def test_unchanged_discovery_is_not_sent_again(http: Http) -> None:
    """A request with the ETag of the last answer gets 304 without a body."""
    for root in ("/api", "/apis"):
        first = await http.get(root, accept=AGGREGATED)
        again = await http.get(root, accept=AGGREGATED, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


async def test_the_second_beta_of_aggregated_discovery_is_gone(http: Http) -> None:
    """A server of 1.36 no longer writes v2beta1; asked for nothing else it answers 406."""
    answer = await http.get("/apis", accept=AGGREGATED.replace("v=v2;", "v=v2beta1;"))
    assert answer.status == 406


async def test_legacy_discovery_goes_on_being_served(http: Http) -> None:
    """Who asks for plain JSON gets the documents from before aggregation."""
    assert (await http.get("/api")).json["versions"] == ["v1"]
    groups = (await http.get("/apis")).json
    assert "apps" in {group["name"] for group in groups["groups"]}
    assert (await http.get("/apis/apps")).json["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}


async def test_legacy_resource_lists_flatten_subresources(http: Http) -> None:
    """In the legacy document a subresource is a resource of its own, with a slash in its name."""
    document = (await http.get("/apis/apps/v1")).json
    found = {entry["name"]: entry for entry in document["resources"]}
    assert found["deployments"]["kind"] == "Deployment"
    assert {key: found["deployments/scale"][key] for key in ("group", "version", "kind", "singularName")} == {
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "singularName": "",
    }


async def test_the_core_groups_resources_are_the_same_in_both_kinds_of_discovery(http: Http) -> None:
    """Legacy and aggregated documents agree on names, kinds and verbs."""
    core = _groups((await http.get("/api", accept=AGGREGATED)).json)[""]["versions"][0]["resources"]
    legacy = (await http.get("/api/v1")).json["resources"]
    flat = {(entry["name"], entry["kind"], tuple(entry["verbs"])) for entry in legacy if "/" not in entry["name"]}
    assert flat == {(entry["resource"], entry["responseKind"]["kind"], tuple(entry["verbs"])) for entry in core}


async def test_an_unknown_group_is_a_page_not_found(http: Http) -> None:
    """A group that nobody serves, like a path that means nothing, is 404 in plain text, no Status."""
    for path in ("/apis/nothing.example/v1", "/apis/nothing.example/v1/things", "/nothing"):
        answer = await http.get(path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
        assert answer.headers["Content-Type"].startswith("text/plain")


async def test_an_unknown_resource_of_a_known_group_is_a_status(http: Http) -> None:
    """A resource or version that a built-in group does not have is 404 with a Status that names nothing."""
    for path in ("/apis/apps/v1/things", "/apis/apps/v9", "/apis/apps/v9/deployments"):
        answer = await http.get(path)
        assert (answer.status, answer.json["details"]) == (404, {})
        assert answer.message == "the server could not find the requested resource"


async def test_a_namespaced_object_has_no_path_without_its_namespace(http: Http) -> None:
    """GET on a namespaced resource's name without a namespace is not served."""
    answer = await http.get("/api/v1/configmaps/some")
    assert (answer.status, answer.message) == (404, "the server could not find the requested resource")


async def test_the_version_says_which_kubernetes_this_is(http: Http) -> None:
    """/version is JSON with major, minor and gitVersion, for anybody."""
    answer = await http.get("/version", token="")
    assert (answer.json["major"], answer.json["minor"]) == ("1", "36")
    assert answer.json["gitVersion"].startswith("v1.36.")


async def test_health_is_for_anybody(http: Http) -> None:
    """/healthz, /livez and /readyz say ok in plain text without a token."""
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await http.get(path, token="")
        assert (answer.status, answer.body) == (200, b"ok")
