"""Commands, evictions and logs in real containers, in front of them the real gateway and the official MCP client."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from tests.cluster.node import RealNodeCluster
from tests.journeys.conftest import GatewayProcess, call, connected, describe, failing, running_gateway
from tests.workbench import unfenced

pytestmark = pytest.mark.slow

FOR_EVER = "while :; do sleep 1000; done"
EXEC: dict[str, Any] = {"resource": "pods", "name": "box", "namespace": "demo", "subresource": "exec"}


def container(script: str, name: str = "main") -> dict[str, Any]:
    """Return a container that runs a script."""
    image = {"image": "local.test/busybox:1", "imagePullPolicy": "Never"}
    return {"name": name, "command": ["sh", "-c", script], **image}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod that ends quickly when it must."""
    metadata = {"name": name, "namespace": "demo"}
    spec = {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


# `sh` is not to be found in it, as in an image without a shell.
BARE = {**container(""), "command": ["/bin/busybox", "sleep", "100000"], "env": [{"name": "PATH", "value": "/nowhere"}]}
DONE = pod("done", container("echo over"), restartPolicy="Never")
SHOP = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": pod(
        "",
        container(rf"echo web started; printf 'caf\303\251 \377\n'; {FOR_EVER}", "web"),
        container(f"echo side started; seq 1 500; {FOR_EVER}", "side"),
    )["spec"],
}
SELECTOR = {"matchLabels": {"app": "shop"}}
META = {"name": "shop", "namespace": "demo"}
OBJECTS = (
    pod("box", container(FOR_EVER)),
    pod("bare", BARE),
    pod("crashes", container("echo bye; exit 3")),
    DONE,
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": META,
        "spec": {"replicas": 2, "selector": SELECTOR, "template": SHOP},
    },
    {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": META,
        "spec": {"minAvailable": 2, "selector": SELECTOR},
    },
)


@pytest.fixture(scope="module")
def node(real_node: RealNodeCluster) -> RealNodeCluster:
    """Give the node with pods in every state of life."""
    real_node.admin.apply("\n---\n".join(map(json.dumps, OBJECTS)))
    for pod, condition in (
        ("pod/box", "condition=Ready"),
        ("pod/bare", "condition=Ready"),
        ("pod/done", "jsonpath={.status.phase}=Succeeded"),
        ("pod/crashes", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"),
        ("deployment/shop", "condition=Available"),
        ("pdb/shop", "jsonpath={.status.currentHealthy}=2"),
    ):
        real_node.kubectl("wait", "-n=demo", pod, f"--for={condition}", "--timeout=90s")
    return real_node


def serving(node: RealNodeCluster, folder: Path, confirmation: str) -> Any:
    """Run a gateway that lets callers run and evict, after this kind of confirmation."""
    policy = {"writes": ["post"], "subresources": ["pods/exec", "pods/eviction"], "confirmation": confirmation}
    return running_gateway(folder, describe(node, label="PROD", policy=policy))


@pytest.fixture(scope="module")
def free(node: RealNodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway that asks nobody."""
    with serving(node, tmp_path_factory.mktemp("free"), "none") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def asking(node: RealNodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway that asks the person."""
    with serving(node, tmp_path_factory.mktemp("asking"), "person") as gateway:
        yield gateway


def result(text: str) -> Any:
    """Return the JSON below an answer's first line."""
    return json.loads(text.split("\n", 1)[1])


def processes(node: RealNodeCluster, mark: str) -> int:
    """Count the processes in the pod whose command line has this mark; zombies have none."""
    # The brackets keep the search from finding itself.
    lines = "for each in /proc/[0-9]*; do tr '\\0' ' ' <$each/cmdline; echo; done 2>/dev/null"
    script = f"{lines} | grep -c '[{mark[0]}]{mark[1:]}' || :"
    return int(node.kubectl("exec", "-n=demo", "box", "--", "sh", "-c", script))


async def gone(node: RealNodeCluster, mark: str) -> None:
    """Wait until no process with this mark is left."""
    async with asyncio.timeout(15):
        while await asyncio.to_thread(processes, node, mark):  # noqa: ASYNC110  # nothing tells when a process ends
            await asyncio.sleep(0.2)


async def begun(node: RealNodeCluster, mark: str) -> None:
    """Wait until there is a process with this mark."""
    async with asyncio.timeout(15):
        while not await asyncio.to_thread(processes, node, mark):  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0.2)


async def test_a_command_runs_in_a_real_container(node: RealNodeCluster, free: GatewayProcess, mode: str) -> None:
    """Output apart, exit code, and MKP's shape, in both protocol generations."""
    async with connected(free.url, await node.token(), mode) as client:
        text = await call(client, "resource_post", **EXEC, body={"command": "echo out; echo err >&2; exit 5"})
        assert text.startswith("cluster north [PROD] · pod demo/box, container main · exit code 5 in ")
        assert result(text) == {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "box", "namespace": "demo"},
            "spec": {"command": ["sh", "-c", "echo out; echo err >&2; exit 5"]},
            "status": {"stdout": "out\n", "stderr": "err\n", "exitCode": 5, "error": ""},
        }
        text = await call(client, "resource_post", **EXEC, body={"command": ["no-such-program"]})
        assert "exit code 127" in text
        text = await call(client, "resource_post", **EXEC, body={"command": ["printf", r"caf\303\251 \377\000"]})
        assert result(text)["status"]["stdout"] == "café \\xff\x00"
        assert "binary output" in text


