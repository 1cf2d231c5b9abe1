"""Rules about what stands above workloads: namespaces stuck in deletion, aggregated APIs, budgets, certificates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.tools.diagnose.facts import API_SERVICES, BUDGETS, NAMESPACES, Facts, Ref
from gateway.tools.diagnose.objects import Obj, ago, condition, dig, when
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Severity, change, listed, read

_SOON: Final = timedelta(days=14)
_PATIENCE: Final = timedelta(seconds=30)
_HOLDS: Final = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceFinalizersRemaining",
    "NamespaceContentRemaining",
)


@dataclass(frozen=True, slots=True)
class _Item:
    """One object."""

    ref: Ref
    item: Obj


def _of(*resources: str) -> Any:
    def items(facts: Facts) -> Iterator[_Item]:
        for ref, item in facts.all(*resources):
            yield _Item(ref, item)

    return items


def _terminating(facts: Facts, space: _Item) -> Found | None:
    since = dig(space.item, "metadata", "deletionTimestamp")
    if not since or facts.age(since) < _PATIENCE:
        return None
    said = next((found for kind in _HOLDS if (found := condition(space.item, kind))), None)
    why = str(said.get("message", "")) if said else "its finalizers are still there"
    evidence = (Evidence(f"condition {said['type']} of {space.ref}", why),) if said else ()
    cause = f"{space.ref} is stuck in deletion since {ago(facts.age(since))}: {why[:220]}"
    step = (
        listed("apiservices")
        if said and said["type"] == _HOLDS[0]
        else change(
            "have the controllers of the named finalizers do their work; remove one only if its controller is gone"
        )
    )
    return Found(space.ref, cause, evidence, (step, read(space.ref)))


def _api_down(facts: Facts, service: _Item) -> Found | None:
    said = condition(service.item, "Available", "False")
    if said is None:
        return None
    cause = f"{service.ref} is not available: {said.get('reason', '')}: {str(said.get('message', ''))[:160]}"
    behind = dig(service.item, "spec", "service", default={})
    evidence = Evidence(f"condition Available of {service.ref}", str(said.get("message", "")))
    steps = (read(Ref("services", behind["namespace"], behind["name"])),) if behind else (read(service.ref),)
    because = (Ref("services", behind["namespace"], behind["name"]),) if behind else ()
    known = tuple(ref for ref in because if ref in facts.objects)
    return Found(service.ref, cause, (evidence,), steps, known)


def _blocks(facts: Facts, budget: _Item) -> Found | None:
    status = dig(budget.item, "status", default={})
    expected, healthy = status.get("expectedPods", 0), status.get("currentHealthy", 0)
    needed = status.get("desiredHealthy", 0)
    if status.get("disruptionsAllowed", 1) or not expected or healthy < needed or not _concerns(facts, budget):
        return None
    spec = budget.item["spec"]
    rule = "minAvailable" if "minAvailable" in spec else "maxUnavailable"
    cause = (
        f"{budget.ref} allows no disruption even now that all is well ({rule}: {spec.get(rule)}, {healthy} of "
        f"{expected} pods healthy), so nodes can't be drained"
    )
    evidence = Evidence(
        f"status of {budget.ref}", f"disruptionsAllowed 0, desiredHealthy {needed}, expectedPods {expected}"
    )
    step = change(f"let {budget.ref} spare a pod, or run more replicas")
    severity: Severity = "warning" if facts.target.resource == BUDGETS or facts.target.name == "" else "notice"
    return Found(budget.ref, cause, (evidence,), (step,), severity=severity)


def _concerns(facts: Facts, budget: _Item) -> bool:
    """Whether the budget is about what was asked: any in a namespace, a workload's own otherwise."""
    if facts.target.resource in {NAMESPACES, BUDGETS, "nodes"}:
        return True
    selector = dig(budget.item, "spec", "selector", "matchLabels", default={})
    labels = dig(facts.objects.get(facts.target), "spec", "template", "metadata", "labels", default={})
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _selects_none(facts: Facts, budget: _Item) -> Found | None:
    status = dig(budget.item, "status", default={})
    if (
        facts.target.resource not in {BUDGETS, NAMESPACES}
        or status.get("expectedPods", 1)
        or not status.get("observedGeneration")
    ):
        return None
    return Found(budget.ref, f"{budget.ref} protects nothing: its selector matches no pods", (), (read(budget.ref),))


