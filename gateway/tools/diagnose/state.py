"""Boundary between an object and one sentence about it: how it stands, and what its last rollout changed."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.tools.diagnose.facts import (
    CLAIMS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Facts,
    Ref,
)
from gateway.tools.diagnose.objects import Obj, ago, condition, dig

_REVISION = "deployment.kubernetes.io/revision"


def state_of(facts: Facts) -> str:
    """Return how the target stands, such as `deployment shop/cart: 2 of 2 pods ready`; empty where there is no word."""
    ref, item = facts.target, facts.objects.get(facts.target)
    if item is None:
        return ""
    status = dig(item, "status", default={})
    match ref.resource:
        case r if r in {DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS}:
            wanted = dig(item, "spec", "replicas", default=1)
            said = f"{status.get('readyReplicas', 0)} of {wanted} pods ready" if wanted else "scaled to zero"
        case r if r == DAEMON_SETS:
            said = f"{status.get('numberReady', 0)} of {status.get('desiredNumberScheduled', 0)} pods ready"
        case r if r == PODS:
            said = str(status.get("phase", "")) + (", ready" if condition(item, "Ready") else "")
        case r if r == JOBS:
            done = (
                "complete" if condition(item, "Complete") else "failed" if condition(item, "Failed") else "not finished"
            )
            said = f"{done}, {status.get('succeeded', 0)} succeeded, {status.get('failed', 0)} failed"
        case r if r == CRON_JOBS:
            last = status.get("lastSuccessfulTime")
            said = f"last success {ago(facts.age(last))} ago" if last else "has never succeeded yet"
        case r if r == NODES:
            said = "ready" if condition(item, "Ready") else "not ready"
        case r if r == CLAIMS:
            said = str(status.get("phase", ""))
        case _:
            said = ""
    return f"{ref}: {said}" if said else ""


def is_whole(facts: Facts) -> bool:
    """Whether the target, if it is a workload or a pod, is as it is meant to be by now."""
    ref, item = facts.target, facts.objects.get(facts.target)
    status = dig(item, "status", default={})
    if ref.resource in {DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS}:
        wanted = dig(item, "spec", "replicas", default=1)
        return bool(status.get("readyReplicas", 0) >= wanted and status.get("updatedReplicas", wanted) >= wanted)
    if ref.resource == DAEMON_SETS:
        return bool(status.get("numberReady", 0) >= status.get("desiredNumberScheduled", 0))
    return ref.resource != PODS or status.get("phase") == "Succeeded" or bool(condition(item, "Ready"))


def last_change(facts: Facts) -> str:
    """Return what the last rollout of the deployment in question changed, as long as its old revision is kept."""
    deployments = [facts.target, *(facts.owner(ref) for ref, _ in facts.all(PODS))]
    deployment = next((ref for ref in deployments if ref.resource == DEPLOYMENTS and ref in facts.objects), None)
    if deployment is None:
        return ""
    sets = sorted(_revisions(facts, deployment), key=lambda found: found[0])
    if len(sets) < 2:  # noqa: PLR2004  # two are needed to compare
        return ""
    (before, old), (after, new) = sets[-2:]
    differences = list(_differences(_template(old), _template(new)))
    what = "; ".join(differences[:4]) or "nothing in the pod template but labels or annotations"
    when = ago(facts.age(dig(new, "metadata", "creationTimestamp")))
    return f"revision {before} → {after} {when} ago: {what}"


def _revisions(facts: Facts, deployment: Ref) -> Iterator[tuple[int, Obj]]:
    for ref, item in facts.all(REPLICA_SETS, namespace=deployment.namespace):
        revision = str(dig(item, "metadata", "annotations", default={}).get(_REVISION, ""))
        if revision.isdecimal() and facts.owner(ref) == deployment:
            yield int(revision), item


def _template(item: Obj) -> Mapping[str, Any]:
    spec = dict(dig(item, "spec", "template", "spec", default={}))
    for kind in ("containers", "initContainers"):
        spec[kind] = {each["name"]: each for each in spec.get(kind) or ()}
    return spec


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    else:
        yield f"{path} {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004  # characters that tell a value from another
