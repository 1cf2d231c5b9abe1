from typing import Any

import pytest

from tests.contract.conftest import MERGE, Http, deployment


@pytest.fixture
async def web(http: Http, space: str) -> str:
    """The path of a paused Deployment that wants no pods."""
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    assert (await http("POST", path, deployment("web", paused=True))).status == 201
    return f"{path}/web"


async def test_a_scale_shows_replicas_and_selector(http: Http, web: str) -> None:
    """GET scale is autoscaling/v1 with replicas wanted and had, and the selector as text; no replicas are left out."""
    found = (await http.get(f"{web}/scale")).json
    assert (found["kind"], found["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (found["spec"], found["status"]) == ({}, {"replicas": 0, "selector": "app=web"})


async def test_a_scale_is_written_by_put_and_patch(http: Http, web: str) -> None:
    """Writing scale changes spec.replicas alone and counts as a change of the spec."""
    metadata = {"name": "web", "namespace": (await http.get(web)).json["metadata"]["namespace"]}
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": 0}}
    assert (await http("PUT", f"{web}/scale", body)).status == 200
    answer = await http("PATCH", f"{web}/scale?dryRun=All", {"spec": {"replicas": 2}}, content_type=MERGE)
    assert (answer.status, answer.json["spec"]) == (200, {"replicas": 2})
    assert (await http.get(web)).json["spec"]["replicas"] == 0


async def test_a_scale_is_not_negative(http: Http, web: str) -> None:
    """Fewer than no replicas is 422."""
    answer = await http("PATCH", f"{web}/scale", {"spec": {"replicas": -1}}, content_type=MERGE)
    assert answer.status == 422
    assert "must be greater than or equal to 0" in answer.message


async def test_a_status_shows_the_whole_object(http: Http, web: str) -> None:
    """GET status answers with the object itself."""
    found = (await http.get(f"{web}/status")).json
    assert (found["kind"], found["metadata"]["name"]) == ("Deployment", "web")


async def test_a_status_patch_leaves_the_spec(http: Http, web: str) -> None:
    """Writing status changes neither spec nor generation; its fields belong to the writer through that subresource."""
    patch = {"spec": {"replicas": 9}, "status": {"collisionCount": 3}}
    answer = await http("PATCH", f"{web}/status", patch, content_type=MERGE)
    assert (answer.json["spec"]["replicas"], answer.json["status"]["collisionCount"]) == (0, 3)
    assert answer.json["metadata"]["generation"] == 1
    entries = answer.json["metadata"]["managedFields"]
    mine = [entry for entry in entries if entry.get("subresource") == "status" and entry["manager"] == "contract"]
    assert [entry["fieldsV1"] for entry in mine] == [{"f:status": {"f:collisionCount": {}}}]


async def test_an_unknown_subresource_is_not_served(http: Http, web: str) -> None:
    """A subresource that a kind does not have is 404."""
    assert (await http.get(f"{web}/log")).status == 404


def _pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "example.test/app:1"}, {"name": "side", "image": "example.test/side:1"}]
    whole = {"containers": containers, "schedulerName": "nobody", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


@pytest.fixture
def pods(space: str) -> str:
    """The path of a namespace's pods."""
    return f"/api/v1/namespaces/{space}/pods"


async def test_a_log_needs_its_container_named(http: Http, pods: str) -> None:
    """With several containers a log asks for one of them by name; init containers are offered first."""
    await http("POST", pods, _pod("p", initContainers=[{"name": "first", "image": "example.test/init:1"}]))
    answer = await http.get(f"{pods}/p/log")
    assert (answer.status, answer.message) == (
        400,
        "a container name must be specified for pod p, choose one of: [first app side]",
    )
    wrong = await http.get(f"{pods}/p/log?container=none")
    assert (wrong.status, wrong.message) == (400, "container none is not valid for pod p")


async def test_a_pod_without_a_node_has_no_log(http: Http, pods: str) -> None:
    """The log of a pod that nobody placed is 204."""
    await http("POST", pods, _pod("p"))
    answer = await http.get(f"{pods}/p/log?container=app", accept="*/*")
    assert (answer.status, answer.body) == (204, b"")


async def test_a_log_is_not_plain_text_to_negotiate(http: Http, pods: str) -> None:
    """Accept: text/plain alone is 406 for a log, though text is what it is."""
    await http("POST", pods, _pod("p"))
    assert (await http.get(f"{pods}/p/log?container=app", accept="text/plain")).status == 406


async def test_a_log_of_nothing_is_not_found(http: Http, pods: str) -> None:
    """The log of a pod that is not there is the pod's 404."""
    assert (await http.get(f"{pods}/none/log")).message == 'pods "none" not found'


@pytest.mark.parametrize(("query", "field"), [("tailLines=-1", "tailLines"), ("limitBytes=0", "limitBytes")])
async def test_a_logs_options_have_bounds(http: Http, pods: str, query: str, field: str) -> None:
    """A negative tail or no bytes at all is 422."""
    await http("POST", pods, _pod("p"))
    answer = await http.get(f"{pods}/p/log?container=app&{query}")
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, field)


def _budget(space: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep", "namespace": space},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}},
    }


EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}


async def test_an_eviction_deletes(http: Http, pods: str) -> None:
    """An eviction that nothing forbids answers 201 and the pod goes; a dry run leaves it."""
    await http("POST", pods, _pod("p"))
    assert (await http("POST", f"{pods}/p/eviction?dryRun=All", EVICTION)).status == 201
    assert (await http.get(f"{pods}/p")).status == 200
    assert (await http("POST", f"{pods}/p/eviction", EVICTION)).status == 201
    assert (await http.get(f"{pods}/p")).status == 404
    assert (await http("POST", f"{pods}/p/eviction", EVICTION)).message == 'pods "p" not found'


async def test_a_disruption_budget_refuses_an_eviction(http: Http, pods: str, space: str) -> None:
    """Where a budget allows no disruption, evicting a running pod is 429 with the budget as cause."""
    await http("POST", f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets", _budget(space))
    await http("POST", pods, _pod("p"))
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await http("PATCH", f"{pods}/p/status", running, content_type=MERGE)
    path = f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets/keep/status"
    counts = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    await http("PATCH", path, {"status": {**counts, "observedGeneration": 1}}, content_type=MERGE)
    answer = await http("POST", f"{pods}/p/eviction", EVICTION)
    assert (answer.status, answer.json["reason"]) == (429, "TooManyRequests")
    assert answer.message == "Cannot evict pod as it would violate the pod's disruption budget."
    cause = answer.json["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget keep needs 1 healthy pods and has 1 currently"


async def test_exec_asks_for_an_upgrade(http: Http, pods: str) -> None:
    """A plain GET on exec runs nothing."""
    await http("POST", pods, _pod("p"))
    answer = await http.get(f"{pods}/p/exec?command=ls&container=app&stdout=true")
    assert answer.status in {400, 500}


async def test_exec_into_a_pod_without_a_node_is_refused(http: Http, pods: str) -> None:
    """A pod that nobody placed runs nothing yet."""
    await http("POST", pods, _pod("p"))
    answer = await http("POST", f"{pods}/p/exec?command=ls&container=app&stdout=true")
    assert (answer.status, answer.message) == (400, "pod p does not have a host assigned")
