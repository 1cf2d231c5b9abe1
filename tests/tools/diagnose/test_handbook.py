from pathlib import Path

from gateway.tools.diagnose.families import ALL
from gateway.tools.diagnose.handbook import handbook
from tests.diagnosis.catalogue import load
from tests.diagnosis.facts import load_facts

DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis.md"
RULES = [rule for family in ALL for rule in family.rules]
# What only quotes the words of others, and what is only ever shown below another finding.
QUOTING = {"config-volume", "config-other", "admission-other", "image-pull", "probe-other", "crash-not-started"}
WITHOUT_A_WORLD = QUOTING | {"schedule-other", "ingress-behind", "cron-last-failed"}


def test_the_documentation_is_current() -> None:
    """docs/diagnosis.md is what the rules say now."""
    assert DOCUMENT.read_text() == handbook(), "run python -m gateway.tools.diagnose.handbook > docs/diagnosis.md"


def test_every_rule_has_its_own_stable_id() -> None:
    """No two rules share an id, and each is fully documented."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.means and rule.known and rule.do for rule in RULES)


def test_every_rule_has_a_world() -> None:
    """Each rule is shown by a world of the catalogue, but those that only quote what is not foreseen."""
    worlds = [*load("broken.yaml"), *load("healthy.yaml"), *(world for world, _ in load_facts().values())]
    shown = {world.finds for world in worlds} | {world.notes for world in worlds}
    assert {rule.id for rule in RULES} - shown - WITHOUT_A_WORLD == set()
