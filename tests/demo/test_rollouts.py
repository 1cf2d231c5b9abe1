import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.world import furnish
from tests.demo.conftest import trusting

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "IMAGE"}]}
"""
PATH = "/apis/apps/v1/namespaces/demo/deployments/web"


@pytest.fixture
async def east() -> AsyncIterator[EmbeddedCluster]:
    """East, with nodes on which pods run."""
    async with EmbeddedCluster("east") as cluster:
        furnish(cluster, "east")
        yield cluster


async def _watched(cluster: EmbeddedCluster, path: str, done: Callable[[Any, Any], Any]) -> list[Any]:
    """Return the states an object goes through until `done`, told object and status, is true; that one included.

    A path that ends in a slash watches the whole collection.
    """
    collection, _, name = path.rpartition("/")
    query = "?watch=true" + (f"&fieldSelector=metadata.name%3D{name}" if name else "")
    headers = {"Authorization": f"Bearer {await cluster.token()}"}
    states = []
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(connector=trusting(cluster), headers=headers) as session,
        session.get(cluster.server + collection + query) as answer,
    ):
        async for line in answer.content:
            states.append(orjson.loads(line)["object"])
            if done(states[-1], states[-1].get("status") or {}):
                break
    return states


def _rolled(item: Any, status: Any, generation: int = 1) -> bool:
    wanted = item["spec"]["replicas"]
    counts = [status.get(field) for field in ("updatedReplicas", "replicas", "readyReplicas")]
    return counts == [wanted] * 3 and status["observedGeneration"] == item["metadata"]["generation"] == generation


async def _get(cluster: EmbeddedCluster, path: str) -> Any:
    return orjson.loads((await cluster.request("GET", path))[1])


async def test_a_deployment_comes_up(east: EmbeddedCluster) -> None:
    """What is applied is rolled out: a ReplicaSet, running pods, conditions and events, seen by a watch."""
    await east.apply(WEB.replace("IMAGE", "web:1"))
    states = await _watched(east, PATH, _rolled)
    assert {c["type"]: c["reason"] for c in states[-1]["status"]["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    pods = await _get(east, "/api/v1/namespaces/demo/pods?labelSelector=app%3Dweb")
    assert [pod["status"]["phase"] for pod in pods["items"]] == ["Running"] * 3
    events = await _get(east, "/api/v1/namespaces/demo/events")
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Started"} <= {e["reason"] for e in events["items"]}


async def test_a_new_image_is_rolled_out_without_a_gap(east: EmbeddedCluster) -> None:
    """A rolling update replaces pods step by step and never has fewer ready ones than it may."""
    await east.apply(WEB.replace("IMAGE", "web:1"))
    await _watched(east, PATH, _rolled)
    await east.apply(WEB.replace("IMAGE", "web:2"))
    states = await _watched(east, PATH, partial(_rolled, generation=2))
    ready = [state["status"].get("readyReplicas", 0) for state in states if state["status"]["observedGeneration"] == 2]
    assert min(ready) == 3
    assert len(states) > 3
    sets = await _get(east, "/apis/apps/v1/namespaces/demo/replicasets")
    assert sorted(found["spec"]["replicas"] for found in sets["items"]) == [0, 3]
    assert states[-1]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_an_image_nobody_has_stops_a_rollout(east: EmbeddedCluster) -> None:
    """A lost image leaves the old pods serving and the new one waiting with ImagePullBackOff."""
    east.lose_image("web:lost")
    await east.apply(WEB.replace("IMAGE", "web:1"))
    await _watched(east, PATH, _rolled)
    await east.apply(WEB.replace("IMAGE", "web:lost"))
    states = await _watched(east, PATH, lambda _, status: status.get("unavailableReplicas") == 1)
    assert states[-1]["status"]["readyReplicas"] == 3

    def waits(_: Any, status: Any) -> bool:
        (container,) = status.get("containerStatuses") or [{"state": {}}]
        return bool(container["state"].get("waiting", {}).get("reason") == "ImagePullBackOff")

    assert await _watched(east, "/api/v1/namespaces/demo/pods/", waits)


async def test_what_was_missing_can_be_given(east: EmbeddedCluster) -> None:
    """Creating the ConfigMap a pod waits for starts it; filling in what a program crashed for ends its crash loop."""
    await east.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: loyalty-settings, namespace: shop}\n")
    await east.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: checkout, namespace: shop}\ndata: {PAYMENTS_URL: 'http://p'}\n"
    )
    for name in ("loyalty", "checkout"):
        await _watched(east, f"/apis/apps/v1/namespaces/shop/deployments/{name}", lambda _, s: s.get("readyReplicas"))


async def test_a_service_finds_what_it_selects(east: EmbeddedCluster) -> None:
    """Mending a selector gives a service its endpoints."""
    query = "labelSelector=kubernetes.io/service-name%3Dpromo"
    path = f"/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?{query}"
    assert (await _get(east, path))["items"][0]["endpoints"] == []
    selector = "{app.kubernetes.io/name: promotions}"
    ports = "[{name: main, port: 80, targetPort: 8080}]"
    await east.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: promo, namespace: shop}\n"
        f"spec: {{selector: {selector}, ports: {ports}}}\n"
    )

    def serves(item: Any, _: Any) -> bool:
        mine = item["metadata"]["labels"]["kubernetes.io/service-name"] == "promo"
        return mine and [end["conditions"]["ready"] for end in item["endpoints"]] == [True]

    assert await _watched(east, path.partition("?")[0] + "/", serves)


async def test_a_deleted_pod_is_replaced(east: EmbeddedCluster) -> None:
    """A ReplicaSet makes a new pod for one that was deleted."""
    before = await _get(east, "/api/v1/namespaces/shop/pods?labelSelector=app.kubernetes.io/name%3Dcart")
    gone = before["items"][0]["metadata"]["name"]
    await east.request("DELETE", f"/api/v1/namespaces/shop/pods/{gone}")
    path = "/apis/apps/v1/namespaces/shop/deployments/cart"
    await _watched(east, path, lambda _, status: status.get("readyReplicas") == 1)
    await _watched(east, path, lambda _, status: status.get("readyReplicas") == 2)
    after = await _get(east, "/api/v1/namespaces/shop/pods?labelSelector=app.kubernetes.io/name%3Dcart")
    assert gone not in {pod["metadata"]["name"] for pod in after["items"]}


async def test_without_nodes_nothing_runs(cluster: EmbeddedCluster) -> None:
    """On a cluster without nodes a Deployment's pods are made and stay pending, as on a bare control plane."""
    await cluster.apply(WEB.replace("IMAGE", "web:1"))
    await _watched(cluster, PATH, lambda _, status: status.get("replicas") == 3)
    pods = await _get(cluster, "/api/v1/namespaces/demo/pods")
    assert [pod["status"]["phase"] for pod in pods["items"]] == ["Pending"] * 3
