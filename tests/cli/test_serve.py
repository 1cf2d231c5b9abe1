"""The command as the operating system runs it: a process, its ports, its signals, its exit status."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.cluster.pki import new_signing_key, sign

pytestmark = pytest.mark.slow

PATIENCE = 60.0
"""Seconds after which a process that should have spoken or ended is taken to hang."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running gateway."""

    child: asyncio.subprocess.Process
    heard: list[dict[str, Any]]

    async def says(self, event: str) -> dict[str, Any]:
        """Read the log up to this event, and return it."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.child.stderr.readline():
                assert line.startswith(b"{"), line
                self.heard.append(json.loads(line))
                if self.heard[-1]["event"] == event:
                    return self.heard[-1]
        raise AssertionError(f"the process ended without {event!r}: {self.heard}")

    async def ends(self) -> tuple[int, str]:
        """Wait for its end, and return its status and what else it wrote."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.child.communicate()
        assert out == b""
        return self.child.returncode or 0, err.decode()


@asynccontextmanager
async def gateway(*arguments: str, **variables: str) -> AsyncIterator[Process]:
    """Run `serve` on free ports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    environment |= {"KUBE_MCP_GATEWAY_ADMIN__PORT": "0", "KUBE_MCP_GATEWAY_LISTEN__PORT": "0"}
    environment |= {f"KUBE_MCP_GATEWAY_{name}": value for name, value in variables.items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from gateway.cli import main; main()", "serve", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(child, [])
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@contextmanager
def silent_cluster() -> Iterator[socket.socket]:
    """Listen as an API server that takes connections and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def cluster_settings(listening: socket.socket) -> dict[str, str]:
    """Return the variables that list the silent cluster, with much patience."""
    server = f"https://127.0.0.1:{listening.getsockname()[1]}"
    clusters = [{"name": "silent", "server": server, "insecure": True, "limits": {"connectSeconds": PATIENCE}}]
    return {"CLUSTERS": json.dumps(clusters)}


@asynccontextmanager
async def call_in_flight(url: str, cluster: socket.socket) -> AsyncIterator[tuple["asyncio.Task[int]", socket.socket]]:
    """Make a call that waits for the silent cluster; give its task and the connection the cluster holds."""
    claims = {
        "aud": [f"https://127.0.0.1:{cluster.getsockname()[1]}", "k-mcp", "cluster"],
        "iss": "issuer",
        "sub": "system:serviceaccount:apps:agent",
        "exp": int(time.time()) + 600,
    }
    token = sign(claims, {"kid": "k"}, new_signing_key().key, "RS256")

    async def call(client: aiohttp.ClientSession) -> int:
        async with client.post(url, headers={"Authorization": f"Bearer {token}"}, json={}) as answer:
            return answer.status

    async with aiohttp.ClientSession() as client:
        task = asyncio.create_task(call(client))
        async with asyncio.timeout(PATIENCE):
            connection, _ = await asyncio.get_running_loop().sock_accept(cluster)
        with connection:
            yield task, connection
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_it_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    """One line says where it serves, both ports answer, and a signal ends it with status 0 and without a traceback."""
    trust = ["--insecure=true", "--cluster", "https://127.0.0.1:1", "--cluster", "https://127.0.0.1:2"]
    async with gateway(*trust) as process, aiohttp.ClientSession() as client:
        line = await process.says("serving")
        assert line["clusters"] == 2
        assert [heard["cluster"] for heard in process.heard if heard["event"] == "insecure_cluster"] == [
            "127-0-0-1",
            "127-0-0-1-2",
        ]
        async with client.get(f"{line['admin']}/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ready\n")
        async with client.get(f"{line['admin']}/metrics") as answer:
            assert "kube_mcp_gateway_insecure_clusters 2.0" in await answer.text()
        async with client.post(line["url"]) as answer:
            assert answer.status == 401
        process.child.send_signal(number)
        await process.says("ended")
        assert await process.ends() == (0, "")


async def test_calls_in_flight_finish() -> None:
    """After SIGTERM probes hear that it is draining, nobody new gets in, and the call in flight gets its answer."""
    with silent_cluster() as cluster:
        async with gateway(**cluster_settings(cluster)) as process, aiohttp.ClientSession() as client:
            line = await process.says("serving")
            async with call_in_flight(line["url"], cluster) as (call, held):
                process.child.send_signal(signal.SIGTERM)
                await process.says("draining")
                async with client.get(f"{line['admin']}/readyz") as answer:
                    assert (answer.status, await answer.text()) == (503, "draining\n")
                assert not call.done()
                held.close()
                assert await asyncio.wait_for(call, PATIENCE) == 503
            await process.says("ended")
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.post(line["url"])
            assert await process.ends() == (0, "")


async def test_new_calls_are_served_until_balancers_have_noticed() -> None:
    """For `drainDelaySeconds` after SIGTERM probes hear that it drains; whoever calls is served, and sent elsewhere."""
    trust = ["--insecure=true", "--cluster", "https://127.0.0.1:1"]
    async with gateway(*trust, LISTEN__DRAIN_DELAY_SECONDS="1") as process, aiohttp.ClientSession() as client:
        line = await process.says("serving")
        process.child.send_signal(signal.SIGTERM)
        await process.says("draining")
        async with client.get(f"{line['admin']}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "draining\n")
        for _ in range(2):
            async with client.post(line["url"]) as answer:
                assert answer.status == 401
                assert answer.headers["Connection"].lower() == "close"
        await process.says("ended")
        assert await process.ends() == (0, "")


async def test_a_call_that_takes_too_long_is_ended() -> None:
    """`drainSeconds` bounds how long the end may take."""
    with silent_cluster() as cluster:
        async with gateway(**cluster_settings(cluster), LISTEN__DRAIN_SECONDS="0.2") as process:
            line = await process.says("serving")
            async with call_in_flight(line["url"], cluster):
                process.child.send_signal(signal.SIGTERM)
                await process.says("ended")
                assert await process.ends() == (0, "")


async def test_a_second_signal_ends_it_at_once() -> None:
    """Whoever asks twice does not wait for calls in flight."""
    with silent_cluster() as cluster:
        async with gateway(**cluster_settings(cluster), LISTEN__DRAIN_SECONDS="3600") as process:
            line = await process.says("serving")
            async with call_in_flight(line["url"], cluster):
                process.child.send_signal(signal.SIGINT)
                await process.says("draining")
                process.child.send_signal(signal.SIGINT)
                await process.says("ended_early")
                assert await process.ends() == (0, "")


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("LISTEN__PORT", "choose another with --port"),
        ("ADMIN__PORT", "choose another with admin.port (KUBE_MCP_GATEWAY_ADMIN__PORT)"),
    ],
)
async def test_a_port_in_use(setting: str, remedy: str) -> None:
    """A port that something else has ends the start with status 1, and one line says which port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with gateway("--cluster", "https://127.0.0.1:1", **{setting: str(port)}) as process:
            status, said = await process.ends()
    assert status == 1
    last = said.splitlines()[-1]
    assert last == f"kube-mcp-gateway: port {port} on 127.0.0.1 is in use; end what listens there, or {remedy}"
    assert "Traceback" not in said
