"""The boundary of metrics.k8s.io: what running pods and nodes use, steady figures made from their names."""

import hashlib
from collections.abc import Iterator

from gateway.demo.discovery import Resource
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.wire import Obj

GROUP = "metrics.k8s.io"
_WINDOW = "15.039s"


def _entry(plural: str, kind: str, singular: str, scope: str) -> Obj:
    return {
        "resource": plural,
        "responseKind": {"group": "", "version": "", "kind": kind},
        "scope": scope,
        "singularResource": singular,
        "verbs": ["get", "list"],
    }


def announced() -> Obj:
    """Return the group as aggregated discovery shows metrics-server's."""
    resources = [
        _entry("nodes", "NodeMetrics", "", "Cluster"),
        _entry("pods", "PodMetrics", "", "Namespaced"),
    ]
    version = {"version": "v1beta1", "resources": resources, "freshness": "Current"}
    return {"metadata": {"name": GROUP, "creationTimestamp": None}, "versions": [version]}


def _usage(seed: str, cores: int, mebibytes: int) -> Obj:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    return {"cpu": f"{number % (cores * 1_000_000) + 150_000}n", "memory": f"{mebibytes * 1024 + number % 40_000}Ki"}


def items(state: State, resource: Resource, namespace: str) -> Iterator[Obj]:
    """Yield the metrics of every running pod of a namespace (or of all), or of every node."""
    now = timestamp()
    for found in state.store.all(("", resource.plural), namespace if resource.namespaced else ""):
        metadata = found["metadata"]
        name = metadata["name"]
        labels = {"labels": metadata["labels"]} if metadata.get("labels") else {}
        where = {"namespace": metadata["namespace"]} if resource.namespaced else {}
        head: Obj = {
            "kind": resource.kind,
            "apiVersion": f"{GROUP}/v1beta1",
            "metadata": {"name": name, **where, "creationTimestamp": now, **labels},
            "timestamp": now,
            "window": _WINDOW,
        }
        if resource.plural == "nodes":
            yield {**head, "usage": _usage(name, 700, 3000)}
            continue
        running = [
            status["name"]
            for status in (found.get("status") or {}).get("containerStatuses") or ()
            if "running" in (status.get("state") or {})
        ]
        if running:
            yield {
                **head,
                "containers": [{"name": part, "usage": _usage(f"{name}/{part}", 40, 60)} for part in running],
            }