def _ending(facts: Facts) -> Iterator[_Item]:
    for ref, item in facts.objects.items():
        if dig(item, "status", "notAfter"):
            yield _Item(ref, item)


def _expires(facts: Facts, item: _Item) -> Found | None:
    moment = when(dig(item.item, "status", "notAfter"))
    renewal = when(dig(item.item, "status", "renewalTime"))
    if moment is None or moment - facts.now > _SOON or (renewal and renewal > facts.now):
        return None
    left = moment - facts.now
    said = f"expired {ago(-left)} ago" if left < timedelta(0) else f"expires in {ago(left)}"
    ready = condition(item.item, "Ready", "False") or condition(item.item, "Issuing", "True") or {}
    why = f": {str(ready.get('message', ''))[:160]}" if ready.get("message") else ""
    evidence = Evidence(f"status of {item.ref}", f"notAfter: {dig(item.item, 'status', 'notAfter')}")
    severity: Severity = "critical" if left < timedelta(0) else "warning"
    return Found(item.ref, f"{item.ref} {said}{why}", (evidence,), (read(item.ref),), severity=severity)


def _others(facts: Facts) -> Iterator[_Item]:
    """Yield the target where no family knows its kind."""
    item = facts.objects.get(facts.target)
    if item and facts.target.resource not in _KNOWN:
        yield _Item(facts.target, item)


_KNOWN: Final = frozenset(
    {
        "pods", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch",
        "cronjobs.batch", "services", "ingresses.networking.k8s.io", "persistentvolumeclaims", "nodes",
        "horizontalpodautoscalers.autoscaling", "namespaces", "poddisruptionbudgets.policy", API_SERVICES,
    }
)  # fmt: skip


def _unwell(facts: Facts, item: _Item) -> Found | None:
    for kind in ("Ready", "Available", "Established", "Healthy", "Synced", "Reconciled"):
        if said := condition(item.item, kind, "False"):
            text = f"{said.get('reason', '')}: {said.get('message', '')}"
            events = [event for event in facts.events_of(item.ref) if event.warning][:1]
            evidence = (
                Evidence(f"condition {kind} of {item.ref}", text),
                *(Evidence(e.source, e.message) for e in events),
            )
            return Found(item.ref, f"{item.ref} is not {kind}: {text[:220]}", evidence, (read(item.ref),))
    return None


FAMILIES: Final = (
    Family(
        "Namespaces",
        _of(NAMESPACES),
        (
            Rule(
                "namespace-stuck",
                "A namespace can't be deleted.",
                "deletionTimestamp is past, and its conditions name finalizers, content or an API that is down.",
                "See to what the condition names.",
                _terminating,
            ),
        ),
    ),
    Family(
        "Aggregated APIs",
        _of(API_SERVICES),
        (
            Rule(
                "api-service-down",
                "An aggregated API does not answer.",
                "Condition Available of the APIService is False.",
                "Mend the service behind it.",
                _api_down,
            ),
        ),
    ),
    Family(
        "Disruption budgets",
        _of(BUDGETS),
        (
            Rule(
                "budget-blocks",
                "A disruption budget never allows any disruption, so drains hang.",
                "disruptionsAllowed is 0 although enough pods are healthy.",
                "Let it spare one, or run more replicas.",
                _blocks,
                "warning",
            ),
            Rule(
                "budget-selects-none",
                "A disruption budget protects no pod.",
                "expectedPods is 0.",
                "Correct its selector, if it should.",
                _selects_none,
                "notice",
            ),
        ),
    ),
    Family(
        "Certificates",
        _ending,
        (
            Rule(
                "certificate-expires",
                "A certificate expires within two weeks, or has expired.",
                "status.notAfter of an object that has one, such as a Certificate, past its renewal time.",
                "See why it is not renewed.",
                _expires,
                "warning",
            ),
        ),
    ),
    Family(
        "Other kinds",
        _others,
        (
            Rule(
                "condition-false",
                "The object itself says that it is not well.",
                "A condition such as Ready, Available or Healthy is False; asked only about the object that is named.",
                "Read the quoted message.",
                _unwell,
            ),
        ),
    ),
)
