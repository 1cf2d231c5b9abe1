"""Whatever the gateway, or what stands in front of it, answers, the agent reads a sentence and the next call works."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from mcp.shared.exceptions import MCPError

from gateway.bridge.tokens import Tokens
from gateway.bridge.upstream import Upstream, open_upstream

Handler = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class FakeGateway:
    """An HTTP server that answers as it is told, and remembers who asked what."""

    url: str = ""
    handler: Handler | None = None
    seen: list[tuple[str, str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.json()
        self.seen.append((request.headers["Authorization"], request.headers["Mcp-Method"], body))
        return await self.handler(request, body) if self.handler else result(body)


def result(body: Any, **content: Any) -> web.Response:
    """Return an empty result for this request."""
    return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": {"resultType": "complete", **content}})


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    """A server on loopback."""
    fake = FakeGateway()
    app = web.Application()
    app.router.add_route("*", "/mcp", fake.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    yield fake
    await runner.cleanup()


@asynccontextmanager
async def opened(gateway: FakeGateway, cluster: str = "east") -> AsyncIterator[Upstream]:
    """Be ready to send for a cluster whose tokens are its name and a number; none of them counts as new."""
    number = 0
    now = 0.0

    async def mint() -> str:
        nonlocal number
        number += 1
        return f"{cluster}-{number}"

    def clock() -> float:
        nonlocal now
        now += 10
        return now

    tls = ssl.create_default_context()
    async with open_upstream(cluster, gateway.url, Tokens(cluster, mint, clock=clock), tls) as upstream:
        yield upstream


async def test_a_refused_token_is_replaced_and_the_same_request_sent_again(gateway: FakeGateway) -> None:
    """A 401 comes before the gateway has looked at anything, so nobody need hear of it."""

    async def refusing(request: web.Request, body: Any) -> web.Response:
        refused = request.headers["Authorization"] == gateway.seen[0][0]
        return web.json_response({"error": "invalid_token"}, status=401) if refused else result(body)

    gateway.handler = refusing
    async with opened(gateway) as upstream:
        assert await upstream.request("tools/call", {"name": "x", "arguments": {}}) == {"resultType": "complete"}
    (first, _, asked), (second, _, again) = gateway.seen
    assert first != second
    assert asked == again


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": "invalid_token", "error_description": "It has expired."}, "refuses the token for cluster east"),
        (401, {"error": "invalid_token", "error_description": "It has expired."}, "It has expired."),
        (403, "This Host is not served here", "HTTP 403"),
        (404, "<html>nothing</html>", "There is no MCP at"),
        (503, {"error_description": "The cluster can't be asked."}, "^The cluster can't be asked.$"),
        (502, "<html>Bad Gateway</html>", "The gateway answered HTTP 502."),
        (302, "elsewhere", "Redirect to"),
        (200, "<html>Sign in to the wifi</html>", "content type"),
        (400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "No."}}, "^No.$"),
    ],
)
async def test_every_other_answer_becomes_a_sentence(gateway: FakeGateway, status: int, body: Any, said: str) -> None:
    """The agent must read what is wrong, the next call must work, and no token may stand in the words."""
    is_json = isinstance(body, dict)

    async def strange(_request: web.Request, _body: Any) -> web.Response:
        headers = {"content-type": "application/json" if is_json else "text/html"}
        headers |= {"location": "http://elsewhere.example/mcp"} if status == 302 else {}
        return web.Response(status=status, text=json.dumps(body) if is_json else body, headers=headers)

    async with opened(gateway) as upstream:
        gateway.handler = strange
        with pytest.raises(MCPError, match=said) as told:
            await upstream.request("tools/list", {})
        assert "east-" not in told.value.message
        gateway.handler = None
        assert await upstream.request("tools/list", {}) == {"resultType": "complete"}


@pytest.mark.parametrize("media", ["application/json", "text/event-stream"])
async def test_an_answer_that_breaks_off_is_said_to_be_unknown(gateway: FakeGateway, media: str) -> None:
    """A call whose answer is cut may have been carried out, and the agent must know that."""

    async def cut(request: web.Request, _body: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": media})
        await response.prepare(request)
        await response.write(b'{"jsonrpc": ')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with opened(gateway) as upstream:
        gateway.handler = cut
        with pytest.raises(MCPError, match="not known: if it writes, look before"):
            await upstream.request("tools/call", {"name": "x"})
        gateway.handler = None
        assert await upstream.request("tools/list", {}) == {"resultType": "complete"}


async def test_giving_up_closes_the_request(gateway: FakeGateway) -> None:
    """Whoever cancels must leave nothing running: the gateway sees that the connection is closed."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request, body: Any) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return result(body)

    gateway.handler = slow
    async with opened(gateway) as upstream:
        task = asyncio.create_task(upstream.request("tools/call", {"name": "x"}))
        await begun.wait()
        task.cancel()
        async with asyncio.timeout(10):
            await gone.wait()
        await asyncio.gather(task, return_exceptions=True)
        gateway.handler = None
        assert await upstream.request("tools/list", {}) == {"resultType": "complete"}


async def test_two_clusters_never_share_a_token(gateway: FakeGateway) -> None:
    """Whatever happens at once, and whoever is refused, each request has its own cluster's token."""

    async def refusing(_request: web.Request, body: Any) -> web.Response:
        refused = len(gateway.seen) % 3 == 0
        return web.json_response({"error": "invalid_token"}, status=401) if refused else result(body)

    gateway.handler = refusing
    async with opened(gateway, "east") as east, opened(gateway, "west") as west:
        calls = [upstream.request("tools/call", {"name": upstream.cluster}) for upstream in (east, west) * 20]
        await asyncio.gather(*calls, return_exceptions=True)
    assert len(gateway.seen) > 40
    for authorization, _, body in gateway.seen:
        assert authorization.startswith(f"Bearer {body['params']['name']}-")
