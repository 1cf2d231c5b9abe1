from typing import Any, Literal

import pytest

from gateway.access.confirmation import Confirmation, Proposal, Verdict
from gateway.access.plans import LIFETIME, Plans, UsedInMemory
from gateway.access.questions import AnswerNeeded, Answers
from gateway.access.sealing import SealingKeys
from gateway.errors import BadArgument
from gateway.policy.options import PolicyOptions
from tests.workbench import NOBODY, MakeWorkbench, Workbench

ASKABLE = Answers({}, can_ask=True)
PROPOSAL = Proposal("resource_post", asked="ls in demo/web", met="uid-1", message="run ls in demo/web?", done="run")
Mode = Literal["person", "plan", "none"]


class Asking:
    """A confirmation on one cluster, asked again and again."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.confirmation = Confirmation(Plans(SealingKeys(), UsedInMemory(bench.clock), bench.clock))

    async def __call__(
        self, proposal: Proposal = PROPOSAL, *, answers: Answers = ASKABLE, plan: str | None = None, **session: Any
    ) -> Verdict:
        """Ask for a word, as one run of a tool does."""
        async with self.bench.session(answers=answers, **session) as held:
            return await self.confirmation.ask(held, proposal, plan)

    async def question(self, proposal: Proposal = PROPOSAL, answers: Answers = ASKABLE) -> tuple[str, str]:
        """Return key and message of the question that is put."""
        with pytest.raises(AnswerNeeded) as needed:
            await self(proposal, answers=answers)
        assert needed.value.question.choices == ("yes", "no")
        return needed.value.question.key, needed.value.question.message


@pytest.fixture
async def person(workbench: MakeWorkbench) -> Asking:
    """Ask where a person must confirm."""
    return Asking(await workbench(PolicyOptions(confirmation="person"), label="PROD"))


@pytest.fixture
async def planned(workbench: MakeWorkbench) -> Asking:
    """Ask where a plan must be presented."""
    return Asking(await workbench(PolicyOptions(confirmation="plan")))


def said(key: str, answer: str | None) -> Answers:
    """Return what the next run knows."""
    return Answers({key: answer}, can_ask=True)


async def test_the_question_names_the_cluster_and_its_label(person: Asking) -> None:
    """A person must see where it would happen before anything else."""
    _, message = await person.question()
    assert message == "Cluster east [PROD]: run ls in demo/web?"


async def test_yes_counts_once(person: Asking) -> None:
    """A yes lets the tool act once; the same answer sent again asks anew, so that no command runs twice."""
    key, _ = await person.question()
    assert await person(answers=said(key, "yes")) == Verdict(go=True)
    with pytest.raises(BadArgument, match="used already"):
        await person(answers=said(key, "yes"))


@pytest.mark.parametrize("answer", ["no", None, "YES", "", "yes "])
async def test_everything_but_yes_is_no(person: Asking, answer: str | None) -> None:
    """No, declined, cancelled, unanswered or something else: nothing happens, and nobody is asked again."""
    key, _ = await person.question()
    verdict = await person(answers=said(key, answer))
    assert not verdict.go
    assert verdict.text.startswith("Nothing was run: the person said no or did not answer")


async def test_a_no_is_final_even_when_things_have_changed(person: Asking) -> None:
    """Who said no is not asked again in the same call because the object changed meanwhile."""
    key, _ = await person.question()
    other = Proposal("resource_post", "ls in demo/web", "uid-2", "run?", done="run")
    assert not (await person(other, answers=said(key, "no"))).go


@pytest.mark.parametrize(
    "other",
    [
        Proposal("resource_post", "ls in demo/web", "uid-2", "run ls?"),
        Proposal("resource_post", "rm in demo/web", "uid-1", "run rm?"),
        Proposal("resource_apply", "ls in demo/web", "uid-1", "apply?"),
    ],
    ids=["object", "command", "tool"],
)
async def test_yes_is_for_what_was_shown(person: Asking, other: Proposal) -> None:
    """A yes for something else, or for what things were before, puts a new question."""
    key, _ = await person.question()
    new_key, message = await person.question(other, said(key, "yes"))
    assert new_key != key
    assert message == f"Cluster east [PROD]: It has changed since you were asked. {other.message}"
    assert (await person(other, answers=Answers({key: "yes", new_key: "yes"}, can_ask=True))).go


async def test_an_answer_can_not_be_made_up(person: Asking) -> None:
    """A client can't confirm what was never asked."""
    for key in ("confirm ", "confirm yes", "confirm " + "A" * 114):
        await person.question(answers=said(key, "yes"))


async def test_a_late_answer_is_none(person: Asking) -> None:
    """After ten minutes the question is put again."""
    key, _ = await person.question()
    person.bench.clock.forward(LIFETIME)
    await person.question(answers=said(key, "yes"))


async def test_nobody_to_ask_is_no(person: Asking) -> None:
    """Without a way to ask nothing happens, and the text says what would help."""
    verdict = await person(answers=NOBODY)
    assert not verdict.go
    assert "Nothing was run" in verdict.text
    assert "no MCP elicitation" in verdict.text


async def test_a_plan_does_not_replace_a_person(planned: Asking, person: Asking) -> None:
    """Where a person must confirm, a plan is worth nothing."""
    plan = (await planned()).text.rpartition("plan: ")[2]
    assert not (await person(answers=NOBODY, plan=plan)).go


async def test_the_first_call_gives_a_plan_and_the_second_acts(planned: Asking) -> None:
    """The person is not asked; the plan of the first answer is what lets the second call act."""
    verdict = await planned()
    assert not verdict.go
    assert verdict.text.startswith("Nothing was run yet.")
    plan = verdict.text.rpartition("plan: ")[2]
    assert len(plan) < 400
    assert await planned(plan=plan) == Verdict(go=True, shown=True)
    with pytest.raises(BadArgument, match="used already"):
        await planned(plan=plan)


async def test_another_principal_can_not_use_a_plan(planned: Asking) -> None:
    """A plan is worth nothing to another service account."""
    plan = (await planned()).text.rpartition("plan: ")[2]
    with pytest.raises(BadArgument, match="another caller"):
        await planned(plan=plan, service_account="demo/viewer")


async def test_an_outdated_plan_is_answered_with_a_new_one(planned: Asking) -> None:
    """Where the cluster changed, the new plan comes with the answer that shows how it is now."""
    plan = (await planned()).text.rpartition("plan: ")[2]
    now = Proposal("resource_post", "ls in demo/web", "uid-2", "run?", done="run")
    verdict = await planned(now, plan=plan)
    assert not verdict.go
    assert verdict.text.startswith("The cluster has changed since that plan was made")
    assert (await planned(now, plan=verdict.text.rpartition("plan: ")[2])).go


async def test_automation_needs_no_word_but_for_what_always_does(workbench: MakeWorkbench) -> None:
    """Under `none` a tool acts at once; what always wants a word wants a plan."""
    asking = Asking(await workbench(PolicyOptions(confirmation="none")))
    assert await asking(answers=NOBODY) == Verdict(go=True)
    always = Proposal("resource_delete", "x", "uid-1", "delete x?", done="deleted", always=True)
    verdict = await asking(always)
    assert not verdict.go
    assert (await asking(always, plan=verdict.text.rpartition("plan: ")[2])).go
