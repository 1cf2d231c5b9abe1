"""Boundary between reading a cluster and judging it: a frozen snapshot, and the ways rules look at it.

Nothing here does I/O. Objects are Kubernetes' own JSON and are never changed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

Obj = Mapping[str, Any]

PODS: Final = "pods"
DEPLOYMENTS: Final = "deployments.apps"
REPLICA_SETS: Final = "replicasets.apps"
STATEFUL_SETS: Final = "statefulsets.apps"
DAEMON_SETS: Final = "daemonsets.apps"
JOBS: Final = "jobs.batch"
CRON_JOBS: Final = "cronjobs.batch"
SERVICES: Final = "services"
SLICES: Final = "endpointslices.discovery.k8s.io"
INGRESSES: Final = "ingresses.networking.k8s.io"
INGRESS_CLASSES: Final = "ingressclasses.networking.k8s.io"
ROUTES: Final = "routes.route.openshift.io"
CONFIG_MAPS: Final = "configmaps"
CLAIMS: Final = "persistentvolumeclaims"
VOLUMES: Final = "persistentvolumes"
STORAGE_CLASSES: Final = "storageclasses.storage.k8s.io"
AUTOSCALERS: Final = "horizontalpodautoscalers.autoscaling"
BUDGETS: Final = "poddisruptionbudgets.policy"
QUOTAS: Final = "resourcequotas"
NODES: Final = "nodes"
NAMESPACES: Final = "namespaces"
CERTIFICATES: Final = "certificates.cert-manager.io"
EVENTS: Final = "events"
API_SERVICES: Final = "apiservices.apiregistration.k8s.io"

WORKLOADS: Final = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS)

WORDS: Final[Mapping[str, str]] = {
    PODS: "pod",
    DEPLOYMENTS: "deployment",
    REPLICA_SETS: "replica set",
    STATEFUL_SETS: "stateful set",
    DAEMON_SETS: "daemon set",
    JOBS: "job",
    CRON_JOBS: "cron job",
    SERVICES: "service",
    INGRESSES: "ingress",
    ROUTES: "route",
    CONFIG_MAPS: "ConfigMap",
    CLAIMS: "volume claim",
    VOLUMES: "volume",
    STORAGE_CLASSES: "storage class",
    AUTOSCALERS: "autoscaler",
    BUDGETS: "disruption budget",
    QUOTAS: "quota",
    NODES: "node",
    NAMESPACES: "namespace",
    CERTIFICATES: "certificate",
    API_SERVICES: "API service",
    SLICES: "endpoint slice",
    INGRESS_CLASSES: "ingress class",
    EVENTS: "event",
}
"""What a kind is called in a sentence."""

KINDS: Final[Mapping[str, str]] = {
    "Pod": PODS,
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "Job": JOBS,
    "CronJob": CRON_JOBS,
    "Service": SERVICES,
    "Ingress": INGRESSES,
    "Route": ROUTES,
    "PersistentVolumeClaim": CLAIMS,
    "HorizontalPodAutoscaler": AUTOSCALERS,
    "PodDisruptionBudget": BUDGETS,
    "Node": NODES,
    "Namespace": NAMESPACES,
}
"""The resource of a kind, for owner references and events."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One object; `resource` is `plural.group`, `namespace` is empty where there is none."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it for a sentence: `deployment shop/checkout`."""
        word = WORDS.get(self.resource, self.resource)
        return f"{word} {self.namespace}/{self.name}" if self.namespace else f"{word} {self.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what it is about, and what was said `count` times, last at `last`."""

    about: Ref
    uid: str
    warning: bool
    reason: str
    message: str
    container: str
    count: int
    last: datetime | None

    @property
    def source(self) -> str:
        """Where it is quoted from."""
        times = f", {self.count} times," if self.count > 1 else ""
        return f"event {self.reason}{times} on {self.about}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a cluster at one moment.

    `absent` are objects that were looked up and do not exist; `complete` the lists that were read whole, each a
    resource and a namespace (empty: of all), with `?` and a label selector where it had one; `unread` says in
    sentences what could not be read, and why; `logs` are lines by pod and container.
    """

    now: datetime
    target: Ref
    objects: Mapping[Ref, Obj] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    logs: Mapping[tuple[Ref, str], tuple[str, ...]] = field(default_factory=dict)
    absent: frozenset[Ref] = frozenset()
    complete: frozenset[tuple[str, str]] = frozenset()
    unread: tuple[str, ...] = ()

    def get(self, resource: str, namespace: str, name: str) -> Obj | None:
        """Return one object if it was read."""
        return self.objects.get(Ref(resource, namespace, name))

    def all(self, *resources: str, namespace: str | None = None) -> Iterator[tuple[Ref, Obj]]:
        """Yield what was read of these resources, of one namespace or all."""
        for ref, item in self.objects.items():
            if ref.resource in resources and (namespace is None or ref.namespace == namespace):
                yield ref, item

    def is_absent(self, resource: str, namespace: str, name: str) -> bool:
        """Whether it is known that there is no such object."""
        ref = Ref(resource, namespace, name)
        listed = (resource, namespace) in self.complete or (resource, "") in self.complete
        return ref in self.absent or (listed and ref not in self.objects)

    def events_of(self, ref: Ref, *reasons: str) -> list[Event]:
        """Return an object's events, the newest first, of these reasons or all; those of a namesake before it not."""
        uid = dig(self.objects.get(ref), "metadata", "uid", default="")
        old = datetime.min.replace(tzinfo=UTC)
        found = [
            event
            for event in self.events
            if event.about == ref
            and (not reasons or event.reason in reasons)
            and (not uid or not event.uid or event.uid == uid)
        ]
        return sorted(found, key=lambda event: event.last or old, reverse=True)

    def age(self, stamp: Any) -> timedelta:
        """Return how long ago a timestamp was; none at all was just now."""
        moment = when(stamp)
        return self.now - moment if moment else timedelta(0)

    def owner(self, ref: Ref) -> Ref:
        """Return the workload at the top that an object belongs to, itself if none; a Job stands for itself."""
        for _ in range(4):
            item = self.objects.get(ref)
            controller = next(
                (o for o in dig(item, "metadata", "ownerReferences", default=()) if o.get("controller")), None
            )
            if controller is None or controller.get("kind") == "CronJob" or controller.get("kind") not in KINDS:
                return self._deployment_of(ref, None) if ref.resource == REPLICA_SETS and item is None else ref
            ref = Ref(KINDS[controller["kind"]], ref.namespace, controller["name"])
            if ref.resource == REPLICA_SETS and ref not in self.objects:
                return self._deployment_of(ref, item)
            if ref.resource == NODES:
                return Ref(PODS, ref.namespace, dig(item, "metadata", "name", default=""))
        return ref

    def _deployment_of(self, replica_set: Ref, pod: Obj | None) -> Ref:
        # A ReplicaSet of a Deployment is named after it and the hash that its pods carry as a label.
        name, _, ending = replica_set.name.rpartition("-")
        deployment = Ref(DEPLOYMENTS, replica_set.namespace, name)
        is_its = ending == labels_of(pod).get("pod-template-hash") or deployment in self.objects
        return deployment if is_its else replica_set

    def log_of(self, pod: Ref, container: str) -> tuple[Ref, tuple[str, ...]]:
        """Return the log that was read of a container, or of the same one in another pod of its workload."""
        if lines := self.logs.get((pod, container)):
            return pod, lines
        owner = self.owner(pod)
        for (ref, name), lines in self.logs.items():
            if name == container and lines and self.owner(ref) == owner:
                return ref, lines
        return pod, ()