async def test_short_commands_end_with_their_own_exit_code(node: RealNodeCluster, free: GatewayProcess) -> None:
    """A container runtime that tidies up when output closes must not be taken for a caller who left."""
    async with connected(free.url, await node.token(), "auto") as client:
        for words in (["true"], ["cat"], ["seq", "1", "2000"]) * 8:
            text = await call(client, "resource_post", **EXEC, body={"command": words})
            assert "exit code 0" in text, text[:200]


@pytest.mark.parametrize(
    "script",
    ["exec sleep 7001", "trap '' TERM; sleep 7001; sleep 7001", "(trap '' TERM; sleep 7001; sleep 7001) & sleep 7001"],
    ids=["plain", "ignoring TERM", "a child ignoring TERM"],
)
async def test_at_its_time_limit_a_command_is_really_ended(
    node: RealNodeCluster, free: GatewayProcess, script: str
) -> None:
    """A process that ignores the end of its input, or TERM, or has children that do, is gone when the answer comes."""
    async with connected(free.url, await node.token(), "auto") as client:
        body = {"command": ["sh", "-c", f"echo begun; {script}"], "timeout": 1}
        text = await call(client, "resource_post", **EXEC, body=body)
    assert "not finished within 1 s: ended with all it had started" in text
    assert result(text)["status"]["stdout"] == "begun\n"
    assert processes(node, "7001") == 0


async def test_a_caller_who_leaves_ends_the_command(node: RealNodeCluster, free: GatewayProcess, mode: str) -> None:
    """A cancelled call leaves nothing running in the container."""
    async with connected(free.url, await node.token(), mode) as client:
        body = {"command": ["sleep", "7002"], "timeout": 60}
        running = asyncio.create_task(client.call_tool("resource_post", {**EXEC, "body": body}))
        await begun(node, "7002")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await gone(node, "7002")


async def test_a_command_that_writes_for_ever_is_ended(node: RealNodeCluster, free: GatewayProcess) -> None:
    """The answer fits, has beginning and end, and nothing goes on writing."""
    async with connected(free.url, await node.token(), "auto") as client:
        text = await call(client, "resource_post", **EXEC, body={"command": "yes line-7003", "timeout": 30})
    assert "wrote more than 8 MiB: ended with all it had started" in text
    assert len(text.encode()) <= 24 * 1024
    assert processes(node, "line-7003") == 0


async def test_a_container_without_a_shell_runs_commands_too(node: RealNodeCluster, free: GatewayProcess) -> None:
    """Nothing can end them there at the time limit, and the answer says so; an unknown program is told."""
    arguments = {**EXEC, "name": "bare"}
    async with connected(free.url, await node.token(), "auto") as client:
        text = await call(client, "resource_post", **arguments, body={"command": "/bin/busybox echo hi"})
        assert result(text)["status"]["stdout"] == "hi\n"
        body = {"command": "/bin/busybox sleep 8", "timeout": 0.5}
        text = await call(client, "resource_post", **arguments, body=body)
        assert "IT MAY STILL RUN, because the container has no shell" in text
        text = await failing(client, "resource_post", **arguments, body={"command": "ls"})
        assert text.startswith('Nothing was run: exec: "ls": executable file not found in $PATH.')


async def test_what_does_not_run_can_run_nothing(node: RealNodeCluster, free: GatewayProcess) -> None:
    """A finished pod, a container that waits, and a container that is none are told as what they are."""
    async with connected(free.url, await node.token(), "auto") as client:
        for name, more, says in (
            ("done", {}, "it has ended (Completed 0), and the pod is Succeeded"),
            ("crashes", {}, "Nothing was run: container "),
            ("box", {"container": "nix"}, "The pod has no container 'nix'. It has: main."),
            ("nix", {}, 'pods "nix" not found'),
        ):
            arguments = {**EXEC, "name": name, "body": {"command": "ls", **more}}
            assert says in await failing(client, "resource_post", **arguments)


