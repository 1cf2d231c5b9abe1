"""Ordinary calls, which are answered without the SDK's transports: nobody may notice."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import JSONRPCRequest
from mcp_types.methods import validate_client_request

from gateway.access.questions import Question
from gateway.access.session import ClusterSession
from gateway.edge.responses import Message
from gateway.errors import BadArgument
from gateway.protocol.direct import direct_call
from gateway.tools.tool import Arguments, Tool
from tests.edge.conftest import INITIALIZE, Edge, MakeEdge, Response

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
PREFIX = "io.modelcontextprotocol/"
NAMED = (("Mcp-Method", "tools/call"), ("Mcp-Name", "wait"))
# A header that is there twice is the SDK's to judge, so these send any call its way.
BY_THE_SDK = (("X-Twice", "1"), ("X-Twice", "2"))


class Words(Arguments):
    """What the tools here are told."""

    text: str = ""


@dataclass(slots=True)
class Office:
    """Tools that say, refuse, break, ask and wait, and what became of their runs."""

    runs: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, session: ClusterSession, arguments: Words) -> str:
        """Answer."""
        return f"cluster {session.cluster.shown} · {arguments.text}"

    async def refuse(self, _session: ClusterSession, arguments: Words) -> str:
        """Fail as tools do."""
        raise BadArgument(arguments.text)

    async def breaks(self, _session: ClusterSession, _arguments: Words) -> str:
        """Fail as no tool should."""
        raise RuntimeError("nobody may read this")

    async def ask(self, session: ClusterSession, _arguments: Words) -> str:
        """Need a person's word."""
        self.runs.append("ask")
        return f"the person said {session.answers.ask(Question('k', 'Which?'))}"

    async def wait(self, _session: ClusterSession, _arguments: Words) -> str:
        """Come to no end."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.runs.append("ended")
        raise AssertionError

    def tools(self) -> list[Tool[Any]]:
        """Return the tools."""
        runs: list[Callable[[ClusterSession, Words], Awaitable[str]]]
        runs = [self.say, self.refuse, self.breaks, self.ask, self.wait]
        return [Tool(run.__name__, "Title", "Words", Words, run) for run in runs]


@pytest.fixture
def office() -> Office:
    """Give the tools."""
    return Office()


@pytest.fixture
async def edge(make_edge: MakeEdge, office: Office) -> Edge:
    """Give an endpoint in front of the office."""
    return await make_edge(tools=office.tools())


def message(name: str, version: str, arguments: Any, number: Any = 7, **capabilities: Any) -> dict[str, Any]:
    """Return an ordinary call of one protocol generation."""
    parameters: dict[str, Any] = {"name": name, "arguments": arguments}
    if version == MODERN:
        parameters["_meta"] = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": capabilities}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": parameters}


async def send(edge: Edge, body: dict[str, Any], version: str, *more: tuple[str, str], **options: Any) -> Response:
    """Send a call with the headers that belong to it."""
    headers = [("MCP-Protocol-Version", version), *more]
    if version == MODERN:
        headers += [("Mcp-Method", "tools/call"), ("Mcp-Name", body["params"]["name"])]
    return await edge.send(headers=edge.headers(*headers, **options), body=body)


async def opened(edge: Edge, **capabilities: Any) -> tuple[str, str]:
    """Open a session and return its header."""
    parameters = {**INITIALIZE["params"], "protocolVersion": HANDSHAKE, "capabilities": capabilities}
    response = await edge.send(headers=edge.headers(), body={**INITIALIZE, "params": parameters})
    session = ("Mcp-Session-Id", response.headers["mcp-session-id"])
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await edge.send(headers=edge.headers(("MCP-Protocol-Version", HANDSHAKE), session), body=told)
    return session


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("say", {"text": "ä\u2028\x00 \U0001f600"}), ("say", {}), ("refuse", {"text": "no"}), ("say", {"texts": 5})],
)
@pytest.mark.parametrize("number", [7, "seven", 0])
async def test_the_answer_is_the_sdks(edge: Edge, version: str, name: str, arguments: Any, number: Any) -> None:
    """What an ordinary call is answered must be, value for value, what the SDK would have answered."""
    body = message(name, version, arguments, number)
    ours, theirs = await send(edge, body, version), await send(edge, body, version, *BY_THE_SDK)
    assert ours.json() == theirs.json()
    assert (ours.status, ours.headers["content-type"]) == (theirs.status, theirs.headers["content-type"])


async def test_an_answer_in_a_session_names_the_session(edge: Edge) -> None:
    """A client may look for its session's id in every answer; one that was never opened here gets none."""
    session = await opened(edge)
    body = message("say", HANDSHAKE, {})
    assert (await send(edge, body, HANDSHAKE, session)).headers["mcp-session-id"] == session[1]
    assert "mcp-session-id" not in (await send(edge, body, HANDSHAKE, ("Mcp-Session-Id", "x"))).headers


