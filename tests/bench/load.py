"""A load of MCP calls over HTTP/1.1 connections, cheap enough to share two cores with what it measures."""

import asyncio
import json
import ssl
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.bench.processes import cpu_seconds

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
GENERATIONS = (HANDSHAKE, MODERN)
_META = "io.modelcontextprotocol/"


class CallFailedError(Exception):
    """An answer was not the success that the load counts on."""


@dataclass(frozen=True, slots=True)
class Target:
    """An MCP endpoint and the call to make there; `pid` is its process where that is ours."""

    name: str
    url: str
    token: str = field(repr=False)
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


async def measure(target: Target, generation: str, *, connections: int, seconds: float) -> Figures:
    """Call over this many connections, one call at a time on each, and return the figures.

    Raises:
        CallFailedError: The target does not serve this generation, or the call fails there.
    """
    clients = [await Client.opened(target, generation) for _ in range(connections)]
    try:
        for client in clients:
            await client.call()
        times: list[float] = []
        cpu = cpu_seconds(target.pid)
        started = time.perf_counter()
        await asyncio.gather(*(client.repeat(started + seconds, times) for client in clients))
        elapsed = time.perf_counter() - started
        cpu = cpu_seconds(target.pid) - cpu
    finally:
        for client in clients:
            client.close()
    return figures_of(times, elapsed, cpu)


def figures_of(times: list[float], elapsed: float, cpu: float) -> Figures:
    """Sum up calls that took these seconds, in all of that time, with that much CPU time."""
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [times[0]] * 99
    return Figures(len(times) / elapsed, statistics.median(times) * 1000, cuts[98] * 1000, cpu / len(times) * 1e6)


class Connection:
    """One HTTP/1.1 connection on which requests made beforehand are sent."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use streams that `opened` opened."""
        self._name = name
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def streams(url: str, ca_pem: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the URL's host; over https it is verified by these CAs, or by the system's."""
        parts = urlsplit(url)
        tls = ssl.create_default_context(cadata=ca_pem or None) if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        return await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=2**20)

    async def exchange(self, request: bytes) -> tuple[dict[str, str], bytes]:
        """Send a request and return the answer's headers and body.

        Raises:
            CallFailedError: It is not a 2xx.
        """
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if "content-length" in headers:
            body = await self._reader.readexactly(int(headers["content-length"]))
        elif "chunked" in headers.get("transfer-encoding", ""):
            body = await self._chunked()
        else:
            body = b""
        if not head[0].split(" ")[1].startswith("2"):
            raise CallFailedError(f"{self._name}: {head[0]} {body[:300]!r}")
        return headers, body

    async def _chunked(self) -> bytes:
        parts = []
        while size := int(await self._reader.readline(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(parts)

    def close(self) -> None:
        """Close it, without waiting for the other side."""
        self._writer.close()


class Client(Connection):
    """One MCP client: it has made the handshake where there is one, and its call is ready to be sent."""

    target: Target
    session = ""
    prepared = b""

    @classmethod
    async def opened(cls, target: Target, generation: str) -> "Client":
        """Connect and prepare the target's call.

        Raises:
            CallFailedError: The handshake was refused.
        """
        client = cls(target.name, *await cls.streams(target.url))
        client.target = target
        if generation == HANDSHAKE:
            info = {"name": "bench", "version": "1"}
            first = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": info}
            headers, _ = await client.exchange(client.request(generation, "initialize", first))
            client.session = headers.get("mcp-session-id", "")
            await client.exchange(client.request(generation, "notifications/initialized", {}))
        client.prepared = client.tool_call(generation, target.arguments)
        return client

    def tool_call(self, generation: str, arguments: Mapping[str, Any]) -> bytes:
        """Return a call of the target's tool, ready to be sent."""
        return self.request(generation, "tools/call", {"name": self.target.tool, "arguments": dict(arguments)})

    def request(self, generation: str, method: str, parameters: dict[str, Any]) -> bytes:
        """Return a JSON-RPC message over HTTP, ready to be sent."""
        url = urlsplit(self.target.url)
        headers = {"Host": url.netloc, "Content-Type": "application/json"}
        headers["Accept"] = "application/json, text/event-stream"
        if self.target.token:
            headers["Authorization"] = f"Bearer {self.target.token}"
        if generation == MODERN:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if "name" in parameters:
                headers["Mcp-Name"] = parameters["name"]
            meta = {f"{_META}protocolVersion": MODERN, f"{_META}clientCapabilities": {}}
            parameters = {**parameters, "_meta": meta}
        elif method != "initialize":
            headers["MCP-Protocol-Version"] = HANDSHAKE
            if self.session:
                headers["Mcp-Session-Id"] = self.session
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": parameters}
        if not method.startswith("notifications/"):
            message["id"] = 1
        body = json.dumps(message).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": len(body)}.items())
        return f"POST {url.path or '/'} HTTP/1.1\r\n{head}\r\n".encode() + body

    async def call(self, request: bytes = b"") -> str:
        """Make the prepared call, or another one, and return its text.

        Raises:
            CallFailedError: It failed, or is no JSON-RPC answer.
        """
        _, body = await self.exchange(request or self.prepared)
        events = [line[5:] for line in body.splitlines() if line.startswith(b"data:") and line[5:].strip()]
        try:
            message = json.loads(events[-1] if events else body)
            result = message["result"]
            text = "".join(part.get("text", "") for part in result["content"])
        except (ValueError, KeyError, TypeError) as error:
            raise CallFailedError(f"{self.target.name}: {body[:300]!r}") from error
        if result.get("isError"):
            raise CallFailedError(f"{self.target.name}: {text[:300]}")
        return text

    async def repeat(self, until: float, times: list[float]) -> None:
        """Make the prepared call again and again until then, and note the seconds of each."""
        while (started := time.perf_counter()) < until:
            await self.exchange(self.prepared)
            times.append(time.perf_counter() - started)
