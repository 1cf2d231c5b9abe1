"""The boundary of exec: a WebSocket in the v4 or v5 channel protocol to a process of the scripted shell.

https://kubernetes.io/docs/reference/using-api/websockets/ and KEP-4006. Channels: 0 stdin, 1 stdout, 2 stderr, 3 how it
ended, 255 (v5 only) closes the channel it names.
"""

import asyncio
import contextlib

import orjson
from aiohttp import WSMsgType, web

from gateway.demo.pods import choose_container
from gateway.demo.rbac import Attributes
from gateway.demo.shell import Container, NoSuchProgramError, Streams, run
from gateway.demo.wire import PLAIN, Answer, Call, Obj, bad_request

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255


def further_check(asked: Attributes) -> Attributes:
    """Return what a WebSocket exec needs besides get: create, as the real server asks since 1.35."""
    return Attributes(
        "create", asked.group, asked.version, asked.plural, asked.subresource, asked.namespace, asked.name
    )


def check(pod: Obj, call: Call) -> str:
    """Return the container to run in; raises StatusError for what can't be run."""
    chosen = choose_container(pod, call.param("container"))
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    if not call.query.get("command"):
        raise bad_request("you must specify at least 1 command for the container")
    if not any(call.flag(name) for name in ("stdin", "stdout", "stderr")):
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    return chosen


def not_running(pod: Obj, container: str) -> Answer | None:
    """Return the kubelet's 500 in plain text for a container that is not running, None for one that is."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container and "running" in (status.get("state") or {}):
            return None
    words = f'unable to upgrade connection: container not found ("{container}")'
    return Answer(500, words.encode(), PLAIN)


def container_of(pod: Obj, name: str) -> Container:
    """Return what programs see of a container."""
    spec = next(container for container in pod["spec"]["containers"] if container["name"] == name)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        **{found["name"]: str(found.get("value", "")) for found in spec.get("env") or ()},
    }
    files = {
        "/etc/hostname": f"{pod['metadata']['name']}\n".encode(),
        "/etc/os-release": b'NAME="Embedded"\nID=embedded\n',
        "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
    }
    return Container(pod["metadata"]["name"], environment, files)


def exit_status(code: int) -> Obj:
    """Return the Status that goes over channel 3 when the process has ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def missing_program(program: str) -> Obj:
    """Return the Status for a program the container does not have, as runc and the kubelet word it."""
    where = f'exec: "{program}": executable file not found in $PATH'
    if "/" in program:
        where = f'exec: "{program}": stat {program}: no such file or directory'
    words = (
        "Internal error occurred: Internal error occurred: error executing command in container: failed to exec in "
        "container: failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: "
        f"{where}"
    )
    return {
        "metadata": {},
        "status": "Failure",
        "message": words,
        "reason": "InternalError",
        "details": {"causes": [{"message": words.partition("occurred: ")[2]}]},
        "code": 500,
    }


async def serve(request: web.BaseRequest, call: Call, container: Container) -> web.WebSocketResponse:
    """Run the call's command over a WebSocket until it ends; the process outlives a caller who leaves, as in life."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, autoping=True)
    await socket.prepare(request)
    inbox: asyncio.Queue[bytes] = asyncio.Queue()
    reading = asyncio.ensure_future(_receive(socket, inbox, listens=call.flag("stdin")))
    try:
        status = await _run(socket, call, container, inbox)
        if (socket.ws_protocol or "").startswith(("v4", "v5")):
            await socket.send_bytes(bytes([ERROR]) + orjson.dumps(status))
        elif status["status"] != "Success":
            await socket.send_bytes(bytes([ERROR]) + str(status["message"]).encode())
        await socket.close()
    except ConnectionError:
        pass  # the caller is gone; there is nobody to tell
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    return socket


async def _receive(socket: web.WebSocketResponse, inbox: asyncio.Queue[bytes], *, listens: bool) -> None:
    if not listens:
        inbox.put_nowait(b"")
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and data and listens:
            inbox.put_nowait(data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]) and listens:
            inbox.put_nowait(b"")
    if listens:
        inbox.put_nowait(b"")


async def _run(socket: web.WebSocketResponse, call: Call, container: Container, inbox: asyncio.Queue[bytes]) -> Obj:
    async def out(data: bytes) -> None:
        if call.flag("stdout"):
            await socket.send_bytes(bytes([STDOUT]) + data)

    async def err(data: bytes) -> None:
        if call.flag("stderr"):
            await socket.send_bytes(bytes([STDERR]) + data)

    words = list(call.query["command"])
    first = next((channel for channel, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if call.flag(name)), ERROR)
    await socket.send_bytes(bytes([first]))  # an empty frame says that the connection is established
    try:
        return exit_status(await run(container, words, Streams(inbox.get, out, err)))
    except NoSuchProgramError as error:
        return missing_program(str(error))
