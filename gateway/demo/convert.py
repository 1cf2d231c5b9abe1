"""The boundary between how an object is stored and the group and version a caller reads it in."""

from gateway.demo.discovery import Resource
from gateway.demo.wire import Obj

_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)

_EVENT = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
"""The same fields under their names in v1 and in events.k8s.io/v1."""


def _renamed(item: Obj, names: dict[str, str]) -> Obj:
    return {names.get(key, key): value for key, value in item.items()}


def present(resource: Resource, item: Obj) -> Obj:
    """Return an object as this resource's version shows it, its type first and its metadata in the usual order."""
    if resource.plural == "events" and item.get("apiVersion") != resource.api_version:
        item = _renamed(item, dict(_EVENT) if resource.group else {new: old for old, new in _EVENT})
    metadata = item["metadata"]
    ordered = {key: metadata[key] for key in _ORDER if key in metadata}
    rest = {key: value for key, value in item.items() if key not in {"kind", "apiVersion", "metadata"}}
    if resource.kind == "HorizontalPodAutoscaler" and item.get("apiVersion") != resource.api_version:
        rest = _autoscaler(rest, resource.version)
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": ordered, **rest}


def _autoscaler(rest: Obj, version: str) -> Obj:
    spec = dict(rest.get("spec") or {})
    if version == "v1":
        metrics = spec.pop("metrics", None) or []
        for metric in metrics:
            if metric.get("type") == "Resource" and metric["resource"]["name"] == "cpu":
                spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"].get("averageUtilization")
        spec.pop("behavior", None)
        status = rest.get("status") or {}
        return {
            "spec": spec,
            "status": {key: status[key] for key in ("currentReplicas", "desiredReplicas") if key in status},
        }
    goal = spec.pop("targetCPUUtilizationPercentage", None)
    if goal is not None:
        target = {"type": "Utilization", "averageUtilization": goal}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**rest, "spec": spec}
