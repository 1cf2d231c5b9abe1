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
