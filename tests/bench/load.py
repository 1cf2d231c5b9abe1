"""A load of MCP calls over plain HTTP/1.1 connections, cheap enough to share two cores with what it measures."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
GENERATIONS = (HANDSHAKE, MODERN)


@dataclass(frozen=True, slots=True)
class Target:
    """An MCP endpoint on plain HTTP and the call to make."""

    name: str
    host: str
    port: int
    path: str
    token: str
    tool: str
    arguments: Mapping[str, Any]
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a load saw: calls a second, median and 99th percentile in milliseconds, the server's CPU in µs a call."""

    calls_per_second: float
    p50: float
    p99: float
    cpu: float


class CallFailedError(Exception):
    """An answer was not the success that the load counts on."""


async def measure(target: Target, generation: str, *, connections: int, seconds: float) -> Figures:
    """Call over this many connections, one call at a time on each, and return the figures."""
    clients = [await _Client.opened(target, generation) for _ in range(connections)]
    try:
        for client in clients:
            await client.call()
        times: list[float] = []
        cpu = _cpu_seconds(target.pid)
        started = time.perf_counter()
        await asyncio.gather(*(client.repeat(started + seconds, times) for client in clients))
        elapsed = time.perf_counter() - started
        cpu = _cpu_seconds(target.pid) - cpu
    finally:
        for client in clients:
            client.close()
    cuts = statistics.quantiles(times, n=100)
    return Figures(len(times) / elapsed, statistics.median(times) * 1000, cuts[98] * 1000, cpu / len(times) * 1e6)


def _cpu_seconds(pid: int) -> float:
    """Return user and system time of a process (proc(5)), which a busy machine disturbs less than the clock."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Client:
    def __init__(
        self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generation: str
    ) -> None:
        self._target = target
        self._reader = reader
        self._writer = writer
        self._version = generation
        self._session = ""

    @classmethod
    async def opened(cls, target: Target, generation: str) -> "_Client":
        reader, writer = await asyncio.open_connection(target.host, target.port)
        client = cls(target, reader, writer, generation)
        if generation == HANDSHAKE:
            parameters = {
                "protocolVersion": HANDSHAKE,
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            }
            headers, _ = await client.exchange(client.request("initialize", parameters, session=False))
            client._session = headers["mcp-session-id"]
            await client.exchange(client.request("notifications/initialized", {}, notify=True))
        client.prepared = client.request("tools/call", {"name": target.tool, "arguments": dict(target.arguments)})
        return client

    prepared: bytes = b""

    def request(self, method: str, parameters: dict[str, Any], *, notify: bool = False, session: bool = True) -> bytes:
        target = self._target
        headers = {
            "Host": f"{target.host}:{target.port}",
            "Authorization": f"Bearer {target.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if self._version == MODERN:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if "name" in parameters:
                headers["Mcp-Name"] = parameters["name"]
            prefix = "io.modelcontextprotocol/"
            meta = {f"{prefix}protocolVersion": MODERN, f"{prefix}clientCapabilities": {}}
            parameters = {**parameters, "_meta": meta}
        elif session:
            headers |= {"MCP-Protocol-Version": HANDSHAKE, "Mcp-Session-Id": self._session}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": parameters}
        if not notify:
            message["id"] = 1
        body = json.dumps(message).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": len(body)}.items())
        return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + body

    async def exchange(self, request: bytes) -> tuple[dict[str, str], bytes]:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if "content-length" in headers:
            body = await self._reader.readexactly(int(headers["content-length"]))
        else:
            body = await self._chunked()
        if not head[0].split(" ")[1].startswith("2"):
            message = f"{self._target.name}: {head[0]} {body[:300]!r}"
            raise CallFailedError(message)
        return headers, body

    async def _chunked(self) -> bytes:
        parts = []
        while size := int(await self._reader.readline(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(parts)

    async def call(self) -> bytes:
        _, body = await self.exchange(self.prepared)
        if b'"isError":true' in body or b'"error":' in body[:200]:
            message = f"{self._target.name}: {body[:300]!r}"
            raise CallFailedError(message)
        return body

    async def repeat(self, until: float, times: list[float]) -> None:
        while (started := time.perf_counter()) < until:
            await self.exchange(self.prepared)
            times.append(time.perf_counter() - started)

    def close(self) -> None:
        self._writer.close()
