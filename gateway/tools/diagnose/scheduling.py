"""Rules about pods that no node takes: resources, selectors, affinity, taints, topology, volumes, cordons, gates."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.tools.diagnose.facts import CLAIMS, NODES, Facts, Ref
from gateway.tools.diagnose.objects import Obj, condition, dig, quantity
from gateway.tools.diagnose.pods import live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Step, change, listed, quoted, read

_PATIENCE: Final = timedelta(seconds=10)
"""How long a scheduler may take before its silence means something."""


@dataclass(frozen=True, slots=True)
class _Unplaced:
    """A pod without a node, and what the scheduler says of it."""

    ref: Ref
    pod: Obj
    words: str
    evidence: tuple[Evidence, ...]


def _unplaced(facts: Facts) -> Iterator[_Unplaced]:
    for ref, pod in live_pods(facts):
        if dig(pod, "spec", "nodeName") or dig(pod, "status", "phase", default="Pending") != "Pending":
            continue
        said = condition(pod, "PodScheduled", "False") or {}
        events = facts.events_of(ref, "FailedScheduling")
        words = str(said.get("message") or (events[0].message if events else ""))
        evidence = (Evidence(f"condition PodScheduled of {ref}", words),) if said.get("message") else ()
        yield _Unplaced(ref, pod, words, evidence or tuple(quoted(event) for event in events[:1]))


def _asked(pod: Obj, name: str) -> str:
    """Return what the pod asks for of a resource, as its largest container spells it."""
    asked = [dig(c, "resources", "requests", name, default="0") for c in dig(pod, "spec", "containers", default=())]
    total = sum(quantity(each) for each in asked)
    if len(asked) == 1:
        return str(asked[0])
    return f"{total / 2**20:g}Mi" if name == "memory" and total >= 2**20 else f"{total:g}"


def _most(facts: Facts, name: str) -> str:
    """Return what the largest node has of a resource."""
    offers = [dig(node, "status", "allocatable", name) for _, node in facts.all(NODES)]
    return str(max(offers, key=quantity)) if (offers := [offer for offer in offers if offer]) else ""


def _found(facts: Facts, item: _Unplaced, cause: str, *steps: Step, because: tuple[Ref, ...] = ()) -> Found:
    owner = facts.owner(item.ref)
    return Found(owner, f"{owner} has a pod that no node takes: {cause}", item.evidence, steps, because)


def _resources(facts: Facts, item: _Unplaced) -> Found | None:
    names = re.findall(r"Insufficient ([\w./-]+?)(?=[,.;]|$|\s)", item.words)
    if not names:
        return None
    name = names[0].rstrip(".")
    asked, most = _asked(item.pod, name), _most(facts, name)
    size = f"the largest node has {most}" if most else "see the nodes' allocatable"
    if most and quantity(asked) <= quantity(most):
        size += ", most of it taken by other pods"
    step = change(f"lower resources.requests.{name} of {facts.owner(item.ref)}, or add a larger node")
    return _found(facts, item, f"it requests {name} {asked}, and {size}", step, listed("nodes"))


def _selector(facts: Facts, item: _Unplaced) -> Found | None:
    if "node affinity/selector" not in item.words and "didn't match node selector" not in item.words:
        return None
    selector = dig(item.pod, "spec", "nodeSelector", default={})
    if selector:
        wanted = ", ".join(f"{key}={value}" for key, value in selector.items())
        has = _labelled(facts, selector)
        step = change("correct spec.nodeSelector of the pod template, or label a node so")
        return _found(facts, item, f"nodeSelector wants {wanted}{has}", step, listed("nodes", output="yaml"))
    step = change("correct spec.affinity.nodeAffinity of the pod template, or label a node so")
    return _found(
        facts, item, f"its required node affinity matches none ({_affinity(item.pod)})", step, listed("nodes")
    )


def _labelled(facts: Facts, selector: Mapping[str, str]) -> str:
    for key in selector:
        values = {dig(node, "metadata", "labels", key) for _, node in facts.all(NODES)} - {None}
        if values:
            return f"; nodes have {key}={', '.join(sorted(map(str, values))[:4])}"
    return ", a label no node has" if any(facts.all(NODES)) else ""


def _affinity(pod: Obj) -> str:
    path = ("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = [
        f"{each.get('key')} {each.get('operator')} {','.join(each.get('values') or ())}".strip()
        for term in dig(pod, *path, default=())
        for each in term.get("matchExpressions") or ()
    ]
    return "; ".join(terms)[:160] or "see spec.affinity"


def _taint(facts: Facts, item: _Unplaced) -> Found | None:
    if "untolerated taint" not in item.words:
        return None
    taints = [
        f"{taint['key']}{'=' + taint['value'] if taint.get('value') else ''}:{taint['effect']}"
        for _, node in facts.all(NODES)
        for taint in dig(node, "spec", "taints", default=())
        if taint.get("effect") != "PreferNoSchedule"
    ]
    quoted_taint = re.search(r"untolerated taint(?:\(s\))? \{([^}]*)\}", item.words)
    named = ", ".join(dict.fromkeys(taints)) or (quoted_taint[1].strip(": ") if quoted_taint else "")
    step = change("add a toleration to the pod template, or remove the taint from a node")
    return _found(
        facts, item, f"the nodes' taints are not tolerated: {named or 'see spec.taints'}", step, listed("nodes")
    )


def _claims(facts: Facts, item: _Unplaced) -> Found | None:
    if "ersistentVolumeClaim" not in item.words and "ersistentvolumeclaim" not in item.words:
        return None
    volumes = dig(item.pod, "spec", "volumes", default=())
    names = [name for each in volumes if (name := dig(each, "persistentVolumeClaim", "claimName"))]
    missing = re.search(r'persistentvolumeclaim "([^"]+)" not found', item.words)
    refs = tuple(Ref(CLAIMS, item.ref.namespace, name) for name in names)
    if missing:
        ref = Ref(CLAIMS, item.ref.namespace, missing[1])
        step = change(f"create the {ref}, or correct claimName in the pod template")
        return _found(facts, item, f"{ref} does not exist", step, listed("persistentvolumeclaims", item.ref.namespace))
    bound = [ref for ref in refs if dig(facts.objects.get(ref), "status", "phase") != "Bound"]
    named = " and ".join(map(str, bound)) or "its volume claims"
    return _found(facts, item, f"{named} has no volume yet", *(read(ref) for ref in bound[:1]), because=tuple(bound))


def _silent(facts: Facts, item: _Unplaced) -> Found | None:
    old = facts.age(dig(item.pod, "metadata", "creationTimestamp")) > _PATIENCE
    if item.words or not old or condition(item.pod, "PodScheduled", "False"):
        return None
    name = dig(item.pod, "spec", "schedulerName", default="default-scheduler")
    evidence = Evidence(f"spec of {item.ref}", f"schedulerName: {name}")
    cause = f"scheduler {name} says nothing about it; nothing of this name seems to run"
    found = _found(
        facts, item, cause, change("correct spec.schedulerName of the pod template, or start that scheduler")
    )
    return Found(found.subject, found.cause, (evidence,), found.steps)


def _gated(facts: Facts, item: _Unplaced) -> Found | None:
    gates = [gate["name"] for gate in dig(item.pod, "spec", "schedulingGates", default=())]
    if not gates:
        return None
    owner = facts.owner(item.ref)
    cause = f"{owner} has a pod held back by the scheduling gate {', '.join(gates)}"
    return Found(owner, cause, item.evidence, (change("have the controller that set the gate remove it"),))


def _other(facts: Facts, item: _Unplaced) -> Found | None:
    return _found(facts, item, item.words[:200], listed("nodes")) if item.words else None


def _by_words(pattern: str, cause: str, step: str) -> Callable[[Facts, _Unplaced], Found | None]:
    search = re.compile(pattern, re.IGNORECASE).search
    return lambda facts, item: _found(facts, item, cause, change(step), listed("nodes")) if search(item.words) else None


_SAYS: Final = "The pod's condition PodScheduled, or a FailedScheduling event, says "

FAMILIES: Final = (
    Family(
        "Scheduling",
        _unplaced,
        (
            Rule(
                "schedule-gate",
                "A scheduling gate holds the pod back.",
                "spec.schedulingGates of a pending pod.",
                "See what sets and removes the gate.",
                _gated,
                "warning",
            ),
            Rule(
                "schedule-volume-claim",
                "A volume claim that the pod uses does not exist or has no volume.",
                f"{_SAYS}so; the claim's own finding takes this one's place where there is one.",
                "Mend the claim.",
                _claims,
            ),
            Rule(
                "schedule-volume-zone",
                "The pod's volume is in a zone or on a node that no other requirement allows.",
                f"{_SAYS}`volume node affinity conflict`.",
                "Let the pod run where its volume is.",
                _by_words(
                    "volume node affinity conflict|didn't match PersistentVolume's node affinity",
                    "its volume lies in another zone or on another node (volume node affinity conflict)",
                    "let the pod template allow the volume's zone, or move the data to a new claim",
                ),
            ),
            Rule(
                "schedule-node-selector",
                "No node has the labels that the pod wants.",
                f"{_SAYS}`didn't match Pod's node affinity/selector`; nodes' labels are compared.",
                "Correct nodeSelector or affinity, or label a node.",
                _selector,
            ),
            Rule(
                "schedule-pod-affinity",
                "Rules about which pods stand beside which leave no node.",
                f"{_SAYS}that pod affinity or anti-affinity rules did not match.",
                "Make them preferred instead of required, lower replicas, or add nodes.",
                _by_words(
                    "pod (anti-)?affinity|existing pods' anti-affinity|didn't satisfy existing pods",
                    "its pod affinity or anti-affinity rules leave no node",
                    "make spec.affinity's pod rules preferred, lower spec.replicas, or add a node",
                ),
            ),
            Rule(
                "schedule-topology",
                "Topology spread constraints can't be kept.",
                f"{_SAYS}that they did not match.",
                "Label the nodes, raise maxSkew, or use ScheduleAnyway.",
                _by_words(
                    "topology spread constraints",
                    "its topology spread constraints can't be kept",
                    "set whenUnsatisfiable: ScheduleAnyway in topologySpreadConstraints, or label the nodes",
                ),
            ),
            Rule(
                "schedule-resources",
                "No node has as much free as the pod requests.",
                f"{_SAYS}`Insufficient`; the request is compared with the largest node.",
                "Lower the request or add nodes.",
                _resources,
            ),
            Rule(
                "schedule-host-port",
                "The host port is taken on every node.",
                f"{_SAYS}that there are no free ports.",
                "Drop hostPort, or run at most one a node.",
                _by_words(
                    "free ports for the requested pod ports",
                    "its hostPort is taken on every node",
                    "remove hostPort from the pod template and use a Service, or use a DaemonSet",
                ),
            ),
            Rule(
                "schedule-too-many-pods",
                "The nodes have as many pods as they may.",
                f"{_SAYS}`Too many pods`.",
                "Add nodes or raise maxPods.",
                _by_words("too many pods", "every node already has as many pods as it may", "add a node"),
            ),
            Rule(
                "schedule-cordon",
                "Nodes are closed for new pods.",
                f"{_SAYS}that nodes were unschedulable.",
                "Uncordon a node or add one.",
                _by_words(
                    r"were unschedulable|node\.kubernetes\.io/unschedulable",
                    "the nodes are cordoned (spec.unschedulable: true)",
                    "uncordon a node: set spec.unschedulable to false",
                ),
            ),
            Rule(
                "schedule-taint",
                "The pod does not tolerate the nodes' taints.",
                f"{_SAYS}`untolerated taint`; the nodes' taints are named.",
                "Add a toleration or remove the taint.",
                _taint,
            ),
            Rule(
                "schedule-no-nodes",
                "There is no node at all.",
                f"{_SAYS}`no nodes available`.",
                "Add a node.",
                _by_words("no nodes available", "the cluster has no nodes", "add a node"),
            ),
            Rule(
                "schedule-silent",
                "The scheduler that the pod asks for does not run.",
                "A pending pod without node, condition or event.",
                "Correct schedulerName or start that scheduler.",
                _silent,
            ),
            Rule(
                "schedule-other",
                "The scheduler has another reason.",
                "Its own words are quoted.",
                "Read them.",
                _other,
            ),
        ),
    ),
)
