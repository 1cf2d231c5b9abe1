import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster.node import RealNodeCluster
from tests.diagnosis.catalogue import Outcome, asking, build, load, settle

BROKEN, HEALTHY = load("broken.yaml"), load("healthy.yaml")
SECONDS = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def outcomes(real_node: RealNodeCluster) -> Iterator[dict[str, Outcome]]:
    """Make all worlds at once on a real node, and ask about each until it is what it must be."""
    yield asyncio.run(_outcomes(real_node))
    # A hundred broken worlds keep a node busy, which the tests after these share.
    asyncio.run(_end(real_node))


async def _end(real_node: RealNodeCluster) -> None:
    for world in (*BROKEN, *HEALTHY):
        await real_node.request("DELETE", f"/api/v1/namespaces/{world.name}/pods?gracePeriodSeconds=0")
        await real_node.request("DELETE", f"/api/v1/namespaces/{world.name}")


async def _outcomes(real_node: RealNodeCluster) -> dict[str, Outcome]:
    worlds = (*BROKEN, *HEALTHY)
    await build(real_node, worlds)
    async with asking(real_node) as bench:
        return {outcome.world.name: outcome for outcome in await settle(bench, worlds, SECONDS)}


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
