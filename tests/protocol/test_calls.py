import asyncio
from typing import Annotated, Literal

import pytest
from mcp.shared.exceptions import MCPError
from prometheus_client import generate_latest
from pydantic import Field
from structlog.testing import capture_logs

from gateway.access.session import ClusterSession
from gateway.clusters.options import LimitOptions
from gateway.errors import BadArgument, ClusterUnavailable, NotOffered
from gateway.policy.options import PolicyOptions
from gateway.tools.tool import Arguments
from tests.protocol.conftest import call, connected, serving, tool
from tests.workbench import MakeWorkbench, Workbench

SECRET = "what an exception must not tell"


async def greet(session: ClusterSession) -> str:
    """Answer."""
    return f"cluster {session.cluster.shown} · hello {session.principal.subject}"


async def refuse(_session: ClusterSession) -> str:
    """Fail in words."""
    raise NotOffered("There is none. Look elsewhere.")


async def down(_session: ClusterSession) -> str:
    """Fail as a cluster does."""
    raise ClusterUnavailable("It is down. Wait.")


async def crash(_session: ClusterSession) -> str:
    """Fail as only a mistake does."""
    raise RuntimeError(SECRET)


async def hang(_session: ClusterSession) -> str:
    """Never end."""
    await asyncio.Event().wait()
    raise AssertionError


async def late(_session: ClusterSession) -> str:
    """Fail with a time-out of its own making."""
    raise TimeoutError(SECRET)


async def write(_session: ClusterSession) -> str:
    """Write."""
    return "written"


def outcomes(bench: Workbench) -> list[str]:
    """Return the counted calls as `tool outcome`."""
    found = []
    for line in generate_latest(bench.metrics.registry).decode().splitlines():
        if line.startswith("kube_mcp_gateway_tool_calls_total{"):
            labels = dict(pair.split("=") for pair in line.partition("{")[2].partition("}")[0].split(","))
            found.append(f"{labels['tool']} {labels['outcome']}".replace('"', ""))
    return sorted(found)


async def test_a_tools_text_is_the_answer(bench: Workbench, mode: str) -> None:
    """One block of text, once, in either protocol generation."""
    async with serving(bench, tool(greet)) as url, connected(bench, url, mode) as client:
        assert await call(client, "greet") == (False, "cluster east · hello system:serviceaccount:demo:mcp")
    assert outcomes(bench) == ["greet ok"]


async def test_a_failure_is_told_as_a_tool_error(bench: Workbench, mode: str) -> None:
    """The agent reads what happened and what to do, and the outcome is counted by its word."""
    async with serving(bench, tool(refuse), tool(down)) as url, connected(bench, url, mode) as client:
        assert await call(client, "refuse") == (True, "There is none. Look elsewhere.")
        assert await call(client, "down") == (True, "It is down. Wait.")
    assert outcomes(bench) == ["down unavailable", "refuse not_found"]


@pytest.mark.parametrize("broken", [crash, late])
async def test_nobody_sees_a_traceback(bench: Workbench, mode: str, broken: type) -> None:
    """A mistake of the gateway is told by its request's id, under which the operator finds it in the log."""
    name = broken.__name__
    with capture_logs() as logs:
        async with serving(bench, tool(broken)) as url, connected(bench, url, mode) as client:
            failed, text = await call(client, name)
    [entry] = [entry for entry in logs if entry["event"] == "tool_failed"]
    assert failed
    assert text == f"The gateway failed on this call. Tell a person the request id {entry['request_id']}."
    assert len(entry["request_id"]) == 16
    assert outcomes(bench) == [f"{name} internal"]


async def test_a_call_has_its_time(workbench: MakeWorkbench, mode: str) -> None:
    """After it the agent hears how long that was and what would be quicker."""
    bench = await workbench(limits=LimitOptions(call_seconds=1))
    async with serving(bench, tool(hang)) as url, connected(bench, url, mode) as client:
        assert await call(client, "hang") == (
            True,
            "Not finished within 1 s. Narrow it (namespace, selector, limit) and call again.",
        )
    assert bench.pool.state().leases == 0
    assert outcomes(bench) == ["hang error"]


async def test_a_tool_may_have_a_time_of_its_own(bench: Workbench, mode: str) -> None:
    """What waits for something has another limit than a cluster's calls."""
    async with serving(bench, tool(hang, seconds=lambda _: 0.1)) as url, connected(bench, url, mode) as client:
        assert await call(client, "hang") == (
            True,
            "Not finished within 0.1 s. Narrow it (namespace, selector, limit) and call again.",
        )


