"""Boundary between a line of a log and the cluster: what is not reached, which service it is, what is between."""

import re
from collections.abc import Iterator
from typing import Final

from gateway.tools.diagnose.facts import NETWORK_POLICIES, SERVICES, Facts, Ref
from gateway.tools.diagnose.objects import dig, labels_of, selects
from gateway.tools.diagnose.pods import Container

_PEER: Final = re.compile(r"\b((?:[a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z][a-z0-9-]*|\d+\.\d+\.\d+\.\d+):(\d{2,5})\b")
_HOST: Final = re.compile(
    r"(?:lookup|resolve|address|host|ENOTFOUND|to) [\"'(]?(?!remote|host)(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*)",
    re.IGNORECASE,
).search


def limiting(facts: Facts, container: Container) -> Iterator[Ref]:
    """Yield the network policies that limit where a pod may connect to."""
    for ref, item in facts.all(NETWORK_POLICIES, namespace=container.ref.namespace):
        selector = dig(item, "spec", "podSelector", "matchLabels", default={})
        applies = not selector or selects(selector, labels_of(container.pod))
        if applies and "Egress" in dig(item, "spec", "policyTypes", default=()):
            yield ref


def peer_of(facts: Facts, container: Container, line: str) -> tuple[str, tuple[Ref, ...]]:
    """Return what a line of a log says can't be reached, and the service that it is, if it is known."""
    ports = _PEER.search(line)
    host = _HOST(line)
    name = ports[1] if ports else host["host"] if host else ""
    if not name or name[0].isdigit():
        found = (ref for ref, item in facts.all(SERVICES) if name and dig(item, "spec", "clusterIP") == name)
        return (f"{name}:{ports[3]}" if ports else name), tuple(found)
    service, _, rest = name.partition(".")
    ref = Ref(SERVICES, rest.partition(".")[0] or container.ref.namespace, service)
    shown = f"{name}:{ports[3]}" if ports else name
    if facts.is_absent(ref.resource, ref.namespace, ref.name) and "." not in name:
        return f"{shown} (namespace {ref.namespace} has no such service)", ()
    return shown, ((ref,) if ref in facts.objects else ())
