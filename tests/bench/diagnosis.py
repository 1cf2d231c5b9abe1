"""Measures `diagnose` on every world of the catalogue: cause first or not, tokens, API requests, time.

`python -m tests.bench.diagnosis > docs/diagnosis-figures.md` starts a real API server with a node, makes all worlds at
once, asks about each, and then reads a few of them by hand, with only list, get and log calls, the way an agent without
`diagnose` does. Tokens are counted with one offline tokenizer (o200k_base).
"""

import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from tests.cluster.node import RealNodeCluster
from tests.diagnosis.catalogue import TOKENS, Outcome, World, asking, build, load, settle
from tests.diagnosis.facts import load_facts, outcome_of
from tests.workbench import Workbench

SECONDS = 150.0
BY_HAND = (
    "exit-code",
    "setting-empty-in-config-map",
    "too-much-cpu",
    "config-key-missing",
    "probe-port",
    "service-of-crashing-pods",
    "quota",
    "storage-no-class",
)


def main() -> None:
    """Start the cluster, measure, print."""
    # What the gateway logs is not part of the document.
    with redirect_stdout(sys.stderr), RealNodeCluster("figures") as cluster:
        outcomes, hands = asyncio.run(_measure(cluster))
    _print(outcomes, [outcome_of(world, facts) for world, facts in load_facts().values()])
    _print_hands(hands, {outcome.world.name: outcome for outcome in outcomes})


async def _measure(cluster: RealNodeCluster) -> tuple[list[Outcome], list[tuple[World, int, int]]]:
    broken, healthy = load("broken.yaml"), load("healthy.yaml")
    await build(cluster, (*broken, *healthy))
    async with asking(cluster) as bench:
        await settle(bench, (*broken, *healthy), SECONDS)
        # Asked once more, when nothing starts any more: these are the figures.
        outcomes = await settle(bench, (*broken, *healthy), 0)
        return outcomes, [await _by_hand(bench, world) for world in broken if world.name in BY_HAND]


def _print(real: Sequence[Outcome], facts: Sequence[Outcome]) -> None:
    every = [*real, *facts]
    broken = [outcome for outcome in every if outcome.world.finds]
    healthy = [outcome for outcome in every if not outcome.world.finds]
    tokens = [outcome.tokens for outcome in real if outcome.world.finds]
    single = [outcome.requests for outcome in real if not outcome.world.ask.startswith("namespace/")]
    times = sorted(outcome.seconds for outcome in real)
    print("# `diagnose`, measured\n")
    print(
        "Made by `python -m tests.bench.diagnosis > docs/diagnosis-figures.md`, on a real API server of Kubernetes 1.36"
    )
    print("with one real node, all worlds at once; worlds that one node can't produce are judged from facts.\n")
    named = sum(not outcome.problem for outcome in broken)
    print(f"- Broken worlds: {len(broken)}, cause named first in {named}.")
    alarms = sum(bool(outcome.problem) for outcome in healthy)
    print(f"- Healthy or merely unusual worlds: {len(healthy)}, false alarms {alarms}.")
    print(f"- Tokens of an answer about a broken world: median {statistics.median(tokens):.0f}, at most {max(tokens)}.")
    print(f"- API requests for one object: median {statistics.median(single):.0f}, at most {max(single)}.")
    print(f"- Seconds: median {statistics.median(times):.2f}, at most {times[-1]:.2f} (two cores, a hundred pods).\n")
    print("| world | asked | first finding | as it must be | tokens | requests | ms |")
    print("|---|---|---|---|---:|---:|---:|")
    for outcome in every:
        where = outcome.world.ask
        cost = f"{outcome.requests} | {outcome.seconds * 1000:.0f}" if outcome.requests else "facts |"
        mark = f"no: {outcome.problem[:80]}" if outcome.problem else "yes"
        print(f"| {outcome.world.name} | {where} | {outcome.first or '-'} | {mark} | {outcome.tokens} | {cost} |")


async def _by_hand(bench: Workbench, world: World) -> tuple[World, int, int]:
    """Return how many calls and tokens it takes to see the same without `diagnose`.

    As an agent goes about it: the object, the pods, one pod, its events, its logs, and what the object refers to.
    """
    kind, _, name = world.ask.partition("/")
    space = {"namespace": world.name}
    texts = [await bench.call("resource_get", {"resource": kind, "name": name, **space})]
    texts.append(await bench.call("resource_list", {"resource": "pods", **space}))
    texts.append(await bench.call("resource_list", {"resource": "pods", "output": "json", "limit": 1, **space}))
    texts.append(await bench.call("resource_list", {"resource": "events", **space}))
    pod = (await bench.call("resource_list", {"resource": "pods", "output": "name", **space})).splitlines()
    if len(pod) > 1:
        target = {"resource": "pods", "name": pod[1].rpartition("/")[2], "subresource": "logs", **space}
        try:
            texts.append(await bench.call("resource_get", {**target, "parameters": {"previous": True}}))
        except Exception as error:  # noqa: BLE001  # a pod that never ran has no log; the call is made all the same
            texts.append(str(error))
    kinds = {each["kind"] for each in world.objects} & {"ConfigMap", "ResourceQuota", "PersistentVolumeClaim"}
    texts += [await bench.call("resource_list", {"resource": each, "output": "yaml", **space}) for each in kinds]
    if "schedule" in world.finds:
        texts.append(await bench.call("resource_get", {"resource": "nodes", "name": "node1"}))
    return world, len(texts), sum(len(TOKENS.encode(text)) for text in texts)


def _print_hands(hands: Sequence[tuple[World, int, int]], outcomes: dict[str, Outcome]) -> None:
    print("\n## The same by hand\n")
    print(
        "Read with `resource_list` and `resource_get` alone, as an agent goes about it: the object, its pods, one pod"
    )
    print("whole, the events, the last log, and what it refers to. What that costs, beside one `diagnose`:\n")
    print("| world | calls | tokens | with diagnose | tokens |\n|---|---:|---:|---:|---:|")
    for world, calls, tokens in hands:
        print(f"| {world.name} | {calls} | {tokens:,} | 1 | {outcomes[world.name].tokens} |")
    calls, tokens = sum(each[1] for each in hands), sum(each[2] for each in hands)
    own = sum(outcomes[world.name].tokens for world, _, _ in hands)
    print(
        f"| **mean** | **{calls / len(hands):.1f}** | **{tokens // len(hands):,}** | **1** | **{own // len(hands)}** |"
    )


if __name__ == "__main__":
    main()