class Choosy(Arguments):
    """Arguments of several types."""

    name: str
    limit: Annotated[int, Field(ge=1)] = 1
    output: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "Bad arguments: name is missing. greet takes: name, limit, output."),
        ({"name": "x", "bogus": 1}, "Bad arguments: bogus is unknown. greet takes: name, limit, output."),
        (
            {"name": "x", "limit": 0, "output": "c"},
            (
                "Bad arguments: limit: Input should be greater than or equal to 1; output: Input should be 'a' or 'b'. "
                "greet takes: name, limit, output."
            ),
        ),
    ],
)
async def test_bad_arguments_are_named_with_the_good_ones(
    bench: Workbench, mode: str, given: dict[str, object], text: str
) -> None:
    """All that is wrong at once, so that the next call is right."""
    async with serving(bench, tool(greet, Choosy)) as url, connected(bench, url, mode) as client:
        assert await call(client, "greet", given) == (True, text)
    assert outcomes(bench) == ["greet bad_argument"]
    assert bench.sent() == []


async def test_an_unknown_argument_is_shown_short(bench: Workbench) -> None:
    """What an agent made up does not come back at length."""
    given = {"name": "x", **{f"{'long' * 100}{number}": "v" * 1000 for number in range(50)}}
    async with serving(bench, tool(greet, Choosy)) as url, connected(bench, url, "auto") as client:
        _, text = await call(client, "greet", given)
    assert len(text) < 500


async def test_a_crowd_of_bad_arguments_is_counted_and_not_spelled_out(bench: Workbench) -> None:
    """Words for each of many thousand mistakes would cost more than any call."""
    async with serving(bench, tool(greet)) as url, connected(bench, url, "auto") as client:
        failed, text = await call(client, "greet", {f"x{number}": 1 for number in range(10_000)})
    assert failed
    assert text.startswith("Bad arguments: 10000 mistakes. greet takes: ")


async def test_a_tool_that_the_policy_does_not_offer_is_not_there(workbench: MakeWorkbench, mode: str) -> None:
    """Neither listed nor callable, and counted under no name that a caller made up."""
    tools = (tool(greet), tool(write, needs="apply", read_only=False))
    for policy, names in (
        (PolicyOptions(), ["greet"]),
        (PolicyOptions(writes=frozenset({"apply"})), ["greet", "write"]),
    ):
        bench = await workbench(policy)
        async with serving(bench, *tools) as url, connected(bench, url, mode) as client:
            assert [found.name for found in (await client.list_tools()).tools] == names
            if "write" in names:
                assert await call(client, "write") == (False, "written")
            else:
                with pytest.raises(MCPError, match=r"Unknown tool\. This cluster has: greet\."):
                    await call(client, "write")
                with pytest.raises(MCPError, match="Unknown tool"):
                    await call(client, "made-up")
                assert outcomes(bench) == []


async def test_progress_is_reported(bench: Workbench, mode: str) -> None:
    """A client that asks for it hears how far a long call has come."""

    async def stepwise(session: ClusterSession) -> str:
        for step in (1, 2):
            await session.report(step, 2, f"step {step}")
        return "done"

    heard: list[tuple[float, float | None, str | None]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async with serving(bench, tool(stepwise)) as url, connected(bench, url, mode) as client:
        assert await call(client, "stepwise", progress_callback=on_progress) == (False, "done")
        assert await call(client, "stepwise") == (False, "done")
    assert heard == [(1, 2, "step 1"), (2, 2, "step 2")]


async def test_a_call_that_is_given_up_is_counted_as_such(bench: Workbench) -> None:
    """A caller that goes away ends its call, which is no success."""
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def wait(_session: ClusterSession) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(bench, tool(wait, seconds=lambda _: 30.0)) as url:
        async with connected(bench, url, "auto") as client:
            calling = asyncio.create_task(call(client, "wait"))
            await begun.wait()
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        await asyncio.wait_for(ended.wait(), 10)
    assert outcomes(bench) == ["wait cancelled"]
    assert bench.pool.state().leases == 0


async def test_the_answers_of_many_calls_at_once_are_their_own(bench: Workbench, mode: str) -> None:
    """Nothing of one call is left for another on the same connection."""

    class Number(Arguments):
        number: int

    async def run(_session: ClusterSession, arguments: Number) -> str:
        await asyncio.sleep(0.001 * (arguments.number % 3))
        return str(arguments.number)

    async with (
        serving(bench, tool(greet).__class__("echo", "echo", "echo", Number, run)) as url,
        connected(bench, url, mode) as client,
    ):
        answers = await asyncio.gather(*(call(client, "echo", {"number": number}) for number in range(20)))
    assert [text for _, text in answers] == [str(number) for number in range(20)]


def test_bad_argument_is_the_agents_to_correct() -> None:
    """The outcome's word tells it from trouble of the gateway or the cluster."""
    assert BadArgument("x").outcome == "bad_argument"
