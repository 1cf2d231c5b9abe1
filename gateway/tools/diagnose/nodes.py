"""Rules about nodes: not ready, under pressure, without network, cordoned, of another version."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.tools.diagnose.facts import NAMESPACES, NODES, PODS, Facts, Ref
from gateway.tools.diagnose.objects import Obj, ago, condition, dig
from gateway.tools.diagnose.pods import live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, listed, read

_PRESSURES: Final = {"MemoryPressure": "memory", "DiskPressure": "disk space", "PIDPressure": "process ids"}
_MOST_SKEW: Final = 3
"""Minor versions that a kubelet may be older than the API server (Kubernetes' version skew policy)."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A node, and the newest minor version of any kubelet."""

    ref: Ref
    item: Obj
    newest: int


def _nodes(facts: Facts) -> Iterator[_Node]:
    newest = max((_minor(item) or 0 for _, item in facts.all(NODES)), default=0)
    for ref, item in facts.all(NODES):
        if facts.target.resource in {NODES, NAMESPACES} or _carries(facts, ref.name):
            yield _Node(ref, item, newest)


def _carries(facts: Facts, name: str) -> bool:
    return any(dig(pod, "spec", "nodeName") == name for _, pod in facts.all(PODS))


def _condition_evidence(node: _Node, said: Obj) -> tuple[Evidence, ...]:
    text = f"{said.get('status')}, {said.get('reason', '')}: {said.get('message', '')}"
    return (Evidence(f"condition {said.get('type')} of {node.ref}", text),)


def _not_ready(facts: Facts, node: _Node) -> Found | None:
    said = condition(node.item, "Ready", "False") or condition(node.item, "Ready", "Unknown")
    if said is None:
        return None
    since = ago(facts.age(said.get("lastTransitionTime")))
    silent = said.get("status") == "Unknown"
    why = "its kubelet has not reported" if silent else str(said.get("message", ""))[:200]
    pods = sum(1 for _, pod in live_pods(facts) if dig(pod, "spec", "nodeName") == node.ref.name)
    cause = f"{node.ref} is not ready since {since}: {why}; {pods} pods are on it"
    return Found(node.ref, cause, _condition_evidence(node, said), (read(node.ref),))


def _pressure(_: Facts, node: _Node) -> Found | None:
    for kind, word in _PRESSURES.items():
        if said := condition(node.item, kind):
            cause = f"{node.ref} runs out of {word} ({kind}): it evicts pods and takes no new ones"
            step = listed(PODS, fieldSelector=f"spec.nodeName={node.ref.name}")
            return Found(node.ref, cause, _condition_evidence(node, said), (step,))
    return None


def _no_network(_: Facts, node: _Node) -> Found | None:
    said = condition(node.item, "NetworkUnavailable")
    if said is None:
        return None
    cause = f"the network of {node.ref} is not set up: {str(said.get('message', ''))[:160]}"
    return Found(node.ref, cause, _condition_evidence(node, said), (listed(PODS, "kube-system"),))


def _cordoned(_: Facts, node: _Node) -> Found | None:
    if not dig(node.item, "spec", "unschedulable"):
        return None
    cause = f"{node.ref} is cordoned: it takes no new pods (spec.unschedulable: true)"
    evidence = Evidence(f"spec of {node.ref}", "unschedulable: true")
    return Found(node.ref, cause, (evidence,), (change(f"set spec.unschedulable of {node.ref} to false"),))


def _minor(item: Obj) -> int | None:
    match = re.match(r"v?1\.(\d+)", str(dig(item, "status", "nodeInfo", "kubeletVersion", default="")))
    return int(match[1]) if match else None


def _skewed(_: Facts, node: _Node) -> Found | None:
    minor = _minor(node.item)
    if minor is None or node.newest - minor < _MOST_SKEW:
        return None
    cause = f"{node.ref} runs kubelet 1.{minor}, {node.newest - minor} minor versions behind others (1.{node.newest})"
    version = str(dig(node.item, "status", "nodeInfo", "kubeletVersion"))
    return Found(node.ref, cause, (Evidence(f"status of {node.ref}", f"kubeletVersion: {version}"),))


@dataclass(frozen=True, slots=True)
class _Evicted:
    """A pod that was evicted by its node."""

    ref: Ref
    pod: Obj


def _evicted(facts: Facts) -> Iterator[_Evicted]:
    for ref, pod in live_pods(facts):
        if dig(pod, "status", "reason") == "Evicted":
            yield _Evicted(ref, pod)


def _was_evicted(facts: Facts, item: _Evicted) -> Found:
    said = str(dig(item.pod, "status", "message", default=""))
    owner = facts.owner(item.ref)
    own = "ephemeral" in said and "exceeds" in said
    whole = facts.objects.get(owner)
    healthy = dig(whole, "status", "readyReplicas", default=0) >= dig(whole, "spec", "replicas", default=1)
    what = (
        "raise resources.limits.ephemeral-storage, or write less"
        if own
        else "set memory and storage requests to what it uses"
    )
    return Found(
        owner,
        f"a pod of {owner} was evicted from node {dig(item.pod, 'spec', 'nodeName', default='?')}: {said[:180]}",
        (Evidence(f"status of {item.ref}", said),),
        (change(f"{what} in {owner}"),),
        severity="notice" if whole and healthy else "critical",
    )


FAMILIES: Final = (
    Family(
        "Nodes",
        _nodes,
        (
            Rule(
                "node-not-ready",
                "A node does not work.",
                "Condition Ready is False or Unknown.",
                "Mend it.",
                _not_ready,
            ),
            Rule(
                "node-pressure",
                "A node runs out of memory, disk space or process ids.",
                "Its pressure conditions.",
                "Free some, or move pods away.",
                _pressure,
            ),
            Rule(
                "node-no-network",
                "A node's network is not set up.",
                "Condition NetworkUnavailable.",
                "Look at the network plugin's pod there.",
                _no_network,
            ),
            Rule(
                "node-version-skew",
                "A kubelet is so much older than others that it is not supported.",
                "kubeletVersion of the nodes is compared.",
                "Upgrade it.",
                _skewed,
                "warning",
            ),
            Rule(
                "node-cordoned",
                "A node takes no new pods.",
                "spec.unschedulable is true.",
                "Uncordon it after its maintenance.",
                _cordoned,
                "notice",
            ),
        ),
    ),
    Family(
        "Evictions",
        _evicted,
        (
            Rule(
                "pod-evicted",
                "A node has evicted a pod.",
                "Its status has the reason Evicted, with the resource that ran short.",
                "Request what it uses.",
                _was_evicted,
            ),
        ),
    ),
)
