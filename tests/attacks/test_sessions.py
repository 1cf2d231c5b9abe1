from gateway.edge.managers import MOST_SESSIONS
from tests.edge.conftest import INITIALIZE, Edge, edge, make_edge  # noqa: F401  # fixtures


async def test_one_caller_does_not_use_up_the_sessions_of_all(edge: Edge) -> None:  # noqa: F811  # the fixture
    """Who has many sessions open is served on without more of them, and others still get theirs."""
    opened = [await edge.send(body=INITIALIZE) for _ in range(MOST_SESSIONS + 6)]
    assert {response.status for response in opened} == {200}
    assert sum("mcp-session-id" in response.headers for response in opened) == MOST_SESSIONS
    token = await edge.bench.cluster.token(service_account="demo/viewer")
    other = await edge.send(headers=edge.headers(token=token), body=INITIALIZE)
    assert "mcp-session-id" in other.headers


async def test_when_all_sessions_are_in_use_calls_work_without(edge: Edge) -> None:  # noqa: F811  # the fixture
    """A session is a convenience: who gets none is answered all the same, and gets one when another has ended."""
    managers = edge.endpoint._managers  # noqa: SLF001  # how many there may be is the SDK's to hold
    managers.plain.max_sessions = 2
    opened = [await edge.send(body=INITIALIZE) for _ in range(3)]
    assert [response.status for response in opened] == [200, 200, 200]
    sessions = [response.headers.get("mcp-session-id") for response in opened]
    assert [session is not None for session in sessions] == [True, True, False]
    assert (await edge.send()).status == 200
    ended = await edge.send("DELETE", headers=edge.headers(("Mcp-Session-Id", str(sessions[0]))))
    assert ended.status == 200
    assert "mcp-session-id" in (await edge.send(body=INITIALIZE)).headers


async def test_a_refreshed_token_goes_on_with_its_session(edge: Edge) -> None:  # noqa: F811  # the fixture
    """A session belongs to a principal on a cluster, whatever token they come with; to nobody else on it."""
    opened = await edge.send(body=INITIALIZE)
    session = ("Mcp-Session-Id", opened.headers["mcp-session-id"])
    version = ("MCP-Protocol-Version", "2025-06-18")
    renewed = await edge.bench.cluster.token(seconds=7200)
    assert renewed != edge.token
    answer = await edge.send(headers=edge.headers(session, version, token=renewed))
    assert answer.status == 200
    other = await edge.bench.cluster.token(service_account="demo/viewer")
    assert (await edge.send(headers=edge.headers(session, version, token=other))).status == 404
