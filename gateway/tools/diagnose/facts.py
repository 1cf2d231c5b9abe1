"""Boundary between reading a cluster and judging it: a frozen snapshot, and the ways rules look at it.

Nothing here does I/O. Objects are Kubernetes' own JSON and are never changed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from gateway.tools.diagnose.objects import Obj, dig, labels_of, when

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
NETWORK_POLICIES: Final = "networkpolicies.networking.k8s.io"
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
    NETWORK_POLICIES: "network policy",
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


@dataclass(frozen=True)
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
        for resource in resources:
            for ref, item in self._by_resource.get(resource, ()):
                if namespace is None or ref.namespace == namespace:
                    yield ref, item

    @cached_property
    def _by_resource(self) -> Mapping[str, list[tuple[Ref, Obj]]]:
        found: dict[str, list[tuple[Ref, Obj]]] = {}
        for ref, item in self.objects.items():
            found.setdefault(ref.resource, []).append((ref, item))
        return found

    @cached_property
    def _events_by_object(self) -> Mapping[Ref, list[Event]]:
        found: dict[Ref, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.about, []).append(event)
        return found

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
            for event in self._events_by_object.get(ref, ())
            if (not reasons or event.reason in reasons) and (not uid or not event.uid or event.uid == uid)
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


def plural_of(word: str) -> str:
    """Return the word for several."""
    return f"{word}es" if word.endswith("ss") else f"{word}s"


def scope(target: Ref) -> str:
    """Return what was asked about."""
    return "the whole cluster" if target.resource == NAMESPACES and not target.name else str(target)
