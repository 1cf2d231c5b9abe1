"""The boundary between objects and the cells their tables show, kind by kind, as the real server prints them.

After https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables; data/ has the columns.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from gateway.demo.durations import UNKNOWN, between, since
from gateway.demo.pods import containers_and_images, pod_cells
from gateway.demo.wire import Obj

Cells = list[Any]
Printer = Callable[[Obj, datetime], Cells]

NONE = "<none>"


def _name(item: Obj) -> str:
    name: str = item["metadata"]["name"]
    return name


def _age(item: Obj, now: datetime) -> str:
    return since(item["metadata"].get("creationTimestamp"), now)


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _selector(selector: Obj | None) -> str:
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for rule in (selector or {}).get("matchExpressions") or ():
        values = ",".join(rule.get("values") or ())
        words = {"In": f" in ({values})", "NotIn": f" notin ({values})", "Exists": "", "DoesNotExist": ""}
        bang = "!" if rule["operator"] == "DoesNotExist" else ""
        parts.append(f"{bang}{rule['key']}{words[rule['operator']]}")
    return ",".join(parts) or NONE


def _template(item: Obj) -> tuple[str, str]:
    return containers_and_images(item["spec"]["template"]["spec"])


def _replicas(item: Obj, default: int = 1) -> int:
    replicas = item["spec"].get("replicas")
    return default if replicas is None else int(replicas)


def _status(item: Obj, field: str) -> int:
    return int((item.get("status") or {}).get(field) or 0)


def _deployment(item: Obj, now: datetime) -> Cells:
    ready = f"{_status(item, 'readyReplicas')}/{_replicas(item)}"
    counts = (_status(item, "updatedReplicas"), _status(item, "availableReplicas"))
    return [_name(item), ready, *counts, _age(item, now), *_template(item), _selector(item["spec"].get("selector"))]


def _replica_set(item: Obj, now: datetime) -> Cells:
    counts = (_replicas(item), _status(item, "replicas"), _status(item, "readyReplicas"))
    selector = item["spec"].get("selector")
    shown = _selector(selector) if item.get("kind") != "ReplicationController" else _labels(selector)
    return [_name(item), *counts, _age(item, now), *_template(item), shown]


def _stateful_set(item: Obj, now: datetime) -> Cells:
    return [_name(item), f"{_status(item, 'readyReplicas')}/{_replicas(item)}", _age(item, now), *_template(item)]


def _daemon_set(item: Obj, now: datetime) -> Cells:
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    counts = [_status(item, field) for field in (*fields, "numberAvailable")]
    nodes = _labels(item["spec"]["template"]["spec"].get("nodeSelector"))
    selector = _selector(item["spec"].get("selector"))
    return [_name(item), *counts, nodes, _age(item, now), *_template(item), selector]


def _job(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    true = {found["type"] for found in status.get("conditions") or () if found["status"] == "True"}
    words = {"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended", "FailureTarget": "FailureTarget"}
    state = next((word for found, word in words.items() if found in true), "Running")
    if item["metadata"].get("deletionTimestamp"):
        state = "Terminating"
    succeeded, parallelism = _status(item, "succeeded"), int(spec.get("parallelism") or 0)
    if spec.get("completions") is not None:
        done = f"{succeeded}/{spec['completions']}"
    else:
        done = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    started, ended = status.get("startTime"), status.get("completionTime")
    duration = "" if not started else between(started, ended) if ended else since(started, now)
    return [_name(item), state, done, duration, _age(item, now), *_template(item), _selector(spec.get("selector"))]


def _cron_job(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    last = status.get("lastScheduleTime")
    images = containers_and_images(spec["jobTemplate"]["spec"]["template"]["spec"])
    selector = _selector(spec["jobTemplate"]["spec"].get("selector"))
    zone, suspended, active = spec.get("timeZone") or NONE, bool(spec.get("suspend")), len(status.get("active") or ())
    lasted = since(last, now) if last else NONE
    shown = [spec["schedule"], zone, str(suspended), active, lasted]
    return [_name(item), *shown, _age(item, now), *images, selector]


def _service(item: Obj, now: datetime) -> Cells:
    spec = item["spec"]
    kind = spec.get("type", "ClusterIP")
    inner = (spec.get("clusterIPs") or [spec.get("clusterIP") or NONE])[0]
    external = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        external, inner = [spec.get("externalName", NONE)], NONE
    if kind == "LoadBalancer":
        found = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        external = [entry.get("ip") or entry.get("hostname") for entry in found] + external or ["<pending>"]
    ports = ",".join(
        f"{port['port']}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port['port']}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()
    )
    shown = [kind, inner, ",".join(external) or NONE, ports or NONE]
    return [_name(item), *shown, _age(item, now), _labels(spec.get("selector"))]


def _config_map(item: Obj, now: datetime) -> Cells:
    return [_name(item), len(item.get("data") or {}) + len(item.get("binaryData") or {}), _age(item, now)]


def _secret(item: Obj, now: datetime) -> Cells:
    return [_name(item), item.get("type", "Opaque"), len(item.get("data") or {}), _age(item, now)]


def _node(item: Obj, now: datetime) -> Cells:
    status = item.get("status") or {}
    conditions = {found["type"]: found["status"] for found in status.get("conditions") or ()}
    ready = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    if item.get("spec", {}).get("unschedulable"):
        ready += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = item["metadata"].get("labels") or {}
    roles = ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or NONE
    info = status.get("nodeInfo") or {}
    addresses = {found["type"]: found["address"] for found in status.get("addresses") or ()}
    return [
        _name(item),
        ready,
        roles,
        _age(item, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        *(info.get(field) or UNKNOWN for field in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _event(item: Obj, now: datetime) -> Cells:
    regarding = item.get("involvedObject") or item.get("regarding") or {}
    source = item.get("source") or item.get("deprecatedSource") or {}
    component = source.get("component") or item.get("reportingComponent") or item.get("reportingController") or ""
    series = item.get("series") or {}
    first = item.get("firstTimestamp") or item.get("deprecatedFirstTimestamp") or item.get("eventTime")
    last = series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("deprecatedLastTimestamp") or first
    count = series.get("count") or item.get("count") or item.get("deprecatedCount") or 1
    return [
        since(last, now),
        item.get("type", ""),
        item.get("reason", ""),
        f"{regarding.get('kind', '').lower()}/{regarding.get('name', '')}",
        regarding.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (item.get("message") or item.get("note") or "").strip(),
        since(first, now),
        int(count),
        _name(item),
    ]


def _namespace(item: Obj, now: datetime) -> Cells:
    return [_name(item), item.get("status", {}).get("phase", ""), _age(item, now)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES[mode] for mode in modes or ())


def _claim(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    phase = "Terminating" if item["metadata"].get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    capacity = (status.get("capacity") or {}).get("storage", "0") if bound else ""
    modes = _modes(status.get("accessModes")) if bound else ""
    classes = (spec.get("storageClassName") or "", spec.get("volumeAttributesClassName") or "<unset>")
    mode = spec.get("volumeMode") or "<unset>"
    return [_name(item), phase, spec.get("volumeName", ""), capacity, modes, *classes, _age(item, now), mode]


def _volume(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    claim = spec.get("claimRef")
    bound = f"{claim['namespace']}/{claim['name']}" if claim else ""
    return [
        _name(item),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""),
        bound,
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        _age(item, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _ingress(item: Obj, now: datetime) -> Cells:
    spec = item.get("spec") or {}
    hosts = ",".join(rule["host"] for rule in spec.get("rules") or () if rule.get("host")) or "*"
    found = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(entry.get("ip") or entry.get("hostname") for entry in found)
    ports = "80, 443" if spec.get("tls") else "80"
    return [_name(item), spec.get("ingressClassName") or NONE, hosts, address, ports, _age(item, now)]


def _autoscaler(item: Obj, now: datetime) -> Cells:
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
    bounds = (str(spec.get("minReplicas") or "<unset>"), spec["maxReplicas"], _status(item, "currentReplicas"))
    reference = f"{target['kind']}/{target['name']}"
    return [_name(item), reference, ", ".join(shown) or NONE, *bounds, _age(item, now)]


def _quota(item: Obj, now: datetime) -> Cells:
    status = item.get("status") or {}
    used = status.get("used") or {}
    shown = {name: f"{name}: {used.get(name, '0')}/{hard}" for name, hard in sorted((status.get("hard") or {}).items())}
    limits = ", ".join(text for name, text in shown.items() if name.startswith("limits"))
    return [_name(item), ", ".join(v for k, v in shown.items() if not k.startswith("limits")), limits, _age(item, now)]


def _budget(item: Obj, now: datetime) -> Cells:
    spec = item["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    bounds = ["N/A" if value is None else str(value) for value in (least, most)]
    return [_name(item), *bounds, _status(item, "disruptionsAllowed"), _age(item, now)]


def _endpoints(item: Obj, now: datetime) -> Cells:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return [_name(item), ",".join(shown[:3]) + more or NONE, _age(item, now)]


def _endpoint_slice(item: Obj, now: datetime) -> Cells:
    ports = ",".join(str(port.get("port") or "*") for port in item.get("ports") or ()) or "<unset>"
    ends = [address for end in item.get("endpoints") or () for address in end["addresses"]]
    more = f" + {len(ends) - 3} more..." if len(ends) > 3 else ""
    return [_name(item), item["addressType"], ports, ",".join(ends[:3]) + more or "<unset>", _age(item, now)]


def _lease(item: Obj, now: datetime) -> Cells:
    return [_name(item), (item.get("spec") or {}).get("holderIdentity", ""), _age(item, now)]


def _binding(item: Obj, now: datetime) -> Cells:
    reference, subjects = item["roleRef"], item.get("subjects") or ()
    named = {
        kind: ", ".join(
            f"{found['namespace']}/{found['name']}" if kind == "ServiceAccount" else found["name"]
            for found in subjects
            if found["kind"] == kind
        )
        for kind in ("User", "Group", "ServiceAccount")
    }
    return [_name(item), f"{reference['kind']}/{reference['name']}", _age(item, now), *named.values()]


def _storage_class(item: Obj, now: datetime) -> Cells:
    annotations = item["metadata"].get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    policies = (item.get("reclaimPolicy", "Delete"), item.get("volumeBindingMode", "Immediate"))
    name = f"{_name(item)} (default)" if default else _name(item)
    return [name, item["provisioner"], *policies, bool(item.get("allowVolumeExpansion")), _age(item, now)]


def _created(item: Obj, _now: datetime) -> Cells:
    return [_name(item), item["metadata"].get("creationTimestamp", "")]


def _plain(item: Obj, now: datetime) -> Cells:
    return [_name(item), _age(item, now)]


PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "pods"): pod_cells,
    ("", "services"): _service,
    ("", "configmaps"): _config_map,
    ("", "secrets"): _secret,
    ("", "nodes"): _node,
    ("", "events"): _event,
    ("events.k8s.io", "events"): _event,
    ("", "namespaces"): _namespace,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "resourcequotas"): _quota,
    ("", "endpoints"): _endpoints,
    ("", "serviceaccounts"): _plain,
    ("", "replicationcontrollers"): _replica_set,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("apps", "daemonsets"): _daemon_set,
    ("batch", "jobs"): _job,
    ("batch", "cronjobs"): _cron_job,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("autoscaling", "horizontalpodautoscalers"): _autoscaler,
    ("policy", "poddisruptionbudgets"): _budget,
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    ("coordination.k8s.io", "leases"): _lease,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
    ("storage.k8s.io", "storageclasses"): _storage_class,
}
