"""The boundary between objects and the cells their tables show, kind by kind, as the real server prints them.

After https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables; data/ has the columns.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from gateway.demo.durations import UNKNOWN, since
from gateway.demo.pods import NONE, pod_cells
from gateway.demo.wire import Obj
from gateway.demo.workload_cells import (
    Cells,
    age_of,
    autoscaler_cells,
    budget_cells,
    cron_job_cells,
    daemon_set_cells,
    deployment_cells,
    job_cells,
    labels_text,
    name_of,
    replica_set_cells,
    stateful_set_cells,
)

Printer = Callable[[Obj, datetime], Cells]


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
    return [name_of(item), *shown, age_of(item, now), labels_text(spec.get("selector"))]


def _config_map(item: Obj, now: datetime) -> Cells:
    return [name_of(item), len(item.get("data") or {}) + len(item.get("binaryData") or {}), age_of(item, now)]


def _secret(item: Obj, now: datetime) -> Cells:
    return [name_of(item), item.get("type", "Opaque"), len(item.get("data") or {}), age_of(item, now)]


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
        name_of(item),
        ready,
        roles,
        age_of(item, now),
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
        name_of(item),
    ]


def _namespace(item: Obj, now: datetime) -> Cells:
    return [name_of(item), item.get("status", {}).get("phase", ""), age_of(item, now)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or ())


def _claim(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    phase = "Terminating" if item["metadata"].get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    capacity = (status.get("capacity") or {}).get("storage", "0") if bound else ""
    modes = _modes(status.get("accessModes")) if bound else ""
    classes = (spec.get("storageClassName") or "", spec.get("volumeAttributesClassName") or "<unset>")
    mode = spec.get("volumeMode") or "<unset>"
    return [name_of(item), phase, spec.get("volumeName", ""), capacity, modes, *classes, age_of(item, now), mode]


def _volume(item: Obj, now: datetime) -> Cells:
    spec, status = item["spec"], item.get("status") or {}
    claim = spec.get("claimRef")
    bound = f"{claim['namespace']}/{claim['name']}" if claim else ""
    return [
        name_of(item),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""),
        bound,
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        age_of(item, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _ingress(item: Obj, now: datetime) -> Cells:
    spec = item.get("spec") or {}
    hosts = ",".join(rule["host"] for rule in spec.get("rules") or () if rule.get("host")) or "*"
    found = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(entry.get("ip") or entry.get("hostname") for entry in found)
    ports = "80, 443" if spec.get("tls") else "80"
    return [name_of(item), spec.get("ingressClassName") or NONE, hosts, address, ports, age_of(item, now)]


def _quota(item: Obj, now: datetime) -> Cells:
    status = item.get("status") or {}
    used = status.get("used") or {}
    shown = {name: f"{name}: {used.get(name, '0')}/{hard}" for name, hard in sorted((status.get("hard") or {}).items())}
    limits = ", ".join(text for name, text in shown.items() if name.startswith("limits"))
    return [
        name_of(item),
        ", ".join(v for k, v in shown.items() if not k.startswith("limits")),
        limits,
        age_of(item, now),
    ]


def _endpoints(item: Obj, now: datetime) -> Cells:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return [name_of(item), ",".join(shown[:3]) + more or NONE, age_of(item, now)]


def _endpoint_slice(item: Obj, now: datetime) -> Cells:
    ports = ",".join(str(port.get("port") or "*") for port in item.get("ports") or ()) or "<unset>"
    ends = [address for end in item.get("endpoints") or () for address in end["addresses"]]
    more = f" + {len(ends) - 3} more..." if len(ends) > 3 else ""
    return [name_of(item), item["addressType"], ports, ",".join(ends[:3]) + more or "<unset>", age_of(item, now)]


def _lease(item: Obj, now: datetime) -> Cells:
    return [name_of(item), (item.get("spec") or {}).get("holderIdentity", ""), age_of(item, now)]


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
    return [name_of(item), f"{reference['kind']}/{reference['name']}", age_of(item, now), *named.values()]


def _storage_class(item: Obj, now: datetime) -> Cells:
    annotations = item["metadata"].get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    policies = (item.get("reclaimPolicy", "Delete"), item.get("volumeBindingMode", "Immediate"))
    name = f"{name_of(item)} (default)" if default else name_of(item)
    return [name, item["provisioner"], *policies, bool(item.get("allowVolumeExpansion")), age_of(item, now)]


def _created(item: Obj, _now: datetime) -> Cells:
    return [name_of(item), item["metadata"].get("creationTimestamp", "")]


def _plain(item: Obj, now: datetime) -> Cells:
    return [name_of(item), age_of(item, now)]


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
    ("", "replicationcontrollers"): replica_set_cells,
    ("apps", "deployments"): deployment_cells,
    ("apps", "replicasets"): replica_set_cells,
    ("apps", "statefulsets"): stateful_set_cells,
    ("apps", "daemonsets"): daemon_set_cells,
    ("batch", "jobs"): job_cells,
    ("batch", "cronjobs"): cron_job_cells,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("autoscaling", "horizontalpodautoscalers"): autoscaler_cells,
    ("policy", "poddisruptionbudgets"): budget_cells,
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    ("coordination.k8s.io", "leases"): _lease,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
    ("storage.k8s.io", "storageclasses"): _storage_class,
}
