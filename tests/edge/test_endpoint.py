import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.server.lowlevel import Server
from structlog.testing import capture_logs

from gateway import __version__
from gateway.demo.faults import Refuse
from gateway.edge.endpoint import MAX_BODY
from gateway.edge.origins import origins_for
from gateway.edge.responses import Message
from gateway.identity.attempts import Attempts
from gateway.protocol.elicitation import Context
from tests.edge.conftest import INITIALIZE, LIST, Answered, Edge, MakeEdge, Response

ERA = ("MCP-Protocol-Version", "2025-06-18")


def names(response: Response) -> list[str]:
    """Return the names of the tools in an answer."""
    assert response.status == 200, response
    return [tool["name"] for tool in response.json()["result"]["tools"]]


async def test_a_good_token_is_served(edge: Edge) -> None:
    """One Bearer header is all it takes, with a session or without."""
    response = await edge.send()
    assert names(response)[:3] == ["resource_types", "resource_list", "resource_get"]
    assert len(response.headers["x-request-id"]) == 16


async def test_a_request_without_a_token_is_told_what_is_needed(edge: Edge) -> None:
    """RFC 6750, section 3: no error code where no token came, and no metadata that would start a registration."""
    response = await edge.send(headers=edge.headers(token=None))
    assert (response.status, response.headers["www-authenticate"]) == (401, 'Bearer realm="kube-mcp-gateway"')
    assert response.json() == {
        "error": "missing_token",
        "error_description": "A Bearer token is needed: Authorization: Bearer <token>.",
    }


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        (["Bearer {token}", "Bearer {token}"], "invalid_request"),
        (["Basic YTpi"], "invalid_request"),
        (["{token}"], "invalid_request"),
        (["Bearer {token} {token}"], "invalid_request"),
        (["Bearer " + "a" * (16 * 1024 + 1)], "invalid_token"),
        (["Bearer not.a.token"], "invalid_token"),
        (["Bearer abc"], "invalid_token"),
        (["Bearer {token}x"], "invalid_token"),
    ],
)
async def test_a_bad_token_is_refused_before_mcp_sees_anything(
    edge: Edge, authorization: list[str], error: str
) -> None:
    """401 in RFC 6750's words, no dial, one entry in log and metrics, and no token in any of them."""
    more = [("Authorization", value.format(token=edge.token)) for value in authorization]
    before = edge.bench.cluster.served
    with capture_logs() as logs:
        response = await edge.send(headers=edge.headers(*more, token=None))
    assert response.status == 401
    assert response.json()["error"] == error
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith(f'Bearer realm="kube-mcp-gateway", error="{error}", error_description="')
    assert challenge.isascii()
    assert "resource_metadata" not in challenge
    [record] = edge.bench.records
    assert (record.event, record.status) == ("unauthenticated", 401)
    assert record.request_id == response.headers["x-request-id"]
    shown = repr(logs) + repr(record) + response.body.decode() + challenge
    assert not any(part in shown for part in edge.token.split("."))
    if error == "invalid_request":
        assert edge.bench.cluster.served == before


async def test_tokens_that_are_not_good_for_this_cluster_get_one_answer(edge: Edge) -> None:
    """Forged, of another cluster, for one that is not listed: nothing tells which it was."""
    cluster = edge.bench.cluster
    other = type(cluster)("west")
    claims = {"iss": "https://kubernetes.default.svc", "sub": "x", "exp": 4e9, "aud": [cluster.server, "k-mcp", "z"]}
    await other.start()
    try:
        forged = other.sign(claims)
        unlisted = await other.token()
    finally:
        await other.stop()
    elsewhere = cluster.sign(claims | {"aud": ["https://unlisted.example", "k-mcp", "z"]})
    answers = {(await edge.send(headers=edge.headers(token=token))).body for token in (forged, unlisted, elsewhere)}
    assert len(answers) == 1


@pytest.mark.parametrize(("parts", "closes"), [(2, False), (20, True)])
async def test_a_refusal_leaves_no_half_read_request_behind(edge: Edge, parts: int, *, closes: bool) -> None:
    """A small body is read before the answer, so that the connection can go on; else the client is told it ends."""
    left = [b" " * 8192] * parts
    receive = Answered().receiving(left)
    response = await edge.send(headers=edge.headers(token=None), receive=receive)
    assert response.status == 401
    assert response.headers.get("connection") == ("close" if closes else None)
    assert (await receive())["type"] == "http.request" if closes else True


async def test_a_refusal_does_not_wait_for_ever(edge: Edge) -> None:
    """A body that does not come is not waited for longer than a second."""

    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    response = await edge.send(headers=edge.headers(token=None), receive=nothing)
    assert (response.status, response.headers["connection"]) == (401, "close")


async def test_a_source_that_fails_too_often_is_429(make_edge: MakeEdge) -> None:
    """It is said when to come back, in a header and in words."""
    edge = await make_edge()
    attempts = Attempts(lambda: 0.0, 1)
    edge.bench.identity._attempts = attempts  # noqa: SLF001  # the workbench's own has no limit
    assert [(await edge.send(headers=edge.headers(token="a.b.c"))).status for _ in range(2)] == [401, 429]
    response = await edge.send(headers=edge.headers(token="a.b.c"))
    assert response.headers["retry-after"] == "60"
    assert response.json()["error"] == "too_many_failures"


