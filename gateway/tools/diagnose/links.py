"""Boundary between one object and those it stands with: what it leads to, and what concerns the target."""

from collections.abc import Iterator

from gateway.tools.diagnose.facts import (
    AUTOSCALERS,
    BUDGETS,
    CLAIMS,
    CRON_JOBS,
    INGRESSES,
    JOBS,
    KINDS,
    NAMESPACES,
    NODES,
    PODS,
    ROUTES,
    SERVICES,
    VOLUMES,
    Facts,
    Ref,
)
from gateway.tools.diagnose.objects import Obj, dig, labels_of, selects


def is_wide(target: Ref) -> bool:
    """Whether the target is a namespace or the cluster."""
    return target.resource == NAMESPACES


def backends(ref: Ref, item: Obj) -> Iterator[tuple[str, str | int | None]]:
    """Yield the services that an Ingress or a Route leads to, each with its port's name or number."""
    if ref.resource == ROUTES:
        for to in (dig(item, "spec", "to", default={}), *dig(item, "spec", "alternateBackends", default=())):
            if to.get("kind", "Service") == "Service" and to.get("name"):
                yield to["name"], dig(item, "spec", "port", "targetPort")
        return
    paths = [path for rule in dig(item, "spec", "rules", default=()) for path in dig(rule, "http", "paths", default=())]
    for backend in (dig(item, "spec", "defaultBackend", default={}), *(path.get("backend", {}) for path in paths)):
        if name := dig(backend, "service", "name"):
            port = dig(backend, "service", "port", default={})
            yield name, port.get("name") or port.get("number")


def last_jobs(facts: Facts, cron_job: Ref) -> list[Ref]:
    """Return the last job of a CronJob."""
    mine = [
        (str(dig(job, "metadata", "creationTimestamp", default="")), ref)
        for ref, job in facts.all(JOBS, namespace=cron_job.namespace)
        if any(
            o.get("kind") == "CronJob" and o.get("name") == cron_job.name
            for o in dig(job, "metadata", "ownerReferences", default=())
        )
    ]
    return [ref for _, ref in sorted(mine, reverse=True)[:1]]


def mine(facts: Facts) -> set[Ref]:
    """Return the target, what it is made of and what it depends on, so that others' trouble stays out."""
    target = facts.target
    found = {target, facts.owner(target), *_below(facts, target)}
    if target.resource == NODES:
        return found
    pods = [(ref, pod) for ref, pod in facts.all(PODS, namespace=target.namespace) if _belongs(facts, ref, pod, found)]
    for ref, pod in pods:
        found |= {ref, facts.owner(ref), Ref(NODES, "", dig(pod, "spec", "nodeName", default="")), *_claims(ref, pod)}
    for ref, item in facts.all(AUTOSCALERS, BUDGETS, SERVICES):
        if _is_about(facts, ref, item, found, [pod for _, pod in pods]):
            found.add(ref)
    return found


def _below(facts: Facts, target: Ref) -> Iterator[Ref]:
    """Yield what a target leads to by name."""
    item = facts.objects.get(target)
    if target.resource in {INGRESSES, ROUTES}:
        yield from (Ref(SERVICES, target.namespace, name) for name, _ in backends(target, item or {}))
    if target.resource == CRON_JOBS:
        yield from last_jobs(facts, target)
    if target.resource == AUTOSCALERS:
        aimed = dig(item, "spec", "scaleTargetRef", default={})
        yield Ref(KINDS.get(aimed.get("kind", ""), ""), target.namespace, aimed.get("name", ""))
    if target.resource == CLAIMS:
        yield Ref(VOLUMES, "", dig(item, "spec", "volumeName", default=""))


def _belongs(facts: Facts, ref: Ref, pod: Obj, known: set[Ref]) -> bool:
    if ref in known or facts.owner(ref) in known or known & set(_claims(ref, pod)):
        return True
    services = (facts.objects.get(each) for each in known if each.resource == SERVICES)
    return any(selects(dig(service, "spec", "selector", default={}), labels_of(pod)) for service in services)


def _claims(ref: Ref, pod: Obj) -> Iterator[Ref]:
    for volume in dig(pod, "spec", "volumes", default=()):
        if name := dig(volume, "persistentVolumeClaim", "claimName"):
            yield Ref(CLAIMS, ref.namespace, name)


def _is_about(facts: Facts, ref: Ref, item: Obj, known: set[Ref], pods: list[Obj]) -> bool:
    if facts.target.resource in {SERVICES, INGRESSES, ROUTES, BUDGETS, AUTOSCALERS} and ref.resource == SERVICES:
        return ref in known
    if ref.resource == AUTOSCALERS:
        aimed = dig(item, "spec", "scaleTargetRef", default={})
        return Ref(KINDS.get(aimed.get("kind", ""), ""), ref.namespace, aimed.get("name", "")) in known
    selector = dig(item, "spec", "selector", default={})
    return any(
        selects(selector.get("matchLabels", {}) if ref.resource == BUDGETS else selector, labels_of(pod))
        for pod in pods
    )
