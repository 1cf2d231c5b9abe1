from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.demo import EmbeddedCluster
from tests.workbench import Workbench, unfenced

RUNNING: Mapping[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def pod(name: str, *containers: str, state: Mapping[str, Any] = RUNNING, **metadata: Any) -> dict[str, Any]:
    """Return a pod with these containers, all in one state."""
    base = {"name": name, "namespace": "demo", "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**base, **metadata},
        "spec": {"nodeName": "node1", "containers": [{"name": each, "image": "busybox"} for each in containers]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": each, "state": dict(state), "restartCount": 0} for each in containers],
        },
    }


def owner(kind: str, api_version: str = "apps/v1", **spec: Any) -> dict[str, Any]:
    """Return a workload `web` with this spec."""
    meta = {"name": "web", "namespace": "demo", "uid": "uid-owner", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec}


async def log(bench: Workbench, name: str = "web", resource: str = "pods", **parameters: Any) -> str:
    """Read a log as an agent does."""
    arguments = {"resource": resource, "name": name, "namespace": "demo", "subresource": "logs"}
    return unfenced(await bench.call("resource_get", {**arguments, "parameters": parameters}))


async def no_log(bench: Workbench, name: str = "web", resource: str = "pods", **parameters: Any) -> str:
    """Return what is said about a log that can't be read."""
    arguments = {"resource": resource, "name": name, "namespace": "demo", "subresource": "logs"}
    return await bench.failure("resource_get", {**arguments, "parameters": parameters})


def numbered(*marked: int, count: int = 20) -> str:
    """Return lines that say their number; the marked ones say `hit` as well."""
    return "".join(f"{at}{' hit' if at in marked else ''}\n" for at in range(count))


@pytest.mark.parametrize(
    ("marked", "context", "lines"),
    [
        ((5,), 1, ["4", "5 hit", "6"]),
        ((5, 7), 1, ["4", "5 hit", "6", "7 hit", "8"]),
        ((5, 8), 1, ["4", "5 hit", "6", "7", "8 hit", "9"]),
        ((5, 9), 1, ["4", "5 hit", "6", "--", "8", "9 hit", "10"]),
        ((5, 6), 2, ["3", "4", "5 hit", "6 hit", "7", "8"]),
        ((0, 19), 2, ["0 hit", "1", "2", "--", "17", "18", "19 hit"]),
        ((5,), 0, ["5 hit"]),
    ],
)
async def test_what_is_found_comes_with_the_lines_around_it(
    bench: Workbench, cluster: EmbeddedCluster, marked: tuple[int, ...], context: int, lines: list[str]
) -> None:
    """Each match has its neighbours, each line comes once and in order, and a mark stands where lines are left out."""
    cluster.seed([pod("web", "main")])
    cluster.logs.write("demo", "web", "main", numbered(*marked))
    head, *shown = (await log(bench, grep="HIT", context=context)).split("\n")
    assert shown == lines
    assert f"{len(marked)} of the last 20 lines match" in head
    assert (f", with {context} around each" in head) == bool(context)


async def test_the_last_lines_of_what_is_found_are_kept(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """The number of lines bounds matches and their neighbours together, and the answer says that it did."""
    cluster.seed([pod("web", "main")])
    cluster.logs.write("demo", "web", "main", numbered(3, 16))
    head, *shown = (await log(bench, grep="hit", context=1, tailLines=3)).split("\n")
    assert shown == ["15", "16 hit", "17"]
    assert "2 of the last 20 lines match, with 1 around each; the last 3 lines of that" in head


async def test_all_containers_have_a_part_each(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Each container's lines stand under its name, within a share of the bytes; one without a log says why."""
    cluster.seed([pod("web", "one", "two"), pod("waits", "main", state={"waiting": {"reason": "ContainerCreating"}})])
    cluster.logs.write("demo", "web", "one", "from one\n")
    cluster.logs.write("demo", "web", "two", "x" * 80 + "\n" + "from two\n")
    text = await log(bench, container="*", limitBytes=100)
    assert text.split("\n") == [
        "cluster east · log of pod demo/web, each of 2 containers",
        "--- one · last 1 lines",
        "from one",
        "--- two · last 1 lines; raise tailLines or limitBytes for more",
        "from two",
    ]
    text = await log(bench, "waits", container="*")
    assert '--- main · no log: container "main" in pod "waits" is waiting to start: ContainerCreating' in text


async def test_without_a_container_it_is_kubectl_s_choice(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Of several containers the first is read, and the answer names it and the others."""
    cluster.seed([pod("web", "one", "two")])
    cluster.logs.write("demo", "web", "one", "from one\n")
    text = await log(bench)
    assert text == "cluster east · log of pod demo/web container one (of one, two; * for all) · last 1 lines\nfrom one"


async def test_a_single_container_costs_one_request(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Nothing is looked up where nothing has to be chosen."""
    cluster.seed([pod("web", "main")])
    cluster.logs.write("demo", "web", "main", "hello\n")
    await log(bench)
    assert len(bench.sent()) == 1


@pytest.mark.parametrize(
    ("resource", "workload"),
    [
        ("deploy", owner("Deployment", replicas=2, selector={"matchLabels": {"app": "web"}})),
        (
            "sts",
            owner("StatefulSet", selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}),
        ),
        ("ds", owner("DaemonSet", selector={"matchLabels": {"app": "web"}})),
        ("rs", owner("ReplicaSet", selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
        ("job", owner("Job", "batch/v1", selector={"matchLabels": {"app": "web"}})),
        ("rc", owner("ReplicationController", "v1", selector={"app": "web"})),
    ],
)
async def test_a_workload_stands_for_its_newest_pod(
    bench: Workbench, cluster: EmbeddedCluster, resource: str, workload: dict[str, Any]
) -> None:
    """The workload's own selector finds its pods, and the answer says which was read, and of how many."""
    labels = {"labels": {"app": "web"}}
    old, new = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
    cluster.seed(
        [
            workload,
            pod("web-2", "main", **labels, creationTimestamp=new),
            pod("web-1", "main", **labels, creationTimestamp=old),
        ]
    )
    cluster.logs.write("demo", "web-2", "main", "from the newest\n")
    text = await log(bench, resource=resource)
    head, line = text.split("\n")
    assert head == f"cluster east · log of pod demo/web-2 (newest, of 2, of {workload['kind']} web) · last 1 lines"
    assert line == "from the newest"


async def test_a_workload_s_own_pods_go_before_strangers(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Where a selector finds others' pods too, only those that the workload owns are meant."""
    labels = {"labels": {"app": "web"}}
    owned: dict[str, Any] = {
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "uid-owner"}]
    }
    cluster.seed(
        [
            owner("ReplicaSet", selector={"matchLabels": {"app": "web"}}),
            pod("mine", "main", **labels, **owned),
            pod("strange", "main", **labels, creationTimestamp="2026-06-01T00:00:00Z"),
        ]
    )
    assert "pod demo/mine (newest, of ReplicaSet web)" in await log(bench, resource="rs")


async def test_a_workload_without_a_pod_is_told(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Nothing is read where there is nothing, and a selector that finds everything finds nothing."""
    cluster.seed([owner("Deployment", replicas=0, selector={"matchLabels": {"app": "web"}}), pod("other", "main")])
    text = await no_log(bench, resource="deploy")
    assert text == "Deployment demo/web has no pod now. Read it with resource_get to see why."
    cluster.seed([owner("StatefulSet", selector={})])
    assert "has no pod now" in await no_log(bench, resource="sts")


async def test_a_kind_without_pods_has_no_log(bench: Workbench) -> None:
    """The kinds that have one are named."""
    text = await no_log(bench, resource="configmaps")
    assert text.startswith("configmaps have no pods of their own. Name a pod, or one of daemonsets, deployments, jobs,")


@pytest.mark.parametrize(
    ("state", "parameters", "says"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, {}, "is waiting to start: ContainerCreating. Read the pod"),
        (RUNNING, {"previous": True}, "not found, so it has not restarted. Call again without `previous`."),
    ],
)
async def test_a_log_that_is_not_there_is_no_mistake(
    bench: Workbench, cluster: EmbeddedCluster, state: Mapping[str, Any], parameters: dict[str, Any], says: str
) -> None:
    """A container that waits, or never restarted, is told as that."""
    cluster.seed([pod("web", "main", state=state)])
    text = await no_log(bench, **parameters)
    assert text.startswith("No log: ")
    assert says in text


async def test_a_previous_log_that_was_removed_is_told(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """The kubelet answers 200 with a sentence, which must not be shown as if a container had written it."""
    restarted = pod("web", "main")
    restarted["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"containerID": "containerd://gone"}}
    cluster.seed([restarted])
    assert "has been removed from the node" in await no_log(bench, previous=True)


async def test_a_log_is_readable_whatever_its_bytes(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Bytes that are no UTF-8 become escapes, colours go, and only line feeds end a line."""
    cluster.seed([pod("web", "main")])
    raw = b"\xff\xfe caf\xc3\xa9\r\n\x1b[1;31mred\x1b[0m\nform\x0cfeed and \xe2\x80\xa8 separator\n"
    cluster.logs.write("demo", "web", "main", raw)
    assert (await log(bench)).split("\n")[1:] == ["\\xff\\xfe café", "red", "form\\ffeed and \\u2028 separator"]


async def test_a_large_log_is_filtered_whole(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """A megabyte is searched from its first line on, beside the event loop."""
    cluster.seed([pod("web", "main")])
    cluster.logs.write("demo", "web", "main", "needle\n" + ("x" * 99 + "\n") * 10_000)
    head, *shown = (await log(bench, grep="needle")).split("\n")
    assert shown == ["needle"]
    assert "1 of the last 10001 lines match" in head


async def test_an_object_may_be_asked_for_at_a_version(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """The resourceVersion goes to the API server, and anything that is none is refused here."""
    cluster.seed([pod("web", "main")])
    arguments = {"resource": "pods", "name": "web", "namespace": "demo", "parameters": {"resourceVersion": "0"}}
    assert '"uid":"uid-web"' in await bench.call("resource_get", arguments)
    assert bench.sent() == ["GET /api/v1/namespaces/demo/pods/web?resourceVersion=0"]


async def test_scale_and_status_are_read(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Scale is Kubernetes' own document; of the status' document only the status is shown."""
    deployment = owner("Deployment", replicas=2, selector={"matchLabels": {"app": "web"}})
    cluster.seed([{**deployment, "status": {"replicas": 1}}])
    arguments = {"resource": "deploy", "name": "web", "namespace": "demo"}
    head, scale = (await bench.call("resource_get", {**arguments, "subresource": "scale"})).split("\n")
    assert head == "cluster east · deployments.apps/web/scale in namespace demo"
    assert orjson.loads(scale)["spec"] == {"replicas": 2}
    _, status = (await bench.call("resource_get", {**arguments, "subresource": "status"})).split("\n")
    assert orjson.loads(status) == {"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 1}}


async def test_what_can_be_read_of_a_kind_is_named(bench: Workbench) -> None:
    """An unknown subresource is answered with those there are, logs of a workload among them."""
    text = await bench.failure(
        "resource_get", {"resource": "deploy", "name": "x", "namespace": "demo", "subresource": "rollout"}
    )
    assert text.startswith("No subresource 'rollout' here: deployments has scale and status and logs to read.")
