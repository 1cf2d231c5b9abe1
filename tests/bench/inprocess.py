"""Boundary to floor and gateway as ASGI apps in this process: what one call costs them, without sockets before them.

Both get the same requests in turns. What is counted does not hang on the machine; what is timed is CPU time, of which
the least of many turns counts.
"""

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quart import Quart

from gateway.app import create_app
from gateway.settings import load_settings
from gateway.telemetry.logs import configure_logging
from tests.bench.embedded import NAME, NAMESPACE, Reached
from tests.bench.floor import create_floor
from tests.bench.load import HANDSHAKE, MODERN

ARGUMENTS = {"resource": "configmaps", "name": NAME, "namespace": NAMESPACE}
_META = "io.modelcontextprotocol/"


@dataclass(frozen=True, slots=True)
class App:
    """A running app and the warm call to it, as ASGI has it."""

    name: str
    asgi: Any
    scope: dict[str, Any]
    body: bytes

    async def call(self) -> None:
        """Make the call once.

        Raises:
            RuntimeError: It did not succeed.
        """
        status, _, answered = await _exchange(self.asgi, self.scope, self.body)
        if status != 200 or b'"isError":true' in answered:
            raise RuntimeError(f"{self.name}: {status} {answered[:300]!r}")


@dataclass(frozen=True, slots=True)
class Counted:
    """What one warm call takes: Python functions entered (a coroutine that goes on counts again), functions in C.

    Then the bytes that were allocated at once at most, and the blocks that were not given back.
    """

    python: int
    native: int
    peak_bytes: int
    kept_blocks: float


@asynccontextmanager
async def both(folder: Path, cluster: Reached, generation: str, **settings: Any) -> AsyncIterator[tuple[App, App]]:
    """Run the floor and the gateway before this cluster, warm."""
    ca_file = folder / "ca.crt"
    ca_file.write_text(cluster.ca)
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
    async with AsyncExitStack() as stack:
        least = create_floor(cluster.server, str(ca_file), path, cluster.tokens[0])
        floor = await stack.enter_async_context(_running("floor", least, cluster.tokens[0], generation))
        own = await stack.enter_async_context(gateway(folder, cluster, generation, **settings))
        yield floor, own


@asynccontextmanager
async def gateway(folder: Path, cluster: Reached, generation: str, **settings: Any) -> AsyncIterator[App]:
    """Run the gateway before this cluster, warm, with its log in a file."""
    file = folder / "gateway.yaml"
    listen = {"port": 1}
    written = {"listen": listen, "admin": {"port": 0}, "log": {"format": "json"}, "clusters": [cluster.listed()]}
    file.write_text(json.dumps(written | settings))
    loaded = load_settings(file, {})
    with (folder / "gateway.log").open("w") as log:
        configure_logging(loaded.log, log)
        async with _running("gateway", create_app(loaded), cluster.tokens[0], generation) as app:
            yield app


@asynccontextmanager
async def _running(name: str, app: Quart, token: str, generation: str) -> AsyncIterator[App]:
    async with app.test_app():
        session = b""
        if generation == HANDSHAKE:
            info = {"name": "bench", "version": "1"}
            first = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": info}
            _, headers, _ = await _exchange(app.asgi_app, *_request(token, "initialize", first, []))
            session = headers[b"mcp-session-id"]
        scope, body = _call(token, generation, session)
        ready = App(name, app.asgi_app, scope, body)
        for _ in range(20):
            await ready.call()
        yield ready


def _call(token: str, generation: str, session: bytes) -> tuple[dict[str, Any], bytes]:
    parameters: dict[str, Any] = {"name": "resource_get", "arguments": ARGUMENTS}
    version = [(b"mcp-protocol-version", generation.encode())]
    if generation == HANDSHAKE:
        return _request(token, "tools/call", parameters, [*version, (b"mcp-session-id", session)])
    parameters["_meta"] = {f"{_META}protocolVersion": MODERN, f"{_META}clientCapabilities": {}}
    named = [(b"mcp-method", b"tools/call"), (b"mcp-name", b"resource_get")]
    return _request(token, "tools/call", parameters, [*version, *named])


def _request(
    token: str, method: str, parameters: Mapping[str, Any], more: Sequence[tuple[bytes, bytes]]
) -> tuple[dict[str, Any], bytes]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    headers = [
        (b"host", b"127.0.0.1:1"),
        (b"authorization", f"Bearer {token}".encode()),
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        *more,
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }
    return scope, body


async def _exchange(asgi: Any, scope: dict[str, Any], body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    messages: list[dict[str, Any]] = []
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for part in parts:
            return part
        await asyncio.get_running_loop().create_future()  # nobody disconnects
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await asgi({**scope, "headers": list(scope["headers"])}, receive, send)
    start = messages[0]
    return start["status"], dict(start["headers"]), b"".join(message.get("body", b"") for message in messages[1:])


async def microseconds(apps: Sequence[App], *, turns: int, calls: int = 25) -> dict[str, list[float]]:
    """Return the CPU time of a call in each turn of each app, in µs; in every turn so many calls are made of each."""
    gc.collect()
    gc.freeze()  # as the gateway does once it serves
    found: dict[str, list[float]] = {app.name: [] for app in apps}
    for _ in range(turns):
        for app in apps:
            started = time.process_time()
            for _ in range(calls):
                await app.call()
            found[app.name].append((time.process_time() - started) / calls * 1e6)
    return found


async def counted(app: App) -> Counted:
    """Count what a warm call takes; nothing of it hangs on the machine's speed."""
    python, native = await _functions(app)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(200):
        await app.call()
    gc.collect()
    kept = (sys.getallocatedblocks() - before) / 200
    tracemalloc.start()
    try:
        await app.call()
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        await app.call()
        most = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    return Counted(python, native, most, kept)


async def _functions(app: App) -> tuple[int, int]:
    """Return the least of several calls: what else the loop has to do now and then is no part of one."""
    seen: list[tuple[int, int]] = []
    for _ in range(40):
        events = {"call": 0, "c_call": 0}

        def count(_frame: object, event: str, _argument: object, events: dict[str, int] = events) -> None:
            if event in events:
                events[event] += 1

        sys.setprofile(count)
        try:
            await app.call()
        finally:
            sys.setprofile(None)
        seen.append((events["call"], events["c_call"]))
    return min(seen)
