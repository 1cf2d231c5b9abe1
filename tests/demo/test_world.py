from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.world import start_world

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
async def world() -> AsyncIterator[tuple[EmbeddedCluster, EmbeddedCluster]]:
    """East and west."""
    clusters = await start_world()
    yield clusters
    for cluster in clusters:
        await cluster.stop()


async def _get(cluster: EmbeddedCluster, path: str, **more: Any) -> Any:
    status, body = await cluster.request("GET", path, **more)
    assert status == 200, body
    return orjson.loads(body)


async def _statuses(cluster: EmbeddedCluster) -> dict[str, str]:
    """Return the STATUS of each of the shop's pods, by what comes before the pod's own suffixes."""
    table = await _get(cluster, "/api/v1/namespaces/shop/pods", accept=TABLE)
    return {
        row["object"]["metadata"]["labels"].get("app.kubernetes.io/name", row["cells"][0]): row["cells"][2]
        for row in table["rows"]
    }


async def test_east_breaks_in_the_usual_ways(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """East has a crash loop, an image that can't be pulled and a missing ConfigMap among pods that run."""
    found = await _statuses(world[0])
    assert {name: found[name] for name in ("checkout", "loyalty", "storefront")} == {
        "checkout": "CrashLoopBackOff",
        "loyalty": "CreateContainerConfigError",
        "storefront": "Running",
    }
    pods = await _get(world[0], "/api/v1/namespaces/shop/pods", accept=TABLE)
    assert "ImagePullBackOff" in {row["cells"][2] for row in pods["rows"]}


async def test_west_breaks_in_others(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """West has pods that fit nowhere, a claim nobody serves, a quota that is reached and a memory limit too low."""
    west = world[1]
    found = await _statuses(west)
    assert (found["search"], found["warehouse"]) == ("Pending", "Pending")
    claim = await _get(west, "/api/v1/namespaces/shop/persistentvolumeclaims/data-warehouse-0")
    assert claim["status"]["phase"] == "Pending"
    exporter = await _get(west, "/apis/apps/v1/namespaces/reports/deployments/exporter")
    conditions = {entry["type"]: entry for entry in exporter["status"]["conditions"]}
    assert "exceeded quota" in conditions["ReplicaFailure"]["message"]
    pods = await _get(west, "/api/v1/namespaces/shop/pods?labelSelector=app.kubernetes.io/name%3Dimage-resizer")
    last = pods["items"][0]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)


async def test_a_crash_loop_has_its_events_and_a_telling_line(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """The crashing pod has BackOff events about it and a previous log that says why it crashes."""
    east = world[0]
    pods = await _get(east, "/api/v1/namespaces/shop/pods?labelSelector=app.kubernetes.io/name%3Dcheckout")
    name = pods["items"][0]["metadata"]["name"]
    events = await _get(east, f"/api/v1/namespaces/shop/events?fieldSelector=involvedObject.name%3D{name}")
    assert {"BackOff", "Started", "Scheduled"} <= {event["reason"] for event in events["items"]}
    _, log = await east.request("GET", f"/api/v1/namespaces/shop/pods/{name}/log?previous=true&tailLines=20")
    assert b"PAYMENTS_URL is empty" in log


async def test_a_service_selects_nothing(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """The service `promo` has a selector that no pod has, and no endpoints."""
    slices = await _get(
        world[0],
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io/service-name%3Dpromo",
    )
    assert [found["endpoints"] for found in slices["items"]] == [[]]


async def test_a_failed_job_says_so(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """The migration reached its backoff limit, and its pods' log has the error."""
    job = await _get(world[0], "/apis/batch/v1/namespaces/shop/jobs/migrate-orders-0042")
    assert {entry["type"]: entry["reason"] for entry in job["status"]["conditions"]}["Failed"] == "BackoffLimitExceeded"


async def test_every_table_of_the_world_fits_its_columns(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """Whatever the world has is shown in as many cells as the table has columns."""
    for cluster in world:
        for group in (await _get(cluster, "/apis"))["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            await _check_tables(cluster, f"/apis/{version}")
        await _check_tables(cluster, "/api/v1")


async def _check_tables(cluster: EmbeddedCluster, base: str) -> None:
    for resource in (await _get(cluster, base))["resources"]:
        if "list" in resource["verbs"]:
            table = await _get(cluster, f"{base}/{resource['name']}", accept=TABLE)
            for row in table["rows"]:
                assert len(row["cells"]) == len(table["columnDefinitions"]), (resource["name"], row["cells"])


async def test_the_shop_has_a_kind_of_its_own(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """Backups are a custom resource with columns, one of which failed."""
    table = await _get(world[0], "/apis/shop.example/v1/namespaces/shop/backups", accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Database", "Phase", "Age"]
    assert [row["cells"][:3] for row in table["rows"]] == [
        ["orders-1", "orders-db", "Completed"],
        ["orders-2", "orders-db", "Failed"],
    ]


async def test_what_runs_is_measured(world: tuple[EmbeddedCluster, EmbeddedCluster]) -> None:
    """metrics.k8s.io has every running pod and every node, one by one as well."""
    east = world[0]
    nodes = await _get(east, "/apis/metrics.k8s.io/v1beta1/nodes")
    assert [item["metadata"]["name"] for item in nodes["items"]] == ["east-1", "east-2", "east-control-plane"]
    pods = await _get(east, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods")
    first = pods["items"][0]
    assert set(first["containers"][0]["usage"]) == {"cpu", "memory"}
    one = await _get(east, f"/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/{first['metadata']['name']}")
    assert one["metadata"]["name"] == first["metadata"]["name"]
