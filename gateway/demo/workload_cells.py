"""The boundary between workloads, with what scales and protects them, and the cells their tables show."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.demo.durations import UNKNOWN, between, since
from gateway.demo.pods import NONE, containers_and_images
from gateway.demo.wire import Obj

Cells = list[Any]


def name_of(item: Obj) -> str:
    """Return an object's name."""
    name: str = item["metadata"]["name"]
    return name


def age_of(item: Obj, now: datetime) -> str:
    """Return how old an object is."""
    return since(item["metadata"].get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Return labels, or a selector of equalities, as one text."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Obj | None) -> str:
    """Return a label selector as one text."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for rule in (selector or {}).get("matchExpressions") or ():
        values = ",".join(rule.get("values") or ())
        words = {"In": f" in ({values})", "NotIn": f" notin ({values})", "Exists": "", "DoesNotExist": ""}
        bang = "!" if rule["operator"] == "DoesNotExist" else ""
        parts.append(f"{bang}{rule['key']}{words[rule['operator']]}")
    return ",".join(parts) or NONE


def template_of(item: Obj) -> tuple[str, str]:
    """Return the containers and images of a workload's pods."""
    return containers_and_images(item["spec"]["template"]["spec"])


def replicas_of(item: Obj, default: int = 1) -> int:
    """Return how many replicas are wanted."""
    replicas = item["spec"].get("replicas")
    return default if replicas is None else int(replicas)


def count_of(item: Obj, field: str) -> int:
    """Return a number of the status, zero when it is missing."""
    return int((item.get("status") or {}).get(field) or 0)


def deployment_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a deployment."""
    ready = f"{count_of(item, 'readyReplicas')}/{replicas_of(item)}"
    counts = (count_of(item, "updatedReplicas"), count_of(item, "availableReplicas"))
    return [
        name_of(item),
        ready,
        *counts,
        age_of(item, now),
        *template_of(item),
        selector_text(item["spec"].get("selector")),
    ]


def replica_set_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a replica set."""
    counts = (replicas_of(item), count_of(item, "replicas"), count_of(item, "readyReplicas"))
    selector = item["spec"].get("selector")
    shown = selector_text(selector) if item.get("kind") != "ReplicationController" else labels_text(selector)
    return [name_of(item), *counts, age_of(item, now), *template_of(item), shown]


def stateful_set_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a stateful set."""
    return [
        name_of(item),
        f"{count_of(item, 'readyReplicas')}/{replicas_of(item)}",
        age_of(item, now),
        *template_of(item),
    ]


def daemon_set_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a daemon set."""
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    counts = [count_of(item, field) for field in (*fields, "numberAvailable")]
    nodes = labels_text(item["spec"]["template"]["spec"].get("nodeSelector"))
    selector = selector_text(item["spec"].get("selector"))
    return [name_of(item), *counts, nodes, age_of(item, now), *template_of(item), selector]


def job_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a job."""
    spec, status = item["spec"], item.get("status") or {}
    true = {found["type"] for found in status.get("conditions") or () if found["status"] == "True"}
    words = {"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended", "FailureTarget": "FailureTarget"}
    state = next((word for found, word in words.items() if found in true), "Running")
    if item["metadata"].get("deletionTimestamp"):
        state = "Terminating"
    succeeded, parallelism = count_of(item, "succeeded"), int(spec.get("parallelism") or 0)
    if spec.get("completions") is not None:
        done = f"{succeeded}/{spec['completions']}"
    else:
        done = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    started, ended = status.get("startTime"), status.get("completionTime")
    duration = "" if not started else between(started, ended) if ended else since(started, now)
    return [
        name_of(item),
        state,
        done,
        duration,
        age_of(item, now),
        *template_of(item),
        selector_text(spec.get("selector")),
    ]


def cron_job_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a cron job."""
    spec, status = item["spec"], item.get("status") or {}
    last = status.get("lastScheduleTime")
    images = containers_and_images(spec["jobTemplate"]["spec"]["template"]["spec"])
    selector = selector_text(spec["jobTemplate"]["spec"].get("selector"))
    zone, suspended, active = spec.get("timeZone") or NONE, bool(spec.get("suspend")), len(status.get("active") or ())
    lasted = since(last, now) if last else NONE
    shown = [spec["schedule"], zone, str(suspended), active, lasted]
    return [name_of(item), *shown, age_of(item, now), *images, selector]


def autoscaler_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a autoscaler."""
    spec, status = item["spec"], item.get("status") or {}
    target = spec["scaleTargetRef"]
    current = {
        found["resource"]["name"]: found["resource"]["current"]
        for found in status.get("currentMetrics") or ()
        if found["type"] == "Resource"
    }
    shown = []
    for metric in spec.get("metrics") or ():
        if metric["type"] == "Resource":
            name, goal = metric["resource"]["name"], metric["resource"]["target"]
            now_at = current.get(name, {}).get("averageUtilization")
            shown.append(f"{name}: {UNKNOWN if now_at is None else f'{now_at}%'}/{goal.get('averageUtilization')}%")
    bounds = (str(spec.get("minReplicas") or "<unset>"), spec["maxReplicas"], count_of(item, "currentReplicas"))
    reference = f"{target['kind']}/{target['name']}"
    return [name_of(item), reference, ", ".join(shown) or NONE, *bounds, age_of(item, now)]


def budget_cells(item: Obj, now: datetime) -> Cells:
    """Return the cells of a budget."""
    spec = item["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    bounds = ["N/A" if value is None else str(value) for value in (least, most)]
    return [name_of(item), *bounds, count_of(item, "disruptionsAllowed"), age_of(item, now)]
