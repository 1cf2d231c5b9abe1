from typing import Any

import pytest

from tests.contract.conftest import TABLE, Cluster, Http, config_map, deployment


def _columns(table: Any) -> list[str]:
    return [column["name"] for column in table["columnDefinitions"]]


async def test_a_table_has_columns_and_rows(http: Http, space: str) -> None:
    """A Table names its columns with type and priority; a row has a cell for each, and the object's metadata."""
    path = f"/api/v1/namespaces/{space}/configmaps"
    await http("POST", path, config_map("a", data={"x": "1", "y": "2"}))
    table = (await http.get(f"{path}/a", accept=TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert _columns(table) == ["Name", "Data", "Age"]
    assert table["columnDefinitions"][0]["format"] == "name"
    row = table["rows"][0]
    assert row["cells"][:2] == ["a", 2]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["namespace"] == space


@pytest.mark.parametrize(
    ("include", "kind"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMap")]
)
async def test_a_row_carries_as_much_as_asked_for(http: Http, space: str, include: str, kind: str | None) -> None:
    """The parameter includeObject chooses between nothing, the metadata (the default) and the whole object."""
    path = f"/api/v1/namespaces/{space}/configmaps"
    await http("POST", path, config_map("a"))
    found = (await http.get(f"{path}/a?includeObject={include}", accept=TABLE)).json["rows"][0]["object"]
    assert (found and found["kind"]) == kind


async def test_a_table_comes_in_pages_too(http: Http, space: str) -> None:
    """Pages work for Tables too, and the list's metadata says so."""
    path = f"/api/v1/namespaces/{space}/configmaps"
    for name in ("a", "b"):
        await http("POST", path, config_map(name, labels={"mine": "yes"}))
    first = (await http.get(f"{path}?limit=1&labelSelector=mine", accept=TABLE)).json
    token = first["metadata"]["continue"]
    second = (await http.get(f"{path}?limit=1&labelSelector=mine&continue={token}", accept=TABLE)).json
    assert [table["rows"][0]["cells"][0] for table in (first, second)] == ["a", "b"]


PODS = {"containers": [{"name": "app", "image": "example.test/app:1"}, {"name": "log", "image": "example.test/log:2"}]}


async def test_a_pod_nobody_placed_is_pending(http: Http, space: str) -> None:
    """A pod that waits for a node shows 0 of its containers ready, Pending, no restarts, no address, no node."""
    path = f"/api/v1/namespaces/{space}/pods"
    spec = {**PODS, "schedulerName": "nobody"}
    await http("POST", path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    table = (await http.get(f"{path}/p", accept=TABLE)).json
    assert _columns(table)[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    cells = table["rows"][0]["cells"]
    assert [*cells[:4], *cells[5:]] == ["p", "0/2", "Pending", "0", "<none>", "<none>", "<none>", "<none>"]


def _status(**state: Any) -> dict[str, Any]:
    base = {"name": "app", "image": "example.test/app:1", "imageID": "", "ready": False, "restartCount": 0, "state": {}}
    return {**base, **state}


LONG_AGO = "2020-01-01T00:00:00Z"
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"phase": "Running", "containerStatuses": [_status(state={"running": {}}, ready=True)]},
            ["1/1", "Running", "0"],
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [_status(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=4)],
            },
            ["0/1", "CrashLoopBackOff", "4"],
        ),
        (
            {"phase": "Pending", "containerStatuses": [_status(state={"waiting": {"reason": "ImagePullBackOff"}})]},
            ["0/1", "ImagePullBackOff", "0"],
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [_status(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})],
            },
            ["0/1", "OOMKilled", "0"],
        ),
        (
            {"phase": "Running", "containerStatuses": [_status(state={"terminated": {"exitCode": 3}})]},
            ["0/1", "ExitCode:3", "0"],
        ),
        (
            {"phase": "Running", "containerStatuses": [_status(state={"terminated": {"exitCode": 0, "signal": 9}})]},
            ["0/1", "Signal:9", "0"],
        ),
        ({"phase": "Failed", "reason": "Evicted"}, ["0/1", "Evicted", "0"]),
        ({"phase": "Succeeded"}, ["0/1", "Succeeded", "0"]),
    ],
)
async def test_a_pods_status_word_is_the_one_that_tells_most(
    http: Http, space: str, status: dict[str, Any], expected: list[str]
) -> None:
    """The STATUS column shows a container's trouble before the phase."""
    path = f"/api/v1/namespaces/{space}/pods"
    spec = {"containers": PODS["containers"][:1], "schedulerName": "nobody"}
    await http("POST", path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    merge = "application/merge-patch+json"
    assert (await http("PATCH", f"{path}/p/status", {"status": status}, content_type=merge)).status == 200
    assert (await http.get(f"{path}/p", accept=TABLE)).json["rows"][0]["cells"][1:4] == expected


async def test_a_deployment_shows_what_is_ready_of_what_is_wanted(http: Http, space: str) -> None:
    """READY, UP-TO-DATE and AVAILABLE come from the status, containers, images and selector with priority 1."""
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    await http("POST", path, deployment("web", paused=True))
    table = (await http.get(f"{path}/web", accept=TABLE)).json
    names = ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    assert _columns(table) == names
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 0, 0, 1, 1, 1]
    cells = table["rows"][0]["cells"]
    assert [*cells[:4], *cells[5:]] == ["web", "0/0", 0, 0, "app", "example.test/app:1", "app=web"]


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}


