from collections.abc import Iterator

import pytest

from tests.cluster.node import RealNodeCluster
from tests.diagnosis.catalogue import Outcome, asking, build, load, settle

BROKEN, HEALTHY = load("broken.yaml"), load("healthy.yaml")
SECONDS = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Outcome]]:
    """Keep what came out, for each test below to look at its part; filled by the first."""
    found: dict[str, Outcome] = {}
    yield found
    found.clear()


async def test_a_real_node_has_the_worlds(real_node: RealNodeCluster, outcomes: dict[str, Outcome]) -> None:
    """All worlds are made at once on a real node, and each is asked about until it is what it must be."""
    await build(real_node, (*BROKEN, *HEALTHY))
    async with asking(real_node) as bench:
        for outcome in await settle(bench, (*BROKEN, *HEALTHY), SECONDS):
            outcomes[outcome.world.name] = outcome
    assert len(outcomes) == len(BROKEN) + len(HEALTHY)


@pytest.mark.parametrize("name", [world.name for world in BROKEN])
def test_the_cause_comes_first(outcomes: dict[str, Outcome], name: str) -> None:
    """The first line names what is broken, within 1,500 tokens and 12 requests (30 for a namespace)."""
    outcome = outcomes[name]
    assert not outcome.problem, outcome.text
    assert outcome.tokens <= 1500
    assert outcome.requests <= (30 if outcome.world.ask.startswith("namespace/") else 12)


@pytest.mark.parametrize("name", [world.name for world in HEALTHY])
def test_no_false_alarm(outcomes: dict[str, Outcome], name: str) -> None:
    """What is healthy, or merely unusual, is said to be so."""
    assert not outcomes[name].problem, outcomes[name].text
