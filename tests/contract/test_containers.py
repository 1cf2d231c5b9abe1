"""What needs containers that run: an embedded pod's scripted shell, and the real node's busybox."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest

from gateway.demo import EmbeddedCluster
from tests.contract.conftest import Cluster, Http, connect, until

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "runs", "namespace": "demo"},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "local.test/busybox:1",
                "imagePullPolicy": "Never",
                "env": [{"name": "GREETING", "value": "hello"}],
                "command": ["sh", "-c", "echo first; echo second; echo third; sleep 1000"],
            }
        ]
    },
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1"},
    "status": {"allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
}
PATH = "/api/v1/namespaces/demo/pods/runs"


@pytest.fixture(params=["embedded", pytest.param("node", marks=pytest.mark.slow)])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster with a pod `demo/runs` whose container has written three lines and sleeps."""
    if request.param == "node":
        node: Cluster = request.getfixturevalue("real_node")
        yield await _with_pod(node)
    else:
        async with EmbeddedCluster("node") as embedded:
            embedded.seed([NODE])
            embedded.logs.write("demo", "runs", "main", "first\nsecond\nthird\n")
            yield await _with_pod(embedded)


async def _with_pod(cluster: Cluster) -> Cluster:
    if (await cluster.request("GET", PATH))[0] == 404:
        assert (await cluster.request("POST", "/api/v1/namespaces/demo/pods", POD))[0] == 201

    async def ready() -> bool:
        status = orjson.loads((await cluster.request("GET", PATH))[1]).get("status") or {}
        return any(found["type"] == "Ready" and found["status"] == "True" for found in status.get("conditions") or ())

    await until(ready, seconds=60)
    return cluster


@pytest.fixture
async def inside(running: Cluster) -> AsyncIterator[Http]:
    """A raw client of the cluster with the running pod."""
    async with connect(running) as client:
        yield client


async def _exec(
    http: Http, *command: str, stdin: bytes | None = None, protocol: str = "v5.channel.k8s.io"
) -> tuple[dict[int, bytes], Any]:
    """Run a command; return what came on each channel, and the status of channel 3."""
    pairs = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true"), ("container", "main")]
    query = urlencode(pairs + ([("stdin", "true")] if stdin is not None else []))
    channels: dict[int, bytes] = {}
    async with (
        asyncio.timeout(20),
        http.session.ws_connect(
            f"{http.server}{PATH}/exec?{query}", protocols=[protocol], headers={"Authorization": f"Bearer {http.token}"}
        ) as socket,
    ):
        assert socket.protocol == protocol
        if stdin is not None:
            await socket.send_bytes(b"\x00" + stdin)
            await socket.send_bytes(b"\xff\x00")
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    return channels, orjson.loads(channels.pop(3, b"null"))


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_output_and_errors_come_apart(inside: Http, protocol: str) -> None:
    """Standard output is channel 1, standard error channel 2, and the end is a Status on channel 3."""
    channels, status = await _exec(inside, "sh", "-c", "echo out; echo err >&2", protocol=protocol)
    assert (channels[1], channels[2], status["status"]) == (b"out\n", b"err\n", "Success")


async def test_an_exit_code_is_a_cause(inside: Http) -> None:
    """A command that fails ends with NonZeroExitCode and its code as a cause."""
    _, status = await _exec(inside, "sh", "-c", "exit 3")
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert status["message"] == "command terminated with non-zero exit code: command terminated with exit code 3"


async def test_a_program_that_is_not_there_is_an_internal_error(inside: Http) -> None:
    """An unknown program is InternalError without a cause of its own, the message says what was not found."""
    _, status = await _exec(inside, "no-such-program")
    assert (status["status"], status["reason"]) == ("Failure", "InternalError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in status["message"]
    assert not [cause for cause in (status.get("details") or {}).get("causes") or () if cause.get("reason")]


async def test_the_end_of_the_input_is_said(inside: Http) -> None:
    """In v5 closing channel 0 ends a program that reads to the end of its input."""
    channels, status = await _exec(inside, "cat", stdin=b"through and through")
    assert (channels[1], status["status"]) == (b"through and through", "Success")


async def test_the_environment_is_the_containers(inside: Http) -> None:
    """A command sees its container's environment."""
    channels, _ = await _exec(inside, "env")
    assert b"GREETING=hello\n" in channels[1]


async def test_who_reads_no_further_is_not_written_to(inside: Http) -> None:
    """A command that writes for ever is read from as long as one wants; leaving ends the connection."""
    query = "command=yes&stdout=true&container=main"
    headers = {"Authorization": f"Bearer {inside.token}"}
    read = 0
    async with (
        asyncio.timeout(20),
        inside.session.ws_connect(
            f"{inside.server}{PATH}/exec?{query}", protocols=["v5.channel.k8s.io"], headers=headers
        ) as socket,
    ):
        while read < 1 << 16:
            read += len((await socket.receive()).data)
    # No runtime ends a command with its connection; left alone, this one would take a core from all that comes after.
    await _exec(inside, "killall", "yes")
    assert read >= 1 << 16


async def test_exec_over_a_websocket_needs_create_too(running: Cluster, inside: Http) -> None:
    """Getting pods/exec is not enough for a WebSocket: create is asked for as well."""
    await running.apply("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: half, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: half, namespace: demo}
rules: [{apiGroups: [""], resources: ["pods/exec"], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: half, namespace: demo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: half}
subjects: [{kind: ServiceAccount, name: half, namespace: demo}]
""")
    headers = {"Authorization": f"Bearer {await running.token(service_account='demo/half')}"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await inside.session.ws_connect(f"{inside.server}{PATH}/exec?command=ls&stdout=true", headers=headers)
    assert refused.value.status == 403


async def test_a_log_can_be_cut(inside: Http) -> None:
    """Last lines by tailLines, first bytes by limitBytes, and timestamps puts the time before each line."""
    whole = await inside.get(f"{PATH}/log", accept="*/*")
    assert (whole.status, whole.body, whole.headers["Content-Type"]) == (200, b"first\nsecond\nthird\n", "text/plain")
    assert (await inside.get(f"{PATH}/log?tailLines=2")).body == b"second\nthird\n"
    assert (await inside.get(f"{PATH}/log?tailLines=0")).body == b""
    assert (await inside.get(f"{PATH}/log?limitBytes=8")).body == b"first\nse"
    assert (await inside.get(f"{PATH}/log?sinceSeconds=100000")).body == whole.body
    stamped = (await inside.get(f"{PATH}/log?timestamps=true&tailLines=1")).body
    moment, _, line = stamped.partition(b" ")
    assert (line, moment[:2], moment[-1:]) == (b"third\n", b"20", b"Z")


async def test_a_run_before_the_first_has_no_log(inside: Http) -> None:
    """previous=true where nothing ran before is 400."""
    answer = await inside.get(f"{PATH}/log?previous=true")
    assert answer.status == 400
    assert answer.message == 'previous terminated container "main" in pod "runs" not found'


async def test_a_running_pods_row_says_so(inside: Http) -> None:
    """READY, STATUS, RESTARTS and NODE of a pod that runs."""
    table = (await inside.get(PATH, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    cells = table["rows"][0]["cells"]
    assert (cells[:4], cells[6]) == (["runs", "1/1", "Running", "0"], "node1")