async def test_a_service_shows_its_type_and_ports(http: Http, space: str) -> None:
    """A headless service has no address; a port shows with its protocol."""
    path = f"/api/v1/namespaces/{space}/services"
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]
    await http("POST", path, {**SERVICE, "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": ports}})
    cells = (await http.get(f"{path}/web", accept=TABLE)).json["rows"][0]["cells"]
    assert [*cells[:5], cells[6]] == ["web", "ClusterIP", "None", "<none>", "80/TCP,53/UDP", "a=b"]


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("batch/v1/cronjobs", {"spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "example.test/app:1"}]}}}}}}),
    ("batch/v1/jobs", {"spec": {"suspend": True, "template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "example.test/app:1"}]}}}}),
    ("apps/v1/statefulsets", {"spec": {"replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": "i:1"}]}}}}),
    ("v1/persistentvolumeclaims", {"spec": {
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "none",
        "resources": {"requests": {"storage": "1Gi"}}}}),
    ("networking.k8s.io/v1/ingresses", {"spec": {"ingressClassName": "c", "tls": [{"hosts": ["h.example"]}], "rules": [
        {"host": "h.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
    ("autoscaling/v2/horizontalpodautoscalers", {"spec": {"maxReplicas": 3, "minReplicas": 2, "scaleTargetRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}, "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}}),
    ("policy/v1/poddisruptionbudgets", {"spec": {"maxUnavailable": "25%", "selector": {"matchLabels": {"a": "b"}}}}),
    ("v1/secrets", {"data": {"a": "Yg=="}}),
    ("v1/endpoints", {"subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]}]}),
    ("discovery.k8s.io/v1/endpointslices", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.9"]}],
        "ports": [{"port": 80}]}),
    ("coordination.k8s.io/v1/leases", {"spec": {"holderIdentity": "me"}}),
]  # fmt: skip

CELLS: dict[str, list[Any]] = {
    "cronjobs": ["x", "0 3 * * *", "<none>", "True", 0, "<none>", ..., "app", "example.test/app:1", "<none>"],
    "jobs": ["x", "Suspended", "0/1", "", ..., "app", "example.test/app:1", ...],
    "statefulsets": ["x", "0/0", ..., "app", "i:1"],
    "persistentvolumeclaims": ["x", "Pending", "", "", "", "none", "<unset>", ..., "Filesystem"],
    "ingresses": ["x", "c", "h.example", "", "80, 443", ...],
    "horizontalpodautoscalers": ["x", "Deployment/none", "cpu: <unknown>/70%", "2", 3, 0, ...],
    "poddisruptionbudgets": ["x", "N/A", "25%", 0, ...],
    "secrets": ["x", "Opaque", 1, ...],
    "endpoints": ["x", "10.0.0.9:80", ...],
    "endpointslices": ["x", "IPv4", "80", "10.0.0.9", ...],
    "leases": ["x", "me", ...],
}


@pytest.mark.parametrize(("where", "body"), SHAPES, ids=[where.rpartition("/")[2] for where, _ in SHAPES])
async def test_the_common_kinds_have_columns_of_their_own(
    cluster: Cluster, http: Http, space: str, where: str, body: dict[str, Any]
) -> None:
    """Each kind's row says what people look for first."""
    version, _, plural = where.rpartition("/")
    kind = {"leases": "Lease", "ingresses": "Ingress", "horizontalpodautoscalers": "HorizontalPodAutoscaler"}.get(
        plural, {"cronjobs": "CronJob", "statefulsets": "StatefulSet", "endpoints": "Endpoints",
                 "persistentvolumeclaims": "PersistentVolumeClaim", "poddisruptionbudgets": "PodDisruptionBudget",
                 "endpointslices": "EndpointSlice"}.get(plural, plural.removesuffix("s").capitalize())
    )  # fmt: skip
    path = f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/{space}/{plural}"
    made = await http("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **body})
    assert made.status == 201, made.body

    async def row() -> list[Any]:
        table = (await http.get(f"{path}/x", accept=TABLE)).json
        cells: list[Any] = table["rows"][0]["cells"]
        assert len(cells) == len(table["columnDefinitions"])
        return cells

    cells = await row()
    if plural == "jobs":  # the controller says a moment later that it is suspended
        merge = "application/merge-patch+json"
        condition = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}
        await http("PATCH", f"{path}/x/status", {"status": {"conditions": [condition]}}, content_type=merge)
        cells = await row()
    assert [want if want is ... else have for want, have in zip(CELLS[plural], cells, strict=True)] == CELLS[plural]
    del cluster


async def test_namespaces_nodes_and_the_rest_have_tables(http: Http) -> None:
    """Cluster-scoped kinds have Tables; one without columns of its own shows name and creation."""
    expected = {
        "/api/v1/namespaces": ["Name", "Status", "Age"],
        "/api/v1/nodes": ["Name", "Status", "Roles", "Age", "Version"],
        "/apis/rbac.authorization.k8s.io/v1/clusterroles": ["Name", "Created At"],
        "/apis/storage.k8s.io/v1/storageclasses": ["Name", "Provisioner", "ReclaimPolicy"],
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": ["Name", "Created At"],
    }
    for path, columns in expected.items():
        assert _columns((await http.get(path, accept=TABLE)).json)[: len(columns)] == columns
