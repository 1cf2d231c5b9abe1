"""Rules about what leads in from outside: ingresses and routes, their classes and what they lead to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.tools.diagnose.facts import INGRESS_CLASSES, INGRESSES, ROUTES, SERVICES, Facts, Ref
from gateway.tools.diagnose.links import backends
from gateway.tools.diagnose.objects import Obj, dig
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, listed, read

_DEFAULT: Final = "ingressclass.kubernetes.io/is-default-class"
_OLD_CLASS: Final = "kubernetes.io/ingress.class"


@dataclass(frozen=True, slots=True)
class _Entry:
    """An Ingress or a Route."""

    ref: Ref
    item: Obj


def _entries(facts: Facts) -> Iterator[_Entry]:
    for ref, item in facts.all(INGRESSES, ROUTES):
        yield _Entry(ref, item)


def _service_missing(facts: Facts, entry: _Entry) -> Found | None:
    for name, _ in backends(entry.ref, entry.item):
        if facts.is_absent(SERVICES, entry.ref.namespace, name):
            cause = f"{entry.ref} leads to service {entry.ref.namespace}/{name}, which does not exist"
            evidence = Evidence(f"spec of {entry.ref}", f"backend service: {name}")
            steps = (
                change(f"correct the backend of {entry.ref}, or create the service"),
                listed(SERVICES, entry.ref.namespace),
            )
            return Found(entry.ref, cause, (evidence,), steps)
    return None


def _port_missing(facts: Facts, entry: _Entry) -> Found | None:
    for name, port in backends(entry.ref, entry.item):
        service = facts.get(SERVICES, entry.ref.namespace, name)
        ports = [
            (each.get("name"), each.get("port"), each.get("targetPort"))
            for each in dig(service, "spec", "ports", default=())
        ]
        if service is None or port is None or any(port in each for each in ports):
            continue
        has = ", ".join(str(number) for _, number, _ in ports)
        cause = f"{entry.ref} leads to port {port} of service {entry.ref.namespace}/{name}, which has {has or 'none'}"
        evidence = Evidence(f"spec of {entry.ref}", f"backend: service {name}, port {port}")
        return Found(entry.ref, cause, (evidence,), (change(f"correct the backend's port of {entry.ref}"),))
    return None


def _class_missing(facts: Facts, entry: _Entry) -> Found | None:
    wanted = dig(entry.item, "spec", "ingressClassName")
    if entry.ref.resource != INGRESSES or not wanted or not facts.is_absent(INGRESS_CLASSES, "", wanted):
        return None
    known = ", ".join(ref.name for ref, _ in facts.all(INGRESS_CLASSES)) or "none"
    cause = f"{entry.ref} wants ingress class {wanted!r}, which does not exist; there is {known}"
    evidence = Evidence(f"spec of {entry.ref}", f"ingressClassName: {wanted}")
    return Found(entry.ref, cause, (evidence,), (change(f"correct spec.ingressClassName of {entry.ref}"),))


def _no_class(facts: Facts, entry: _Entry) -> Found | None:
    if entry.ref.resource != INGRESSES or dig(entry.item, "spec", "ingressClassName"):
        return None
    if _OLD_CLASS in dig(entry.item, "metadata", "annotations", default={}) or not _classes_known(facts):
        return None
    if dig(entry.item, "status", "loadBalancer", "ingress"):
        return None
    for _, each in facts.all(INGRESS_CLASSES):
        if dig(each, "metadata", "annotations", default={}).get(_DEFAULT) == "true":
            return None
    known = ", ".join(ref.name for ref, _ in facts.all(INGRESS_CLASSES)) or "none at all"
    cause = (
        f"{entry.ref} names no ingress class and no class is the default, so no controller serves it; there is {known}"
    )
    evidence = Evidence(f"spec of {entry.ref}", "no ingressClassName")
    return Found(entry.ref, cause, (evidence,), (change(f"set spec.ingressClassName of {entry.ref}"),), (), "warning")


def _classes_known(facts: Facts) -> bool:
    return (INGRESS_CLASSES, "") in facts.complete


def _not_admitted(_: Facts, entry: _Entry) -> Found | None:
    for ingress in dig(entry.item, "status", "ingress", default=()) if entry.ref.resource == ROUTES else ():
        for each in ingress.get("conditions") or ():
            if each.get("type") == "Admitted" and each.get("status") == "False":
                said = f"{each.get('reason', '')}: {each.get('message', '')}"
                cause = f"{entry.ref} is not admitted by router {ingress.get('routerName', '')}: {said[:160]}"
                evidence = Evidence(f"status of {entry.ref}", said)
                return Found(entry.ref, cause, (evidence,), (read(entry.ref),))
    return None


def _behind(facts: Facts, entry: _Entry) -> Found | None:
    services = tuple(
        dict.fromkeys(Ref(SERVICES, entry.ref.namespace, name) for name, _ in backends(entry.ref, entry.item))
    )
    troubled = tuple(ref for ref in services if ref in facts.objects)
    if not troubled:
        return None
    # Says nothing by itself: it is shown only below what is wrong with a service behind it.
    return Found(entry.ref, f"{entry.ref} leads there", because=troubled, silent=True)


FAMILIES: Final = (
    Family(
        "Ingresses and routes",
        _entries,
        (
            Rule(
                "ingress-service-missing",
                "It leads to a service that does not exist.",
                "The backends' names are compared with the namespace's services.",
                "Correct the backend or create the service.",
                _service_missing,
            ),
            Rule(
                "ingress-port-missing",
                "It leads to a port that the service does not have.",
                "The backends' ports are compared with the service's.",
                "Correct the backend's port.",
                _port_missing,
            ),
            Rule(
                "ingress-class-missing",
                "Its ingress class does not exist.",
                "spec.ingressClassName is compared with the cluster's ingress classes.",
                "Correct the name or install the controller.",
                _class_missing,
            ),
            Rule(
                "ingress-no-class",
                "It names no class and there is no default, so nobody serves it.",
                "No ingressClassName, no default class, and no address in its status.",
                "Name a class.",
                _no_class,
                "warning",
            ),
            Rule(
                "route-not-admitted",
                "The router refuses the route.",
                "Its condition Admitted is False.",
                "The router's message says why.",
                _not_admitted,
            ),
            Rule(
                "ingress-behind",
                "What it leads to is in trouble.",
                "A finding about a service behind it; never shown by itself.",
                "Mend the service.",
                _behind,
                "notice",
            ),
        ),
    ),
)
