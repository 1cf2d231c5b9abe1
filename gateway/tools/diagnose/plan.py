"""Boundary between what is known and what to read next: pure, in order of use, so that a bound cuts the least useful.

A target is one object, a namespace (its own object is the target) or the whole cluster (an empty name).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.tools.diagnose.facts import (
    API_SERVICES,
    AUTOSCALERS,
    BUDGETS,
    CERTIFICATES,
    CLAIMS,
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    INGRESS_CLASSES,
    INGRESSES,
    JOBS,
    KINDS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    ROUTES,
    SERVICES,
    SLICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUMES,
    WORKLOADS,
    Facts,
    Ref,
)
from gateway.tools.diagnose.links import backends, is_wide, last_jobs, mine
from gateway.tools.diagnose.logs import UNREACHED
from gateway.tools.diagnose.objects import Obj, dig, labels_of, selects
from gateway.tools.diagnose.pods import Container, containers, live_pods

_MANY: Final = 300
"""Items of one list: some megabytes at most, whatever the size of the cluster."""
_FEW_PODS: Final = 100
_OWN_KINDS: Final = {resource: kind for kind, resource in KINDS.items()}
_BEYOND: Final = 6
"""Pods that are read by their names because events speak of them."""
_CALM: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
OPTIONAL: Final = frozenset({ROUTES, CERTIFICATES})
"""Kinds that many clusters don't serve, which is nothing to be told."""


@dataclass(frozen=True, slots=True)
class Read:
    """One request: an object, a list, or the log of a pod's container."""

    resource: str
    namespace: str = ""
    name: str = ""
    labels: str = ""
    fields: str = ""
    limit: int = 0
    container: str = ""
    previous: bool = False

    @property
    def ref(self) -> Ref:
        """The object that is read."""
        return Ref(self.resource, self.namespace, self.name)


def wanted(facts: Facts) -> Iterator[Read]:
    """Yield what would be good to have, the most useful first; what was read already may be among it."""
    target = facts.target
    if is_wide(target):
        yield from _wide(target.name)
    else:
        yield _get(target)
        yield _events(target)
        yield from _about(facts, target)
    yield from _follow(facts, most=8 if is_wide(target) else 2)


def _get(ref: Ref) -> Read:
    return Read(ref.resource, ref.namespace, ref.name)


def _events(ref: Ref) -> Read:
    kind = _OWN_KINDS.get(ref.resource)
    about = f"involvedObject.kind={kind},involvedObject.name={ref.name}" if kind else f"involvedObject.name={ref.name}"
    return Read(EVENTS, ref.namespace, fields=about, limit=_FEW_PODS)


def _wide(namespace: str) -> Iterator[Read]:
    """Yield the lists of a namespace, or of the cluster."""
    if namespace:
        yield Read(NAMESPACES, name=namespace)
    else:
        yield Read(NODES, limit=_MANY)
        yield Read(NAMESPACES, limit=_MANY)
    yield Read(PODS, namespace, limit=_MANY)
    yield Read(EVENTS, namespace, fields="type=Warning", limit=_MANY)
    if not namespace:
        yield Read(PODS, fields="status.phase=Pending", limit=_FEW_PODS)
        yield Read(PODS, fields="status.phase=Failed", limit=_FEW_PODS)
        yield Read(API_SERVICES, limit=_MANY)
    own = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS, CLAIMS, SERVICES, SLICES, INGRESSES, AUTOSCALERS)
    for resource in (*own, BUDGETS, QUOTAS, ROUTES, CERTIFICATES):
        yield Read(resource, namespace, limit=_MANY)
    yield Read(INGRESS_CLASSES, limit=_FEW_PODS)


def _about(facts: Facts, ref: Ref) -> Iterator[Read]:
    """Yield what belongs to one object, by its kind."""
    item = facts.objects.get(ref)
    if item is not None and ref.resource in _ABOUT:
        yield from _ABOUT[ref.resource](facts, ref, item)


