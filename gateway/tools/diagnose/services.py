"""Rules about services: selectors, ports, endpoints, load balancers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.tools.diagnose.facts import DEPLOYMENTS, PODS, SERVICES, SLICES, STATEFUL_SETS, Facts, Ref
from gateway.tools.diagnose.links import is_wide
from gateway.tools.diagnose.objects import Obj, condition, dig, labels_of, selects
from gateway.tools.diagnose.pods import containers, live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, listed, quoted, read

_BALANCER_PATIENCE: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class _Service:
    """A service with a selector, and the pods that it selects."""

    ref: Ref
    item: Obj
    selector: Mapping[str, str]
    pods: tuple[tuple[Ref, Obj], ...]


def _services(facts: Facts) -> Iterator[_Service]:
    """Yield the services of which it is known what they select."""
    labelled: dict[tuple[str, str, str], list[tuple[Ref, Obj]]] = {}
    for pod, each in live_pods(facts):
        for key, value in labels_of(each).items():
            labelled.setdefault((pod.namespace, key, value), []).append((pod, each))
    for ref, item in facts.all(SERVICES):
        selector = dig(item, "spec", "selector", default={})
        if not selector or dig(item, "spec", "type") == "ExternalName":
            continue
        candidates = [labelled.get((ref.namespace, key, value), []) for key, value in selector.items()]
        found = tuple((pod, each) for pod, each in min(candidates, key=len) if selects(selector, labels_of(each)))
        # A list of pods that was cut, or made by another selector, does not show that there are none.
        if found or _all_pods_known(facts, ref):
            yield _Service(ref, item, selector, found)


def _all_pods_known(facts: Facts, ref: Ref) -> bool:
    whole = bool({(PODS, ref.namespace), (PODS, "")} & facts.complete)
    return whole or (facts.target == ref and not is_wide(facts.target) and _no_slice(facts, ref))


def _no_slice(facts: Facts, ref: Ref) -> bool:
    return not any(dig(each, "endpoints") for name, each in _slices(facts, ref))


def _slices(facts: Facts, ref: Ref) -> Iterator[tuple[Ref, Obj]]:
    for name, item in facts.all(SLICES, namespace=ref.namespace):
        if labels_of(item).get("kubernetes.io/service-name") == ref.name:
            yield name, item


def _written(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in selector.items())


def _scaled_down(facts: Facts, service: _Service) -> Found | None:
    if service.pods:
        return None
    for ref, item in facts.all(DEPLOYMENTS, STATEFUL_SETS, namespace=service.ref.namespace):
        labels = dig(item, "spec", "template", "metadata", "labels", default={})
        if selects(service.selector, labels) and dig(item, "spec", "replicas", default=1) == 0:
            cause = f"{service.ref} has no pods because {ref} is scaled to zero"
            evidence = Evidence(f"spec of {ref}", "replicas: 0")
            return Found(service.ref, cause, (evidence,), (change(f"set spec.replicas of {ref} to 1 or more"),))
    return None


def _starts_none(facts: Facts, service: _Service) -> Found | None:
    if service.pods:
        return None
    for ref, item in facts.all(DEPLOYMENTS, STATEFUL_SETS, namespace=service.ref.namespace):
        if selects(service.selector, dig(item, "spec", "template", "metadata", "labels", default={})):
            cause = f"{service.ref} has no pods: {ref} that it selects runs none"
            return Found(service.ref, cause, (), (read(ref),), because=(ref,))
    return None


def _selects_nothing(facts: Facts, service: _Service) -> Found | None:
    if service.pods:
        return None
    near = _nearest(facts, service)
    hint = f"; pods of {near[0]} have {near[1]}" if near else ""
    selector = _written(service.selector)
    step = change(f"correct spec.selector of {service.ref}{f' to {near[1]}' if near else ''}")
    evidence = Evidence(f"spec of {service.ref}", f"selector: {selector}")
    return Found(
        service.ref,
        f"{service.ref} selects no pods: no pod has {selector}{hint}",
        (evidence,),
        (step, listed(PODS, service.ref.namespace)),
    )


def _nearest(facts: Facts, service: _Service) -> tuple[Ref, str] | None:
    """Return the workload whose labels come nearest, and what the selector would have to be."""
    best: tuple[float, Ref, str] | None = None
    for ref, pod in live_pods(facts):
        labels = labels_of(pod)
        keys = [key for key in service.selector if key in labels]
        if ref.namespace != service.ref.namespace or not keys:
            continue
        score = max(_alike(service.selector[key], labels[key]) for key in keys)
        score = max(score, _alike(service.ref.name, labels[keys[0]]))
        if score > 0.5 and (best is None or score > best[0]):  # noqa: PLR2004  # more alike than not
            best = (score, facts.owner(ref), ", ".join(f"{key}={labels[key]}" for key in keys))
    return best[1:] if best else None


def _alike(one: str, other: str) -> float:
    common = sum(1 for a, b in zip(one, other, strict=False) if a == b)
    return common / max(len(one), len(other), 1)


def _port_name(_: Facts, service: _Service) -> Found | None:
    for port in dig(service.item, "spec", "ports", default=()):
        wanted = port.get("targetPort")
        if not isinstance(wanted, str) or wanted.isdecimal() or not service.pods:
            continue
        names = {name for ref, pod in service.pods[:3] for name, _ in _ports(ref, pod)}
        if wanted not in names:
            known = ", ".join(sorted(filter(None, names))) or "none with a name"
            cause = f"{service.ref} leads to port {wanted!r}, which its pods don't have; they have {known}"
            step = change(f"set spec.ports[].targetPort of {service.ref} to a port of its pods")
            return Found(service.ref, cause, (_port_evidence(service, port),), (step,))
    return None


def _port_number(_: Facts, service: _Service) -> Found | None:
    for port in dig(service.item, "spec", "ports", default=()):
        wanted = port.get("targetPort", port.get("port"))
        if isinstance(wanted, str) or not service.pods or port.get("protocol", "TCP") != "TCP":
            continue
        numbers = {number for ref, pod in service.pods[:3] for _, number in _ports(ref, pod)}
        if numbers and wanted not in numbers:
            known = ", ".join(map(str, sorted(numbers)))
            cause = f"{service.ref} leads to port {wanted}, but its pods declare {known}"
            step = change(f"set spec.ports[].targetPort of {service.ref} to {known}")
            return Found(service.ref, cause, (_port_evidence(service, port),), (step,))
    return None


def _port_evidence(service: _Service, port: Any) -> Evidence:
    return Evidence(f"spec of {service.ref}", f"port {port.get('port')} → targetPort {port.get('targetPort')}")


def _ports(ref: Ref, pod: Obj) -> Iterator[tuple[str, int]]:
    for container in containers(ref, pod):
        for port in container.spec.get("ports") or ():
            yield port.get("name", ""), port["containerPort"]


def _none_ready(facts: Facts, service: _Service) -> Found | None:
    if not service.pods or dig(service.item, "spec", "publishNotReadyAddresses"):
        return None
    ready = [ref for ref, pod in service.pods if condition(pod, "Ready")]
    if ready or all(dig(pod, "status", "phase") == "Succeeded" for _, pod in service.pods):
        return None
    owners = tuple(dict.fromkeys(facts.owner(ref) for ref, _ in service.pods))
    cause = f"{service.ref} has no ready endpoint: none of its {len(service.pods)} pods is ready"
    young = all(facts.age(dig(pod, "metadata", "creationTimestamp")) < timedelta(seconds=30) for _, pod in service.pods)
    return Found(
        service.ref, cause, (), tuple(read(owner) for owner in owners[:1]), owners, "notice" if young else None
    )


def _no_balancer(facts: Facts, service: _Service) -> Found | None:
    waits = dig(service.item, "spec", "type") == "LoadBalancer" and not dig(
        service.item, "status", "loadBalancer", "ingress"
    )
    if not waits or facts.age(dig(service.item, "metadata", "creationTimestamp")) < _BALANCER_PATIENCE:
        return None
    events = facts.events_of(service.ref)
    cause = f"{service.ref} of type LoadBalancer has got no address: no load-balancer controller has served it"
    return Found(service.ref, cause, tuple(quoted(event) for event in events[:1]), (read(service.ref),))


FAMILIES: Final = (
    Family(
        "Services",
        _services,
        (
            Rule(
                "service-scaled-to-zero",
                "The workload behind the service is scaled to zero.",
                "The service selects no pods, and a workload whose pods it would select has replicas 0.",
                "Scale it up, if the service should work.",
                _scaled_down,
                "notice",
            ),
            Rule(
                "service-workload-without-pods",
                "The workload behind the service runs no pods.",
                "The service selects no pods, and a workload whose pods it would select exists.",
                "See what keeps the workload from starting pods.",
                _starts_none,
            ),
            Rule(
                "service-selects-nothing",
                "The service's selector matches no pod.",
                "No pod of the namespace has the labels; the nearest labels are named.",
                "Correct the selector or the pods' labels.",
                _selects_nothing,
            ),
            Rule(
                "service-port-name",
                "The service leads to a named port that its pods don't have.",
                "targetPort is compared with the ports' names of the pods.",
                "Correct targetPort.",
                _port_name,
            ),
            Rule(
                "service-port-number",
                "The service leads to a port that its pods don't declare.",
                "targetPort is compared with the declared ports; pods that declare none are let pass.",
                "Correct targetPort, or declare the port.",
                _port_number,
                "warning",
            ),
            Rule(
                "service-no-ready-pods",
                "No pod of the service is ready.",
                "The pods' condition Ready; what is wrong with the pods takes this one's place.",
                "See what is wrong with the pods.",
                _none_ready,
            ),
            Rule(
                "service-no-load-balancer",
                "A service of type LoadBalancer waits for an address.",
                "Its status has none minutes after it was made.",
                "Install a load-balancer controller, or use another type.",
                _no_balancer,
                "warning",
            ),
        ),
    ),
)
