from typing import Any

import pytest

from gateway.demo.wire import Obj
from tests.workbench import Workbench, unfenced

POD: Obj = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "demo"},
    "spec": {"nodeName": "node1", "containers": [{"name": "web", "image": "web:1"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "web",
                "restartCount": 1,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                "lastState": {"terminated": {"exitCode": 1, "containerID": "containerd://1"}},
            }
        ],
    },
}
HEAD = "cluster east · log of pod demo/web"


async def log(bench: Workbench, text: str | bytes, **parameters: Any) -> list[str]:
    """Let the pod have this log, and return what an agent reads of it, line by line."""
    bench.cluster.seed([POD])
    bench.cluster.logs.write("demo", "web", "web", text, previous=bool(parameters.get("previous")))
    arguments = {"resource": "pod", "name": "web", "namespace": "demo", "subresource": "logs"}
    return unfenced(await bench.call("resource_get", arguments | {"parameters": parameters})).split("\n")


def lines(count: int, width: int = 0) -> str:
    """Return so many lines, each with its number and so many bytes more."""
    return "".join(f"line {number} {'x' * width}".rstrip() + "\n" for number in range(count))


async def test_the_last_hundred_lines_are_read(bench: Workbench) -> None:
    """Unless more are asked for, which the first line says how."""
    head, *found = await log(bench, lines(250))
    assert head == f"{HEAD} · last 100 lines; raise tailLines or limitBytes for more"
    assert found == lines(250).splitlines()[-100:]
    head, *found = await log(bench, "", tailLines="200")
    assert (head, len(found)) == (f"{HEAD} · last 200 lines; raise tailLines or limitBytes for more", 200)
    head, *found = await log(bench, "", tailLines=1000)
    assert (head, len(found)) == (f"{HEAD} · last 250 lines", 250)


async def test_a_log_keeps_to_its_budget_at_whole_lines(bench: Workbench) -> None:
    """32 KB unless asked otherwise; the oldest lines give way, and no line is shown in part."""
    text = lines(100, width=1000)
    head, *found = await log(bench, text)
    assert head.endswith("; raise tailLines or limitBytes for more")
    assert 30_000 < sum(len(line) + 1 for line in found) <= 32 * 1024
    assert found == text.splitlines()[-len(found) :]
    _, *found = await log(bench, "", limitBytes=5000)
    assert found == text.splitlines()[-4:]
    _, *found = await log(bench, "", limitBytes=10**9)
    assert found == text.splitlines()


async def test_one_line_that_is_too_long_is_shown_in_part(bench: Workbench) -> None:
    """Rather that than nothing, and it is said that it was cut."""
    _, *found = await log(bench, "short\n" + "ü" * 50_000 + "\n", limitBytes=1001)
    assert found == ["ü" * 500 + " …[line cut]"]


async def test_lines_are_found_in_any_letter_case(bench: Workbench) -> None:
    """Either of several words, in far more than the last hundred lines."""
    text = "The ERROR is here\n" + lines(3000) + "a warning\n"
    head, *found = await log(bench, text, grep="error|Warning")
    assert (head, found) == (f"{HEAD} · 2 of the last 3002 lines match", ["The ERROR is here", "a warning"])
    head, *found = await log(bench, "", grep="nowhere")
    assert (head, found) == (f"{HEAD} · none of the last 3002 lines matches 'nowhere'", [])


async def test_the_newest_lines_are_searched_whatever_the_size(bench: Workbench) -> None:
    """An API server's own limit drops the newest of a long tail, which is just what is looked for."""
    head, *found = await log(bench, lines(20_000, width=600) + "the needle\n", grep="needle")
    assert found == ["the needle"]
    assert head == f"{HEAD} · 1 of the last 5000 lines match"
    _, *found = await log(bench, "", tailLines=20_000)
    assert found[-1] == "the needle"


async def test_the_run_before_the_last_restart(bench: Workbench) -> None:
    """What a container said before it died is another log."""
    head, *found = await log(bench, "panic: no\n", previous=True)
    assert (head, found) == (f"{HEAD} (before its last restart) · last 1 lines", ["panic: no"])


async def test_a_log_without_a_word(bench: Workbench) -> None:
    """Nothing written is said as such, and is no error."""
    assert await log(bench, "") == [f"{HEAD} · empty: nothing was written, or the container has not started"]


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, "tailLines=100&limitBytes=4194304"),
        ({"timestamps": True}, "tailLines=100&limitBytes=4194304&timestamps=true"),
        ({"container": "web", "sinceSeconds": 60}, "tailLines=100&limitBytes=4194304&container=web&sinceSeconds=60"),
        (
            {"sinceTime": "2026-01-01T00:00:00Z"},
            "tailLines=100&limitBytes=4194304&sinceTime=2026-01-01T00%3A00%3A00Z",
        ),
    ],
)
async def test_what_kubernetes_can_select_it_selects(
    bench: Workbench, parameters: dict[str, object], query: str
) -> None:
    """One request, which reads no more than it may have to."""
    await log(bench, lines(3), **parameters)
    assert bench.sent() == [f"GET /api/v1/namespaces/demo/pods/web/log?{query}"]


async def test_rbac_is_asked_for_the_log_itself(bench: Workbench) -> None:
    """Who may read pods may still not read their logs, and hears which it was."""
    bench.cluster.seed([POD])
    await bench.cluster.apply(
        """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: demo}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: demo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: demo}]
"""
    )
    arguments = {"resource": "pod", "name": "web", "namespace": "demo", "subresource": "logs"}
    text = await bench.failure("resource_get", arguments, service_account="demo/reader")
    assert 'cannot get resource "pods/log" in API group "" in the namespace "demo"' in text