def _of_workload(_: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    yield Read(PODS, ref.namespace, labels=_selector(item), limit=_FEW_PODS)
    if ref.resource == DEPLOYMENTS:
        yield Read(REPLICA_SETS, ref.namespace, labels=_selector(item), limit=_FEW_PODS)
    for resource in (SERVICES, AUTOSCALERS, BUDGETS):
        yield Read(resource, ref.namespace, limit=_MANY)


def _of_pod(facts: Facts, ref: Ref, _: Obj) -> Iterator[Read]:
    yield from _above(facts, ref)
    yield Read(SERVICES, ref.namespace, limit=_MANY)


def _of_job(_: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    yield Read(PODS, ref.namespace, labels=_selector(item), limit=_FEW_PODS)


def _of_cron_job(facts: Facts, ref: Ref, _: Obj) -> Iterator[Read]:
    yield Read(JOBS, ref.namespace, limit=_MANY)
    for job in last_jobs(facts, ref):
        yield from _about(facts, job)


def _of_claim(_: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    yield Read(STORAGE_CLASSES, limit=_FEW_PODS)
    volume = dig(item, "spec", "volumeName", default="")
    yield Read(VOLUMES, name=volume, limit=0 if volume else _MANY)
    yield Read(PODS, ref.namespace, limit=_MANY)


def _of_autoscaler(facts: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    aimed = dig(item, "spec", "scaleTargetRef", default={})
    if resource := KINDS.get(aimed.get("kind", "")):
        scaled = Ref(resource, ref.namespace, aimed["name"])
        yield _get(scaled)
        yield from _about(facts, scaled)


def _of_node(_: Facts, ref: Ref, __: Obj) -> Iterator[Read]:
    yield Read(PODS, fields=f"spec.nodeName={ref.name}", limit=_MANY)
    yield Read(NODES, limit=_MANY)


def _of_budget(_: Facts, ref: Ref, __: Obj) -> Iterator[Read]:
    yield Read(PODS, ref.namespace, limit=_MANY)


def _above(facts: Facts, ref: Ref) -> Iterator[Read]:
    """Yield the workload a pod belongs to."""
    owner = facts.owner(ref)
    if owner != ref:
        yield _get(owner)
        if owner.resource == DEPLOYMENTS and (item := facts.objects.get(owner)):
            yield Read(REPLICA_SETS, ref.namespace, labels=_selector(item), limit=_FEW_PODS)


def _of_service(facts: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    selector = dig(item, "spec", "selector", default={})
    yield Read(SLICES, ref.namespace, labels=f"kubernetes.io/service-name={ref.name}", limit=_FEW_PODS)
    if not selector:
        return
    own = Read(
        PODS, ref.namespace, labels=",".join(f"{key}={value}" for key, value in selector.items()), limit=_FEW_PODS
    )
    yield own
    pods = [pod for pod, each in facts.all(PODS, namespace=ref.namespace) if selects(selector, labels_of(each))]
    # What the selector misses by a letter is among the others; who starts no pods may be scaled down.
    if not pods and (PODS, f"{own.namespace}?{own.labels}") in facts.complete:
        yield Read(PODS, ref.namespace, limit=_MANY)
        yield Read(DEPLOYMENTS, ref.namespace, limit=_MANY)
    for owner in dict.fromkeys(facts.owner(pod) for pod in pods[:1]):
        yield _get(owner)


def _of_ingress(facts: Facts, ref: Ref, item: Obj) -> Iterator[Read]:
    for name in dict.fromkeys(name for name, _ in backends(ref, item)):
        service = Ref(SERVICES, ref.namespace, name)
        yield _get(service)
    if ref.resource == INGRESSES:
        yield Read(INGRESS_CLASSES, limit=_FEW_PODS)
    for name in dict.fromkeys(name for name, _ in backends(ref, item)):
        service = Ref(SERVICES, ref.namespace, name)
        if found := facts.objects.get(service):
            yield from _of_service(facts, service, found)


def _follow(facts: Facts, most: int) -> Iterator[Read]:
    """Yield what the trouble that is known by now asks for."""
    pods = _examples(facts, most)
    if not is_wide(facts.target):
        yield from (_events(ref) for ref, _ in pods if ref != facts.target)
    else:
        yield from _beyond(facts)
    for ref, pod in pods:
        yield from _log_reads(ref, pod)
    for ref, pod in pods:
        yield from _config_maps(ref, pod)
    if any(UNREACHED(line) for lines in facts.logs.values() for line in lines):
        space = facts.target.name if is_wide(facts.target) else facts.target.namespace
        yield Read(NETWORK_POLICIES, space, limit=_MANY)
    yield from _placement(facts, pods)
    yield from _storage(facts)


def _beyond(facts: Facts) -> Iterator[Read]:
    """Yield pods in trouble, as their events say, that stand beyond the page of pods that was read."""
    newest = sorted(facts.events, key=lambda event: event.last or facts.now, reverse=True)
    named = (event.about for event in newest if event.about.resource == PODS)
    # One pod of each workload will do; a pod's name is its workload's and two endings.
    chosen: dict[tuple[str, str], Ref] = {}
    for ref in named:
        chosen.setdefault((ref.namespace, ref.name.rsplit("-", 2)[0]), ref)
    yield from (_get(ref) for ref in [*chosen.values()][:_BEYOND])


def _examples(facts: Facts, most: int) -> list[tuple[Ref, Obj]]:
    """Return one pod of each kind of trouble of each workload, those first of which there is more to read."""
    found: dict[object, tuple[Ref, Obj]] = {}
    known = None if is_wide(facts.target) else mine(facts)
    for ref, pod in live_pods(facts):
        if known is not None and ref not in known:
            continue
        if sign := _trouble(ref, pod):
            found.setdefault((facts.owner(ref), sign), (ref, pod))
    return sorted(found.values(), key=lambda example: _telling(*example))[:most]


def _telling(ref: Ref, pod: Obj) -> int:
    """Rank a pod: one that ended has left a log, one that waits has words, one without a node has neither."""
    every = list(containers(ref, pod))
    if any(container.ended.get("exitCode") for container in every):
        return 0
    return 1 if any(container.waiting not in _CALM or _is_unready(container) for container in every) else 2


def _trouble(ref: Ref, pod: Obj) -> object:
    if dig(pod, "status", "phase") == "Succeeded":
        return None
    signs = [
        (c.name, c.waiting or c.ended.get("reason"))
        for c in containers(ref, pod)
        if c.waiting not in _CALM or (c.ended and c.ended.get("exitCode")) or _is_unready(c)
    ]
    if not dig(pod, "spec", "nodeName") or (dig(pod, "status", "phase") == "Pending" and not signs):
        signs.append(("", "pending"))
    return tuple(signs)


def _is_unready(container: Container) -> bool:
    return bool(dig(container.status, "state", "running")) and not container.status.get("ready") and not container.init


def _log_reads(ref: Ref, pod: Obj) -> Iterator[Read]:
    for container in containers(ref, pod):
        now = dig(container.status, "state", "terminated")
        if container.ended and container.ended.get("reason") not in {"StartError", "Completed"}:
            if container.ended.get("exitCode"):
                yield _log(ref, container.name, previous=not now)
        elif _is_unready(container):
            yield _log(ref, container.name, previous=False)


def _log(ref: Ref, container: str, *, previous: bool) -> Read:
    return Read(ref.resource, ref.namespace, ref.name, container=container, previous=previous)


def _config_maps(ref: Ref, pod: Obj) -> Iterator[Read]:
    """Yield the ConfigMaps that containers in trouble take their settings from."""
    for container in containers(ref, pod):
        if match := re.search(r"in ConfigMap [^/\s]+/(\S+)", container.waiting_message):
            yield Read(CONFIG_MAPS, ref.namespace, match[1])
        elif container.ended.get("exitCode") and container.ended.get("reason") == "Error":
            for source in container.spec.get("envFrom") or ():
                if (named := dig(source, "configMapRef", "name")) is not None:
                    yield Read(CONFIG_MAPS, ref.namespace, named)


def _placement(facts: Facts, pods: Iterable[tuple[Ref, Obj]]) -> Iterator[Read]:
    for ref, pod in pods:
        if dig(pod, "spec", "nodeName"):
            continue
        for volume in dig(pod, "spec", "volumes", default=()):
            if name := dig(volume, "persistentVolumeClaim", "claimName"):
                claim = Ref(CLAIMS, ref.namespace, name)
                if not is_wide(facts.target):
                    yield _get(claim)
                    if dig(facts.objects.get(claim), "status", "phase") == "Pending":
                        yield _events(claim)
        yield Read(NODES, limit=_MANY)


def _storage(facts: Facts) -> Iterator[Read]:
    if any(dig(claim, "status", "phase") == "Pending" for _, claim in facts.all(CLAIMS)):
        yield Read(STORAGE_CLASSES, limit=_FEW_PODS)


def _selector(item: Obj) -> str:
    """Write an object's selector as a query has it (label selectors, set-based)."""
    selector = dig(item, "spec", "selector", default={})
    parts = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions") or ():
        values = ",".join(each.get("values") or ())
        word = {"In": f"{each['key']} in ({values})", "NotIn": f"{each['key']} notin ({values})"}
        parts.append(
            word.get(each.get("operator"), f"{'!' if each.get('operator') == 'DoesNotExist' else ''}{each['key']}")
        )
    return ",".join(parts)


_ABOUT: Final[Mapping[str, Callable[[Facts, Ref, Obj], Iterator[Read]]]] = {
    **dict.fromkeys(WORKLOADS, _of_workload),
    PODS: _of_pod,
    SERVICES: _of_service,
    INGRESSES: _of_ingress,
    ROUTES: _of_ingress,
    JOBS: _of_job,
    CRON_JOBS: _of_cron_job,
    CLAIMS: _of_claim,
    AUTOSCALERS: _of_autoscaler,
    NODES: _of_node,
    BUDGETS: _of_budget,
}