async def test_one_command_is_one_request_to_the_cluster(node: RealNodeCluster, free: GatewayProcess) -> None:
    """The API server's own count of execs goes up by one for each command."""

    async def count() -> float:
        lines = (await node.metrics()).splitlines()
        found = [line for line in lines if line.startswith("apiserver_request_total{") and 'subresource="exec"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    async with connected(free.url, await node.token(), "auto") as client:
        await call(client, "resource_post", **EXEC, body={"command": "true"})
        before = await count()
        for _ in range(5):
            await call(client, "resource_post", **EXEC, body={"command": "true"})
        assert await count() == before + 5


def answering(word: str | None, asked: list[str]) -> Callable[..., Any]:
    """Answer every question with this word, or decline."""

    async def answer(_context: object, params: Any) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action="accept" if word else "decline", content={"answer": word} if word else None)

    return answer


async def test_the_person_decides(node: RealNodeCluster, asking: GatewayProcess, mode: str) -> None:
    """Yes runs the command once; no, declining and not being able to ask run nothing, and the answer shows it."""
    token = await node.token()
    command = f"echo {mode} >>/tmp/asked-{mode}; cat /tmp/asked-{mode}"
    arguments = {**EXEC, "body": {"command": command}}
    text = ""
    for word, says in (("no", "the person said no"), (None, "the person said no"), ("yes", "exit code 0")):
        asked: list[str] = []
        async with connected(asking.url, token, mode, elicitation_callback=answering(word, asked)) as client:
            text = await call(client, "resource_post", **arguments)
        assert says in text
        assert asked == [
            f"Cluster north [PROD]: run this in container main of pod demo/box, for 15 s at most?\n\n{command}"
        ]
    assert result(text)["status"]["stdout"] == f"{mode}\n"
    async with connected(asking.url, token, mode) as client:
        text = await call(client, "resource_post", **arguments)
    assert "nothing run; would be, in container main of pod demo/box" in text
    assert "this client can't ask one" in text


async def test_a_plan_is_used_once(node: RealNodeCluster, tmp_path: Path, mode: str) -> None:
    """The first call gives a plan, the second runs the command, the third is refused."""
    with serving(node, tmp_path, "plan") as gateway:
        async with connected(gateway.url, await node.token(), mode) as client:
            arguments = {**EXEC, "body": {"command": ["hostname"]}}
            plan = (await call(client, "resource_post", **arguments)).rpartition("plan: ")[2]
            assert result(await call(client, "resource_post", **arguments, plan=plan))["status"]["stdout"] == "box\n"
            assert "used already" in await failing(client, "resource_post", **arguments, plan=plan)


async def test_a_workload_stands_for_a_pod_and_logs_are_whole(node: RealNodeCluster, free: GatewayProcess) -> None:
    """By the Deployment's name: a command in its newest pod, its log, and those of all its containers."""
    async with connected(free.url, await node.token(), "auto") as client:
        deployment = {"resource": "deploy", "name": "shop", "namespace": "demo"}
        text = await call(client, "resource_post", **deployment, subresource="exec", body={"command": "hostname"})
        name = result(text)["metadata"]["name"]
        assert result(text)["status"]["stdout"] == f"{name}\n"
        assert f"pod demo/{name} (newest, of 2, of Deployment shop), container web" in text
        logs = {**deployment, "subresource": "logs"}
        text = unfenced(await call(client, "resource_get", **logs))
        assert "container web (of web, side; * for all) · last 2 lines\nweb started\ncafé \\xff" in text
        text = unfenced(await call(client, "resource_get", **logs, parameters={"container": "*", "tailLines": 2}))
        assert "--- side · last 2 lines; raise tailLines or limitBytes for more\n499\n500" in text
        assert "--- web · last 2 lines" in text
        found = {"container": "side", "grep": "77|side", "context": 1}
        text = unfenced(await call(client, "resource_get", **logs, parameters=found))
        around = [f"--\n{hundred}76\n{hundred}77\n{hundred}78" for hundred in ("", "1", "2", "3", "4")]
        assert text.split("\n", 1)[1] == "\n".join(["side started", "1", *around])


async def test_a_disruption_budget_protects_its_pods(node: RealNodeCluster, free: GatewayProcess) -> None:
    """An eviction that the budget forbids is explained; one that nothing forbids is done."""
    async with connected(free.url, await node.token(), "auto") as client:
        shop = json.loads(node.kubectl("get", "pods", "-n=demo", "-l=app=shop", "-o=json"))["items"][0]
        arguments = {"resource": "pods", "namespace": "demo", "subresource": "eviction", "body": {}}
        text = await failing(client, "resource_post", **arguments, name=shop["metadata"]["name"])
        assert re.search(r"The disruption budget shop needs 2 healthy pods and has [12] currently", text)
        text = await call(client, "resource_post", **arguments, name="done")
        assert "evicted pod demo/done" in text
        assert "NOTHING STARTS ANOTHER" in text
    node.kubectl("wait", "-n=demo", "pod/done", "--for=delete", "--timeout=30s")
    node.admin.apply(json.dumps(DONE))
    node.kubectl("wait", "-n=demo", "pod/done", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
