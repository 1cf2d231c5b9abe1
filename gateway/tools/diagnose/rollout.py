"""Rules about rollouts: past their deadline, paused, short of pods, and what nothing else explains."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.tools.diagnose.facts import DAEMON_SETS, DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS, Facts, Ref
from gateway.tools.diagnose.objects import Obj, changed_at, condition, dig, when
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Severity, change, listed, read

_PATIENCE: Final = timedelta(minutes=2)
"""How long a rollout may go on before missing pods mean something by themselves."""


_GOING_ON: Final = frozenset({"ReplicaSetUpdated", "NewReplicaSetCreated", "FoundNewReplicaSet"})
"""Reasons of the condition Progressing while a rollout is within its deadline."""


@dataclass(frozen=True, slots=True)
class _Workload:
    """A workload and how many pods it wants and has."""

    ref: Ref
    item: Obj
    wanted: int
    ready: int
    updated: int

    @property
    def status(self) -> Any:
        return dig(self.item, "status", default={})


def _workloads(facts: Facts) -> Iterator[_Workload]:
    for ref, item in facts.all(DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS):
        status = dig(item, "status", default={})
        if ref.resource == DAEMON_SETS:
            wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            yield _Workload(ref, item, wanted, ready, status.get("updatedNumberScheduled", 0))
        else:
            wanted = dig(item, "spec", "replicas", default=1)
            yield _Workload(ref, item, wanted, status.get("readyReplicas", 0), status.get("updatedReplicas", 0))


def _past_deadline(_: Facts, work: _Workload) -> Found | None:
    said = condition(work.item, "Progressing", "False")
    if not said or said.get("reason") != "ProgressDeadlineExceeded":
        return None
    seconds = dig(work.item, "spec", "progressDeadlineSeconds", default=600)
    cause = f"the rollout of {work.ref} made no progress for {seconds} s: {work.ready} of {work.wanted} pods ready"
    evidence = Evidence(f"condition Progressing of {work.ref}", str(said.get("message", "")))
    step = listed(PODS, work.ref.namespace)
    return Found(work.ref, cause, (evidence,), (step,), because=(work.ref,))


def _paused(_: Facts, work: _Workload) -> Found | None:
    if not dig(work.item, "spec", "paused"):
        return None
    behind = work.updated < work.wanted
    waits = f": {work.updated} of {work.wanted} pods have the new template" if behind else ""
    cause = f"the rollout of {work.ref} is paused (spec.paused: true){waits}"
    evidence = Evidence(f"spec of {work.ref}", "paused: true")
    step = change(f"set spec.paused of {work.ref} to false to go on")
    return Found(work.ref, cause, (evidence,), (step,), severity="warning" if behind else "notice")


def _not_observed(facts: Facts, work: _Workload) -> Found | None:
    generation = dig(work.item, "metadata", "generation", default=0)
    seen = work.status.get("observedGeneration", 0)
    changed = changed_at(work.item)
    if seen >= generation or changed is None or facts.now - changed < timedelta(seconds=30):
        return None
    cause = f"no controller has looked at the last change of {work.ref}: generation {generation}, observed {seen}"
    evidence = Evidence(f"status of {work.ref}", f"observedGeneration: {seen}")
    return Found(work.ref, cause, (evidence,), (read(work.ref),))


def _held_back(_: Facts, work: _Workload) -> Found | None:
    strategy = dig(work.item, "spec", "updateStrategy", default={})
    partition = dig(strategy, "rollingUpdate", "partition", default=0)
    manual = strategy.get("type") == "OnDelete"
    if work.updated >= work.wanted or not (partition or manual):
        return None
    why = "updateStrategy OnDelete" if manual else f"partition {partition}"
    cause = f"{work.wanted - work.updated} of {work.wanted} pods of {work.ref} keep the old template because of {why}"
    return Found(work.ref, cause, (Evidence(f"spec of {work.ref}", f"updateStrategy: {why}"),))


def _service_missing(facts: Facts, work: _Workload) -> Found | None:
    name = dig(work.item, "spec", "serviceName")
    if work.ref.resource != STATEFUL_SETS or not name or not facts.is_absent("services", work.ref.namespace, name):
        return None
    cause = f"{work.ref} names service {name} for its pods' host names, which does not exist"
    return Found(
        work.ref, cause, (Evidence(f"spec of {work.ref}", f"serviceName: {name}"),), (change(f"create service {name}"),)
    )


def _no_node(_: Facts, work: _Workload) -> Found | None:
    if work.ref.resource != DAEMON_SETS or work.wanted:
        return None
    selector = dig(work.item, "spec", "template", "spec", "nodeSelector", default={})
    wanted = ", ".join(f"{key}={value}" for key, value in selector.items()) or "its affinity and tolerations"
    cause = f"{work.ref} runs nowhere: no node matches {wanted}"
    return Found(work.ref, cause, (Evidence(f"status of {work.ref}", "desiredNumberScheduled: 0"),), (listed("nodes"),))


def _short(facts: Facts, work: _Workload) -> Found | None:
    changed = [
        when(each.get("lastUpdateTime") or each.get("lastTransitionTime"))
        for each in work.status.get("conditions") or ()
    ]
    last = max((moment for moment in changed if moment), default=when(dig(work.item, "metadata", "creationTimestamp")))
    going = (condition(work.item, "Progressing") or {}).get("reason") in _GOING_ON
    young = any(
        facts.age(dig(pod, "metadata", "creationTimestamp")) < _PATIENCE and facts.owner(ref) == work.ref
        for ref, pod in facts.all(PODS, namespace=work.ref.namespace)
    )
    if work.ready >= work.wanted or going or young or (last and facts.now - last < _PATIENCE):
        return None
    cause = f"{work.ref} has {work.ready} of {work.wanted} pods ready"
    severity: Severity = "critical" if not work.ready else "warning"
    step = listed(PODS, work.ref.namespace)
    return Found(work.ref, cause, (), (step,), because=(work.ref,), severity=severity)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """An object that is being deleted."""

    ref: Ref
    item: Obj


def _leaving(facts: Facts) -> Iterator[_Leaving]:
    for ref, item in facts.objects.items():
        if dig(item, "metadata", "deletionTimestamp") and ref.resource not in {"namespaces", "persistentvolumeclaims"}:
            yield _Leaving(ref, item)


def _stuck(facts: Facts, leaving: _Leaving) -> Found | None:
    since = facts.age(leaving.item["metadata"]["deletionTimestamp"])
    finalizers = dig(leaving.item, "metadata", "finalizers", default=())
    if since < timedelta(seconds=30) + _grace(leaving.item):
        return None
    held = f"finalizer {', '.join(finalizers)}" if finalizers else "its node does not confirm it"
    cause = f"{leaving.ref} is being deleted since {int(since.total_seconds())} s and is held by {held}"
    evidence = Evidence(
        f"metadata of {leaving.ref}", f"deletionTimestamp {leaving.item['metadata']['deletionTimestamp']}"
    )
    step = change(
        "have the controller of the finalizer do its work; remove the finalizer only if that controller is gone"
    )
    subject = facts.owner(leaving.ref) if leaving.ref.resource in {PODS, REPLICA_SETS} else leaving.ref
    return Found(subject, cause, (evidence,), (step,) if finalizers else (read(leaving.ref),), severity="warning")


def _grace(item: Obj) -> timedelta:
    # The API server sets deletionTimestamp to the end of the grace period already.
    return timedelta(seconds=0 if "deletionGracePeriodSeconds" in item["metadata"] else 30)


FAMILIES: Final = (
    Family(
        "Rollouts",
        _workloads,
        (
            Rule(
                "rollout-paused",
                "The rollout is paused.",
                "spec.paused is true. It is a warning while pods have the old template.",
                "Resume it.",
                _paused,
                "notice",
            ),
            Rule(
                "rollout-deadline",
                "The rollout has made no progress within its deadline.",
                "Condition Progressing is False; what is wrong with the pods takes its place.",
                "See what is wrong with the new pods.",
                _past_deadline,
            ),
            Rule(
                "rollout-not-observed",
                "The controller does not run, or can't keep up.",
                "observedGeneration is behind generation half a minute after the last change.",
                "Look at the controller manager.",
                _not_observed,
            ),
            Rule(
                "rollout-held-back",
                "Pods keep the old template because the update strategy says so.",
                "The strategy OnDelete, or a partition.",
                "Nothing, if it is meant.",
                _held_back,
                "notice",
            ),
            Rule(
                "rollout-service-missing",
                "The headless service of a stateful set does not exist.",
                "spec.serviceName is compared with the namespace's services.",
                "Create it, or the pods have no host names.",
                _service_missing,
                "warning",
            ),
            Rule(
                "rollout-no-node",
                "A daemon set matches no node.",
                "desiredNumberScheduled is 0.",
                "Correct the selector, if it should run somewhere.",
                _no_node,
                "notice",
            ),
            Rule(
                "rollout-short",
                "A workload has fewer ready pods than it wants for minutes.",
                "Its status; what is wrong with the pods takes this one's place.",
                "Look at its pods.",
                _short,
            ),
        ),
    ),
    Family(
        "Stuck deletions",
        _leaving,
        (
            Rule(
                "deletion-stuck",
                "An object can't go because of a finalizer, or because its node is silent.",
                "deletionTimestamp is long past.",
                "See to the controller that owns the finalizer.",
                _stuck,
                "warning",
            ),
        ),
    ),
)
