import asyncio
from urllib.parse import quote

import pytest

from tests.contract.conftest import TABLE, Cluster, Http, config_map

PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.fixture
async def maps(http: Http, space: str) -> str:
    """The path of a namespace's ConfigMaps, five of which were created by this test."""
    path = f"/api/v1/namespaces/{space}/configmaps"
    for number in range(5):
        labels = {"number": str(number), "odd": "yes" if number % 2 else "no", **({"first": ""} if not number else {})}
        await http("POST", path, config_map(f"map-{number}", labels=labels, data={"key": "value"}))
    return path


def _names(answer: object) -> list[str]:
    return [item["metadata"]["name"] for item in answer.json["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]  # type: ignore[attr-defined]


async def test_an_object_comes_with_its_type_and_metadata(http: Http, maps: str) -> None:
    """GET answers with kind, apiVersion and what the server gave the object: uid, version, creation."""
    answer = await http.get(f"{maps}/map-1")
    assert (answer.json["kind"], answer.json["apiVersion"], answer.json["data"]) == (
        "ConfigMap",
        "v1",
        {"key": "value"},
    )
    assert {"uid", "resourceVersion", "creationTimestamp", "managedFields"} <= set(answer.json["metadata"])


async def test_a_missing_object_is_named(http: Http, maps: str) -> None:
    """404 names resource and object in message and details."""
    answer = await http.get(f"{maps}/none")
    assert (answer.status, answer.message) == (404, 'configmaps "none" not found')
    assert answer.json["details"] == {"name": "none", "kind": "configmaps"}
    other = await http.get("/apis/apps/v1/namespaces/demo/deployments/none")
    assert other.message == 'deployments.apps "none" not found'
    assert other.json["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


async def test_a_list_comes_in_order_without_types_on_its_items(http: Http, maps: str) -> None:
    """A list has a kind and a version; the items of built-in types do not repeat theirs, and are sorted by name."""
    answer = await http.get(maps)
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(answer.json["metadata"]["resourceVersion"]) > 0
    assert _names(answer) == [f"map-{number}" for number in range(5)]
    assert not {"kind", "apiVersion"} & set(answer.json["items"][0])


async def test_a_namespace_that_does_not_exist_lists_empty(http: Http) -> None:
    """Listing in a missing namespace is 200 and empty, so a misspelt one looks like an empty one."""
    answer = await http.get("/api/v1/namespaces/never-made/configmaps")
    assert (answer.status, answer.json["items"]) == (200, [])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("odd=yes", [1, 3]),
        ("odd==no", [0, 2, 4]),
        ("odd!=no,number", [1, 3]),
        ("number in (1, 2,4)", [1, 2, 4]),
        ("number,number notin (1,2,4)", [0, 3]),
        ("first", [0]),
        ("first=", [0]),
        ("!first,odd", [1, 2, 3, 4]),
        ("number>2", [3, 4]),
        ("number<1", [0]),
    ],
)
async def test_label_selectors_select(http: Http, maps: str, selector: str, expected: list[int]) -> None:
    """Equality, sets, existence and bounds of labels select as the documentation says."""
    answer = await http.get(f"{maps}?labelSelector={quote(selector)}")
    assert _names(answer) == [f"map-{number}" for number in expected]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("labelSelector=a%20b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("labelSelector=a%20in%20b", "unable to parse requirement: found 'b' expected: '('"),
        ("labelSelector=%3D", "found '=', expected: !, identifier, or 'end of string'"),
        (
            "fieldSelector=spec.foo%3Dx",
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
async def test_a_bad_query_is_a_400_that_says_where(http: Http, maps: str, query: str, message: str) -> None:
    """A selector or number that can't be read is refused, never ignored."""
    answer = await http.get(f"{maps}?{query}")
    assert (answer.status, answer.message) == (400, message)


async def test_field_selectors_compare_names(http: Http, maps: str) -> None:
    """metadata.name and metadata.namespace are selectable for every resource, equal and unequal."""
    assert _names(await http.get(f"{maps}?fieldSelector=metadata.name%3Dmap-3")) == ["map-3"]
    without = await http.get(f"{maps}?fieldSelector=metadata.name!%3Dmap-3")
    assert _names(without) == ["map-0", "map-1", "map-2", "map-4"]


async def test_pods_are_selected_by_node_and_phase(http: Http, space: str) -> None:
    """spec.nodeName and status.phase are selectable for pods."""
    path = f"/api/v1/namespaces/{space}/pods"
    spec = {"containers": [{"name": "app", "image": "example.test/app:1"}], "schedulerName": "nobody"}
    made = await http("POST", path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    assert made.status == 201
    assert _names(await http.get(f"{path}?fieldSelector=status.phase%3DPending,spec.nodeName%3D")) == ["p"]
    assert _names(await http.get(f"{path}?fieldSelector=status.phase%3DRunning")) == []


async def test_events_are_selected_by_what_they_are_about(http: Http, space: str) -> None:
    """involvedObject.* and type are selectable for events, and both groups serve the same ones."""
    path = f"/api/v1/namespaces/{space}/events"
    for name in ("a", "b"):
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.1"},
            "involvedObject": {"kind": "Pod", "name": name, "namespace": space},
            "reason": "Tested",
            "message": f"about {name}",
            "type": "Warning",
        }
        assert (await http("POST", path, body)).status == 201
    chosen = await http.get(f"{path}?fieldSelector=involvedObject.name%3Da,type%3DWarning")
    assert _names(chosen) == ["a.1"]
    newer = (await http.get(f"/apis/events.k8s.io/v1/namespaces/{space}/events/a.1")).json
    assert (newer["note"], newer["regarding"]["name"], newer["apiVersion"]) == ("about a", "a", "events.k8s.io/v1")


async def test_a_list_comes_in_pages(http: Http, maps: str) -> None:
    """Pages by limit and continue make up the whole list; what remains is counted when nothing is selected."""
    seen, token, remaining = [], "", []
    while True:
        answer = await http.get(f"{maps}?limit=2&labelSelector=" + (f"&continue={token}" if token else ""))
        seen += [item["metadata"]["name"] for item in answer.json["items"]]
        remaining.append(answer.json["metadata"].get("remainingItemCount"))
        token = answer.json["metadata"].get("continue", "")
        if not token:
            break
    assert [name for name in seen if name.startswith("map-")] == [f"map-{number}" for number in range(5)]
    assert len(seen) == len(set(seen))
    assert remaining == [*range(len(seen) - 2, 0, -2), None]


async def test_a_page_of_a_selection_does_not_count_what_remains(http: Http, maps: str) -> None:
    """With a selector remainingItemCount is absent."""
    answer = await http.get(f"{maps}?limit=1&labelSelector=odd")
    assert "continue" in answer.json["metadata"]
    assert "remainingItemCount" not in answer.json["metadata"]


async def test_a_list_from_the_cache_has_no_pages(http: Http, maps: str) -> None:
    """With resourceVersion=0 the limit is ignored."""
    answer = await http.get(f"{maps}?limit=1&resourceVersion=0")
    assert len(_names(answer)) == 5


async def test_a_continue_token_works_on_another_resource(http: Http, maps: str) -> None:
    """Continue tokens are not bound to what they were given for: who hands them out must bind them."""
    token = (await http.get(f"{maps}?limit=1")).json["metadata"]["continue"]
    assert (await http.get(f"{maps.replace('configmaps', 'services')}?limit=1&continue={token}")).status == 200


async def test_a_continue_token_that_is_none_is_refused(http: Http, maps: str) -> None:
    """Garbage as a continue token is 400."""
    answer = await http.get(f"{maps}?limit=1&continue=zzz")
    assert answer.status == 400
    assert answer.message.startswith("invalid continue token: continue key is not valid: ")


async def test_a_version_from_the_future_is_a_timeout(http: Http, maps: str) -> None:
    """A resourceVersion that is not reached yet is 504 with its cause and Retry-After, not an empty list."""
    answer = await http.get(f"{maps}?resourceVersion=99999999")
    assert (answer.status, answer.json["reason"], answer.headers["Retry-After"]) == (504, "Timeout", "1")
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_metadata_alone_can_be_asked_for(http: Http, maps: str) -> None:
    """As PartialObjectMetadata an object or a list comes without its content."""
    one = (await http.get(f"{maps}/map-1", accept=PARTIAL)).json
    assert (one["kind"], set(one)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})
    listed = (await http.get(maps, accept=PARTIALS)).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0]["kind"] == "PartialObjectMetadata"


async def test_the_first_acceptable_form_is_taken(http: Http, maps: str) -> None:
    """Of several in Accept the first that the server can write is used, also when it writes none of the others."""
    accept = f"text/csv, {TABLE}, application/json"
    assert (await http.get(maps, accept=accept)).json["kind"] == "Table"
    assert (await http.get(maps, accept="text/csv, */*")).json["kind"] == "ConfigMapList"


async def test_what_the_server_cannot_write_is_not_acceptable(http: Http, maps: str) -> None:
    """406 lists the forms there are."""
    answer = await http.get(maps, accept="text/plain")
    assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")
    assert "application/json, application/yaml" in answer.message


async def test_yaml_can_be_asked_for(http: Http, maps: str) -> None:
    """With Accept: application/yaml an object comes as YAML."""
    answer = await http.get(f"{maps}/map-1", accept="application/yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.body.startswith(b"apiVersion: v1\ndata:\n  key: value\nkind: ConfigMap\n")


async def test_an_escaped_slash_separates(http: Http, maps: str) -> None:
    """%2F in a name is decoded before the path is read: a name with it reaches another resource."""
    answer = await http.get(maps.replace("/configmaps", "%2Fconfigmaps%2Fmap-2"))
    assert answer.json["metadata"]["name"] == "map-2"


async def test_dots_do_not_climb(http: Http, maps: str) -> None:
    """The server resolves no `..`; as a name it is refused, elsewhere it is nothing that is served."""
    answer = await http.get(f"{maps}/..")
    assert (answer.status, answer.message) == (400, "Name parameter invalid: \"..\": may not be '..'")
    for path in (f"{maps}/../../demo", f"{maps}/map-1/..", "/api/v1/namespaces/../nodes"):
        assert (await http.get(path)).status == 404


async def test_a_cluster_scoped_resource_is_in_no_namespace(http: Http) -> None:
    """A path that puts a cluster-scoped resource into a namespace is not served."""
    assert (await http.get("/api/v1/namespaces/demo/nodes")).status == 404


async def test_an_empty_namespace_means_all(http: Http, maps: str) -> None:
    """A path with an empty namespace lists every namespace's objects."""
    answer = await http.get("/api/v1/namespaces//configmaps?fieldSelector=metadata.name%3Dmap-1")
    assert "map-1" in _names(answer)
    del maps


async def test_a_method_that_a_resource_does_not_have_is_refused(http: Http) -> None:
    """PUT on a collection is 405 with a Status."""
    answer = await http("PUT", "/api/v1/namespaces/demo/configmaps", config_map("x"))
    assert (answer.status, answer.json["reason"]) == (405, "MethodNotAllowed")


async def test_large_answers_are_compressed_for_those_who_accept_it(cluster: Cluster, http: Http, space: str) -> None:
    """From 128 KiB on an answer is gzipped when Accept-Encoding has gzip; small ones are not."""
    path = f"/api/v1/namespaces/{space}/configmaps"
    await asyncio.gather(*(http("POST", path, config_map(f"big-{n}", data={"k": "x" * 90_000})) for n in range(2)))
    answer = await http.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    small = await http.get(f"{path}/big-1", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers
    del cluster
