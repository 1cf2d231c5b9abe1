import asyncio
from typing import Any

import mcp_types as types
import pytest

from gateway.access.questions import Answers, Question
from gateway.access.session import ClusterSession
from gateway.protocol.elicitation import Rounds, input_required
from tests.protocol.conftest import call, connected, serving, tool
from tests.workbench import Workbench

runs: list[int] = []


async def ask(session: ClusterSession) -> str:
    """Ask twice, and say what came of it."""
    runs.append(1)
    colour = session.answers.ask(Question("colour", "Which colour?", ("red", "blue")))
    if colour is None:
        return f"no colour; can ask: {session.answers.can_ask}"
    name = session.answers.ask(Question("name", "Which name?"))
    return f"{colour} {name}"


async def endless(session: ClusterSession) -> str:
    """Ask something else each time."""
    for number in range(100):
        session.answers.ask(Question(f"q{number}", f"Number {number}?"))
    return "never"


class Person:
    """Answers questions by their text, and remembers them."""

    def __init__(self, **answers: str | None) -> None:
        self.answers = answers
        self.asked: list[tuple[str, object]] = []

    async def __call__(self, _context: Any, parameters: Any) -> types.ElicitResult:
        """Answer one question."""
        schema = parameters.requested_schema
        self.asked.append((parameters.message, schema["properties"]["answer"].get("enum")))
        answer = self.answers.get(parameters.message.split()[1].strip("?"))
        if answer is None:
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content={"answer": answer})


async def test_a_person_is_asked_and_the_tool_runs_again(bench: Workbench, mode: str) -> None:
    """Each question once, with its choices; the last run has all the answers."""
    person = Person(colour="blue", name="Ada")
    runs.clear()
    async with (
        serving(bench, tool(ask)) as url,
        connected(bench, url, mode, elicitation_callback=person) as client,
    ):
        assert await call(client, "ask") == (False, "blue Ada")
    assert person.asked == [("Which colour?", ["red", "blue"]), ("Which name?", None)]
    assert len(runs) == 3
    assert bench.pool.state().leases == 0


@pytest.mark.parametrize("answer", [None, "green"])
async def test_declining_or_choosing_something_else_is_no_answer(
    bench: Workbench, mode: str, answer: str | None
) -> None:
    """The tool goes on without, and asks no second time."""
    person = Person(colour=answer)
    async with (
        serving(bench, tool(ask)) as url,
        connected(bench, url, mode, elicitation_callback=person) as client,
    ):
        failed, text = await call(client, "ask")
    assert (failed, text) == (False, "no colour; can ask: True")
    assert len(person.asked) == 1


async def test_a_client_that_can_not_ask_is_not_asked(bench: Workbench, mode: str) -> None:
    """Without the capability there is no answer, and the tool knows."""
    async with serving(bench, tool(ask)) as url, connected(bench, url, mode) as client:
        assert await call(client, "ask") == (False, "no colour; can ask: False")


async def test_too_many_questions_end_the_call(bench: Workbench) -> None:
    """A tool that never has enough is stopped, with what would spare the questions."""

    async def person(_context: Any, _parameters: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"answer": "x"})

    async with (
        serving(bench, tool(endless)) as url,
        connected(bench, url, "legacy", elicitation_callback=person) as client,
    ):
        assert await call(client, "endless") == (
            True,
            "Too many questions came up. Call again with resource, name and namespace spelled out.",
        )


async def test_a_question_lapses(bench: Workbench) -> None:
    """A person who does not answer holds neither the call nor the cluster for ever."""

    async def silent(_context: Any, _parameters: Any) -> types.ElicitResult:
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        serving(bench, tool(ask), lapses_after=0.2) as url,
        connected(bench, url, "legacy", elicitation_callback=silent) as client,
    ):
        assert await call(client, "ask") == (False, "no colour; can ask: True")


async def test_the_time_of_a_call_does_not_run_while_a_person_thinks(bench: Workbench) -> None:
    """Nor does the lease: nothing of the cluster is held meanwhile."""
    held: list[int] = []

    async def slow(_context: Any, _parameters: Any) -> types.ElicitResult:
        held.append(bench.pool.state().leases)
        return types.ElicitResult(action="accept", content={"answer": "red"})

    async with (
        serving(bench, tool(ask, seconds=lambda _: 0.5)) as url,
        connected(bench, url, "legacy", elicitation_callback=slow) as client,
    ):
        assert await call(client, "ask") == (False, "red red")
    assert held == [0, 0]


def test_a_call_that_comes_back_with_an_answer_is_counted_once() -> None:
    """The answer to a question goes on with the same call, but playing it again is another one."""
    rounds = Rounds(entries=2)
    states = [input_required(Question("q", "Which?"), Answers({}, can_ask=True)).request_state for _ in range(3)]
    assert not rounds.continues(None)
    assert [rounds.continues(state) for state in states] == [True, True, True]
    assert [rounds.continues(state) for state in states[1:]] == [False, False]