@dataclass(frozen=True)
class Container:
    """One container of a pod: what was asked for and what came of it."""

    ref: Ref
    pod: Obj
    name: str
    init: bool

    @cached_property
    def spec(self) -> Obj:
        """Its part of the pod's spec."""
        listed = (
            *dig(self.pod, "spec", "containers", default=()),
            *dig(self.pod, "spec", "initContainers", default=()),
        )
        found: Obj = next((c for c in listed if c.get("name") == self.name), {})
        return found

    @cached_property
    def status(self) -> Obj:
        """Its status, empty before the kubelet wrote one."""
        key = "initContainerStatuses" if self.init else "containerStatuses"
        found: Obj = next((s for s in dig(self.pod, "status", key, default=()) if s.get("name") == self.name), {})
        return found

    @property
    def waiting(self) -> str:
        """The reason it waits for, or nothing."""
        return str(dig(self.status, "state", "waiting", "reason", default=""))

    @property
    def waiting_message(self) -> str:
        """What the kubelet says about the waiting."""
        return str(dig(self.status, "state", "waiting", "message", default=""))

    @property
    def ended(self) -> Obj:
        """How it ended, now or the last time; empty if it never did."""
        now = dig(self.status, "state", "terminated", default=None)
        found: Obj = now or dig(self.status, "lastState", "terminated", default=None) or {}
        return found

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return int(self.status.get("restartCount") or 0)

    @property
    def word(self) -> str:
        """What it is called in a sentence."""
        return f"{'init container' if self.init else 'container'} {self.name}"


