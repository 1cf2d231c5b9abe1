import pytest

from gateway.tools.diagnose.facts import Facts
from tests.diagnosis.catalogue import World
from tests.diagnosis.facts import load_facts, outcome_of

WORLDS = load_facts()


@pytest.mark.parametrize(("world", "facts"), WORLDS.values(), ids=WORLDS)
def test_the_facts_are_judged_as_the_catalogue_says(world: World, facts: Facts) -> None:
    """The first line names the cause of a broken world; a healthy or unusual one raises no alarm."""
    outcome = outcome_of(world, facts)
    assert not outcome.problem, outcome.text
    assert outcome.tokens <= 1500
