"""Many clusters at once: embedded ones in one process, the gateway in another, and one agent's call to each.

`python -m tests.bench.clusters [--count 300]` prints start-up times and resident memory of both.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx2

from gateway.demo import EmbeddedCluster
from tests.bench.load import MODERN

EMBEDDED = "from tests.bench.clusters import embed; embed({count})"
GATEWAY = "from gateway.cli import main; main()"
AT_ONCE = 16


def embed(count: int) -> None:
    """Run this many embedded clusters, write how to reach them as one line of JSON, and serve until the pipe closes."""
    asyncio.run(_embedded(count))


async def _embedded(count: int) -> None:
    started = time.perf_counter()
    clusters = [EmbeddedCluster(f"c{index}") for index in range(count)]
    for cluster in clusters:
        await cluster.start()
    seconds = time.perf_counter() - started
    reached = [
        {"name": cluster.name, "server": cluster.server, "ca": cluster.ca_pem.decode(), "token": await cluster.token()}
        for cluster in clusters
    ]
    sys.stdout.write(json.dumps({"seconds": seconds, "clusters": reached}) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for cluster in clusters:
        await cluster.stop()


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds until each was ready, and megabytes (RSS) before and after one call to every cluster."""

    count: int
    embedded_seconds: float
    embedded_megabytes: float
    gateway_seconds: float
    gateway_idle_megabytes: float
    gateway_warm_megabytes: float
    first_calls_seconds: float


def main() -> None:
    """Start both, call every cluster once, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    count = parser.parse_args().count
    with _piped(EMBEDDED.format(count=count)) as embedded:
        assert embedded.stdout is not None
        world = json.loads(embedded.stdout.readline())
        figures = _measured(count, world["seconds"], embedded.pid, world["clusters"])
    sys.stdout.write(_table(figures))


def _measured(count: int, embedded_seconds: float, embedded: int, clusters: list[dict[str, str]]) -> Figures:
    with TemporaryDirectory() as folder:
        settings = Path(folder) / "gateway.json"
        listed = [{"name": c["name"], "server": c["server"], "certificateAuthorityData": c["ca"]} for c in clusters]
        settings.write_text(json.dumps({"listen": {"port": 0}, "admin": {"port": 0}, "clusters": listed}))
        started = time.perf_counter()
        with _piped(GATEWAY, "serve", "--config", str(settings)) as gateway:
            assert gateway.stderr is not None
            serving = next(line for line in map(json.loads, gateway.stderr) if line["event"] == "serving")
            ready = time.perf_counter() - started
            idle = _megabytes(gateway.pid)
            calls = asyncio.run(_calls(serving["url"], [c["token"] for c in clusters], gateway))
            return Figures(count, embedded_seconds, _megabytes(embedded), ready, idle, _megabytes(gateway.pid), calls)


async def _calls(url: str, tokens: list[str], gateway: "subprocess.Popen[str]") -> float:
    assert gateway.stderr is not None
    Thread(target=gateway.stderr.read, daemon=True).start()
    free = asyncio.Semaphore(AT_ONCE)
    started = time.perf_counter()
    async with httpx2.AsyncClient(timeout=60) as http:

        async def call(token: str) -> None:
            async with free:
                answer = await http.post(url, json=_message(), headers=_headers(token))
            assert "configmaps" in answer.text, answer.text

        await asyncio.gather(*(call(token) for token in tokens))
    return time.perf_counter() - started


def _message() -> dict[str, Any]:
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": MODERN, f"{prefix}clientCapabilities": {}}
    parameters = {"name": "resource_list", "arguments": {"resource": "configmaps"}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}


def _headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "resource_list",
    }


@contextmanager
def _piped(code: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if arguments else None,
        text=True,
        env=os.environ | {"KUBE_MCP_GATEWAY_LOG__FORMAT": "json"} if arguments else None,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        process.wait(30)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _megabytes(pid: int) -> float:
    """Return a process' resident memory (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _table(figures: Figures) -> str:
    grown = (figures.gateway_warm_megabytes - figures.gateway_idle_megabytes) * 1024 / figures.count
    return (
        f"{figures.count} clusters\n"
        f"embedded: ready after {figures.embedded_seconds:.1f} s, {figures.embedded_megabytes:.0f} MB\n"
        f"gateway: ready after {figures.gateway_seconds:.1f} s, {figures.gateway_idle_megabytes:.0f} MB\n"
        f"one first call to each, {AT_ONCE} at once: {figures.first_calls_seconds:.1f} s, then "
        f"{figures.gateway_warm_megabytes:.0f} MB ({grown:.0f} KB a warm cluster)\n"
    )


if __name__ == "__main__":
    main()