async def test_a_cluster_that_can_not_be_asked_is_503(edge: Edge) -> None:
    """A token that can't be verified now is not called bad; it is said when to come back."""
    with edge.bench.cluster.fault(Refuse()):
        response = await edge.send()
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert response.json()["error"] == "temporarily_unavailable"
    assert names(await edge.send())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/mcp", 200),
        ("/mcp/", 200),
        ("/mcp/east", 200),
        ("/mcp/east/", 200),
        ("/mcp/west", 401),
        ("/mcp/east/more", 401),
        ("/mcp/EAST", 401),
        ("/mcp/..", 401),
        ("/mcpx", 404),
        ("/", 404),
        ("/.well-known/oauth-protected-resource", 404),
        ("/.well-known/oauth-protected-resource/mcp", 404),
        ("/.well-known/oauth-authorization-server", 404),
    ],
)
async def test_the_path_may_name_the_tokens_cluster_and_no_other(edge: Edge, path: str, status: int) -> None:
    """It never routes: where it disagrees with the token, the request is refused."""
    assert (await edge.send(path=path)).status == status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example"])
async def test_another_host_is_forbidden(edge: Edge, host: str) -> None:
    """DNS rebinding ends here, before the token is looked at."""
    response = await edge.send(headers=edge.headers(host=host, token="bad"))
    assert (response.status, response.body) == (403, b"This Host is not served here: see listen.allowedHosts.\n")


async def test_a_web_page_that_is_not_listed_is_forbidden(make_edge: MakeEdge) -> None:
    """Nor may it read the refusal."""
    edge = await make_edge(origins_for("127.0.0.1", (), ["https://console.example"]))
    response = await edge.send(headers=edge.headers(("Origin", "https://evil.example")))
    assert response.status == 403
    assert "access-control-allow-origin" not in response.headers
    assert (await edge.send("OPTIONS", headers=edge.headers(("Origin", "null"), token=None))).status == 403


async def test_a_web_page_that_is_listed_may_call(make_edge: MakeEdge) -> None:
    """Its preflight needs no token, and its answers may be read."""
    edge = await make_edge(origins_for("127.0.0.1", (), ["https://console.example"]))
    page = ("Origin", "https://console.example")
    preflight = await edge.send("OPTIONS", headers=edge.headers(page, token=None))
    assert preflight.status == 204
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    for headers in (edge.headers(page), edge.headers(page, token=None)):
        response = await edge.send(headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://console.example"
        assert response.headers["vary"] == "origin"
        assert "mcp-session-id" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE", "OPTIONS", "CONNECT", "BOGUS"])
async def test_other_methods_are_not_allowed(edge: Edge, method: str) -> None:
    """What the transport does not have is refused with what it has."""
    response = await edge.send(method)
    assert (response.status, response.headers["allow"]) == (405, "POST, GET, DELETE")


async def test_a_request_that_is_too_large_is_refused(edge: Edge) -> None:
    """The limit is 4 MiB, however it comes; up to there MCP decides."""
    assert (await edge.send(body=b" " * (MAX_BODY + 1))).status == 413
    parts = Answered().receiving([b" " * (1 << 20)] * 5)
    assert (await edge.send(receive=parts)).status == 413
    assert (await edge.send(body=b" " * MAX_BODY)).status == 400


async def test_a_request_that_does_not_arrive_is_given_up(make_edge: MakeEdge) -> None:
    """A body has its time, which a client that sends a byte now and then does not renew."""
    edge = await make_edge(body_seconds=0.05)

    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    response = await edge.send(receive=trickle)
    assert (response.status, response.body) == (408, b"The request's body did not arrive in time.\n")


async def test_a_request_whose_client_left_is_not_served(edge: Edge) -> None:
    """Half a body that happens to be a whole message is not what the client meant to send."""
    answered = Answered()
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "headers": [(name.lower().encode(), value.encode()) for name, value in edge.headers()],
    }
    await edge.endpoint(scope, receive, answered.send)
    assert answered.messages == []


async def test_the_token_is_judged_before_the_body_is_read(edge: Edge) -> None:
    """Nobody without a token makes the gateway take a megabyte; a little is read and thrown away."""
    taken = 0

    async def endless() -> Message:
        nonlocal taken
        taken += 8192
        return {"type": "http.request", "body": b" " * 8192, "more_body": True}

    assert (await edge.send(headers=edge.headers(token="bad"), receive=endless)).status == 401
    assert taken <= 80 * 1024