async def test_nothing_of_an_exception_is_told(edge: Edge) -> None:
    """A tool that breaks is an answer with a request id and no word of why."""
    response = await send(edge, message("breaks", MODERN, {}), MODERN)
    assert response.json()["result"]["isError"] is True
    assert b"nobody may read this" not in response.body
    assert response.headers["x-request-id"].encode() in response.body


async def test_a_question_is_put_after_one_run(edge: Edge, office: Office) -> None:
    """A tool that must ask is not run a second time for the question to be put."""
    response = await send(edge, message("ask", MODERN, {}, elicitation={}), MODERN)
    assert response.json()["result"]["resultType"] == "input_required"
    assert office.runs == ["ask"]
    response = await send(edge, message("ask", MODERN, {}), MODERN)
    assert "the person said None" in response.body.decode()


async def test_another_principals_session_serves_nobody_else(edge: Edge) -> None:
    """An ordinary call with a stranger's session is refused as every other is."""
    session = await opened(edge)
    viewer = await edge.bench.cluster.token(service_account="demo/viewer")
    assert (await send(edge, message("say", HANDSHAKE, {}), HANDSHAKE, session, token=viewer)).status == 404


async def test_a_cancelled_call_ends(edge: Edge, office: Office) -> None:
    """A client can take back its own call, and nobody else's."""
    session = await opened(edge)
    calling = asyncio.create_task(send(edge, message("wait", HANDSHAKE, {}, 41), HANDSHAKE, session))
    await office.begun.wait()
    taken_back = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 41}}
    headers = (("MCP-Protocol-Version", HANDSHAKE), session)
    viewer = await edge.bench.cluster.token(service_account="demo/viewer")
    await edge.send(headers=edge.headers(*headers, token=viewer), body=taken_back)
    await edge.send(headers=edge.headers(headers[0]), body=taken_back)
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(calling), 0.05)
    assert office.runs == []
    await edge.send(headers=edge.headers(*headers), body=taken_back)
    assert (await asyncio.wait_for(calling, 10)).json()["result"]["isError"] is True
    assert office.runs == ["ended"]


async def test_who_hangs_up_takes_a_call_back(edge: Edge, office: Office) -> None:
    """In 2026-07-28 nothing goes on for a client that has gone; in the handshake era hanging up says nothing."""
    for version, gone in ((HANDSHAKE, False), (MODERN, True)):
        office.begun.clear()
        body = [orjson.dumps(message("wait", version, {}))]
        asked = asyncio.Event()

        async def receive(body: list[bytes] = body, asked: asyncio.Event = asked) -> Message:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            asked.set()
            return {"type": "http.disconnect"}

        headers = edge.headers(("MCP-Protocol-Version", version), *NAMED) if gone else edge.headers()
        calling = asyncio.create_task(edge.send(headers=headers, receive=receive))
        await office.begun.wait()
        if gone:
            await asyncio.wait_for(calling, 10)
            assert (asked.is_set(), office.runs) == (True, ["ended"])
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(calling), 0.5)
            assert (asked.is_set(), office.runs) == (False, [])
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            office.runs.clear()


@pytest.mark.parametrize(
    "headers",
    [
        [("Mcp-Method", "tools/list"), ("Mcp-Name", "say")],
        [("Mcp-Method", "tools/call"), ("Mcp-Name", "refuse")],
        [("Mcp-Method", "tools/call")],
        [],
    ],
)
async def test_headers_that_disagree_are_refused(edge: Edge, headers: list[tuple[str, str]]) -> None:
    """What routes by headers must never see another call than the one that runs (2026-07-28, "Routing headers")."""
    version = ("MCP-Protocol-Version", MODERN)
    response = await edge.send(headers=edge.headers(version, *headers), body=message("say", MODERN, {}))
    assert response.status == 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _one_of(*good: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(good) | _JSON


_META = st.fixed_dictionaries(
    {},
    optional={
        f"{PREFIX}protocolVersion": _one_of(MODERN),
        f"{PREFIX}clientCapabilities": _one_of({}, {"elicitation": {}}),
        f"{PREFIX}clientInfo": _one_of({"name": "x", "version": "1"}),
        "progressToken": _JSON,
        "traceparent": _JSON,
    },
)
_PARAMETERS = st.fixed_dictionaries(
    {"name": _one_of("say")},
    optional={"arguments": _one_of({}), "_meta": _META | _JSON, "requestState": _JSON, "task": _JSON},
)
_MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": _one_of("2.0"), "id": _one_of(1, "one"), "method": st.just("tools/call"), "params": _PARAMETERS},
    optional={"more": _JSON},
)


@given(_MESSAGES)
def test_only_what_the_sdk_would_run_is_run(given_message: dict[str, Any]) -> None:
    """A message that is taken for an ordinary call must be one by the protocol's own schema."""
    call = direct_call(given_message, given_message["params"])
    if call is not None:
        JSONRPCRequest.model_validate(given_message)
        validate_client_request("tools/call", call.version or HANDSHAKE, given_message["params"])
