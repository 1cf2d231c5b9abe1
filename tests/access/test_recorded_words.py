import pytest

from gateway.access.questions import AnswerNeeded, Answers
from gateway.policy.options import PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "demo"}, "data": {}}


def writes(bench: Workbench) -> list[tuple[bool, str, str]]:
    """Return of each recorded write, or word against one, whether it was only tried, whose word it had, its end."""
    return [(each.dry_run, each.confirmation, each.decision) for each in bench.records if each.verb in {"patch", ""}]


@pytest.mark.parametrize("word", ["yes", "no", None])
async def test_a_person_s_word_stands_in_the_records(workbench: MakeWorkbench, word: str | None) -> None:
    """What a person confirmed is told from what was only tried, and a no is recorded too, silence included."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="person"))
    with pytest.raises(AnswerNeeded) as needed:
        await bench.call("resource_apply", {"manifest": MANIFEST}, answers=Answers({}, can_ask=True))
    assert writes(bench) == [(True, "", "allow")]
    bench.records.clear()
    answers = Answers({needed.value.question.key: word}, can_ask=True)
    await bench.call("resource_apply", {"manifest": MANIFEST}, answers=answers)
    assert writes(bench)[-1] == ((False, "person", "allow") if word == "yes" else (False, "person", "declined"))


async def test_a_plan_s_word_stands_in_the_records(workbench: MakeWorkbench) -> None:
    """The request that presented a plan is told from the one that made it."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="plan"))
    text = await bench.call("resource_apply", {"manifest": MANIFEST})
    plan = text.rsplit("plan: ", 1)[1].split()[0]
    await bench.call("resource_apply", {"manifest": MANIFEST, "plan": plan})
    assert writes(bench)[0] == (True, "", "allow")
    assert writes(bench)[-1] == (False, "plan", "allow")


async def test_a_write_that_needs_no_word_says_so(workbench: MakeWorkbench) -> None:
    """Under `none` nobody was asked, and the records don't leave that open."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"}), confirmation="none"))
    await bench.call("resource_apply", {"manifest": MANIFEST})
    assert writes(bench)[-1] == (False, "none", "allow")