def containers(ref: Ref, pod: Obj) -> Iterator[Container]:
    """Yield a pod's containers, the init containers first, as they start."""
    for spec in dig(pod, "spec", "initContainers", default=()):
        yield Container(ref, pod, spec["name"], init=True)
    for spec in dig(pod, "spec", "containers", default=()):
        yield Container(ref, pod, spec["name"], init=False)


def live_pods(facts: Facts) -> Iterator[tuple[Ref, Obj]]:
    """Yield pods that are not on their way out, and not of a job that has succeeded meanwhile."""
    for ref, pod in facts.all(PODS):
        if not dig(pod, "metadata", "deletionTimestamp") and not condition(
            facts.objects.get(facts.owner(ref)), "Complete"
        ):
            yield ref, pod


def dig(node: Any, *path: str, default: Any = None) -> Any:
    """Return what is at this path of nested objects, `default` where there is nothing."""
    for key in path:
        if not isinstance(node, Mapping):
            return default
        node = node.get(key)
    return default if node is None else node


def when(stamp: Any) -> datetime | None:
    """Read a timestamp (RFC 3339)."""
    if not isinstance(stamp, str):
        return None
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def condition(item: Obj | None, kind: str, status: str = "True") -> Obj | None:
    """Return the condition of this type if it has this status."""
    for found in dig(item, "status", "conditions", default=()):
        if found.get("type") == kind and found.get("status") == status:
            condition_: Obj = found
            return condition_
    return None


def selects(selector: Mapping[str, str], labels: Mapping[str, str] | None) -> bool:
    """Whether an equality selector matches labels; an empty one matches nothing here."""
    return bool(selector) and all((labels or {}).get(key) == value for key, value in selector.items())


def labels_of(item: Obj | None) -> Mapping[str, str]:
    """Return an object's labels."""
    found: Mapping[str, str] = dig(item, "metadata", "labels", default={})
    return found


_UNITS: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
_UNITS_2: Final = {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}
_QUANTITY: Final = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)").fullmatch


def quantity(text: Any) -> float:
    """Read a quantity such as `250m` or `1Gi` (k8s.io/apimachinery, resource.Quantity); 0 where it is none."""
    match = _QUANTITY(str(text))
    return float(match[1]) * ({**_UNITS, **_UNITS_2}.get(match[2], 0.0)) if match else 0.0


def ago(span: timedelta) -> str:
    """Return a span as people say it: `42s`, `5m`, `3h`, `2d`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def first_true(items: Iterable[Any]) -> Any:
    """Return the first that says something, or None."""
    return next((item for item in items if item), None)