@pytest.mark.parametrize(
    ("versions", "status"),
    [
        (["2025-06-18"], 200),
        (["2025-03-26"], 200),
        ([], 200),
        (["2025-11-25, 2025-11-25"], 200),
        (["2025-11-25,2025-11-25,2025-11-25"], 200),
        (["2025-11-25, 2025-06-18"], 400),
        (["1999-01-01"], 400),
        (["bogus"], 400),
    ],
)
async def test_a_version_that_is_sent_doubled_is_one(edge: Edge, versions: list[str], status: int) -> None:
    """At least one client does so; what really disagrees is the SDK's to refuse."""
    more = [("MCP-Protocol-Version", version) for version in versions]
    assert (await edge.send(headers=edge.headers(*more))).status == status


async def opened(edge: Edge, *, token: str = "", **capabilities: Any) -> str:
    """Initialize a session and return its id."""
    parameters = INITIALIZE["params"] | {"capabilities": capabilities}
    response = await edge.send(headers=edge.headers(token=token), body=INITIALIZE | {"params": parameters})
    assert response.status == 200
    return response.headers["mcp-session-id"]


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}])
async def test_a_session_is_served_and_ended(edge: Edge, capabilities: dict[str, Any]) -> None:
    """Whether its client can be asked something or not; after its end it is no more than an unknown one."""
    session = ("Mcp-Session-Id", await opened(edge, **capabilities))
    response = await edge.send(headers=edge.headers(ERA, session))
    assert names(response)
    assert response.headers["content-type"].startswith("text/event-stream" if capabilities else "application/json")
    ended = await edge.send("DELETE", headers=edge.headers(ERA, session))
    assert ended.status == 200
    assert (await edge.send("DELETE", headers=edge.headers(ERA, session))).status == 404
    assert names(await edge.send(headers=edge.headers(ERA, session)))


async def test_an_unknown_session_is_served_without_one(edge: Edge) -> None:
    """A restart, or another replica: the call is answered, for a session is a convenience."""
    session = ("Mcp-Session-Id", "of-a-process-before")
    response = await edge.send(headers=edge.headers(ERA, session))
    assert names(response)
    assert "mcp-session-id" not in response.headers
    stream = await edge.send("GET", headers=edge.headers(ERA, session))
    assert (stream.status, stream.headers["allow"]) == (405, "POST")
    assert (await edge.send("DELETE", headers=edge.headers(ERA, session))).status == 404


async def test_another_principals_session_is_as_good_as_none(edge: Edge) -> None:
    """Whoever learned an id can neither use nor end nor listen to it; its owner can, also with a new token."""
    session = ("Mcp-Session-Id", await opened(edge))
    viewer = await edge.bench.cluster.token(service_account="demo/viewer")
    for method in ("POST", "DELETE", "GET"):
        response = await edge.send(method, headers=edge.headers(ERA, session, token=viewer))
        assert response.status == 404, method
    renewed = await edge.bench.cluster.token()
    assert names(await edge.send(headers=edge.headers(ERA, session, token=renewed)))


async def test_streams_end_when_the_process_does(edge: Edge) -> None:
    """A stream that is held open for whatever may come does not hold up a shutdown."""
    session = ("Mcp-Session-Id", await opened(edge, elicitation={}))
    stream = asyncio.create_task(edge.send("GET", headers=edge.headers(ERA, session)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stream.done()
    await edge.endpoint.close_streams()
    assert (await stream).status == 200


async def test_the_sdk_sees_neither_token_nor_cookie(make_edge: MakeEdge) -> None:
    """What it does not have, it can't log."""
    seen: list[Any] = []

    async def list_tools(context: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        seen.append(context.request.scope if context.request else None)
        return types.ListToolsResult(tools=[])

    edge = await make_edge(server=Server("any", on_list_tools=list_tools))
    assert names(await edge.send(headers=edge.headers(("Cookie", "a=b"), ("Last-Event-ID", "1")))) == []
    [scope] = seen
    sent = {name for name, _ in scope["headers"]}
    assert {b"authorization", b"cookie"}.isdisjoint(sent)
    assert b"last-event-id" in sent
    assert scope["user"].access_token.token == ""
    assert edge.token not in repr(scope)


async def test_no_header_of_the_caller_reaches_the_cluster(edge: Edge) -> None:
    """Impersonation and whatever else a client adds end at the gateway."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    call |= {"params": {"name": "resource_list", "arguments": {"resource": "ns"}}}
    more = [("Impersonate-User", "system:admin"), ("User-Agent", "agent/1")]
    response = await edge.send(headers=edge.headers(*more), body=call)
    assert response.json()["result"]["isError"] is False
    product = f"kube-mcp-gateway/{__version__}"
    request = response.headers["x-request-id"]
    assert {(seen.path, seen.agent) for seen in edge.bench.cluster.requests} == {
        ("/openid/v1/jwks", product),
        ("/api", product),
        ("/apis", product),
        ("/api/v1/namespaces", f"{product} (tool=resource_list; request={request})"),
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0"}', b"\xff\xfe", [LIST, LIST]])
async def test_what_is_no_message_is_the_sdks_to_refuse(edge: Edge, body: Any) -> None:
    """A broken message costs its sender a 400 and nobody else anything."""
    assert (await edge.send(body=body)).status == 400
    assert names(await edge.send())
