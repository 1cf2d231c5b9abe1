"""The boundary of what the server fills in by itself when an object is written: defaults and what a version prunes.

Functions take an object the caller owns and complete it in place; values are those of kube-apiserver 1.36.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

from gateway.demo.wire import Obj


def _set(target: Obj, **values: Any) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def _probe(probe: Obj) -> None:
    if "httpGet" in probe:
        _set(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        _set(probe["grpc"], service="")
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent"


def _container(container: Obj) -> None:
    _set(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(container.get("image", "")),
    )
    for port in container.get("ports") or ():
        _set(port, protocol="TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _probe(container[name])
    for variable in container.get("env") or ():
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field:
            _set(field, apiVersion="v1")


def pod_spec(spec: Obj) -> None:
    """Complete a pod's spec, or a template's."""
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if spec.get("serviceAccountName"):
        _set(spec, serviceAccount=spec["serviceAccountName"])
    for name in ("initContainers", "containers"):
        for container in spec.get(name) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                _set(volume[kind], defaultMode=420)
        if "hostPath" in volume:
            _set(volume["hostPath"], type="")


def _pod(item: Obj) -> None:
    pod_spec(item["spec"])
    for container in (*(item["spec"].get("initContainers") or ()), *(item["spec"].get("containers") or ())):
        limits = container["resources"].get("limits")
        if limits:
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    _set(item["spec"], enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    tolerations = item["spec"].setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(found.get("key") == key for found in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    item.setdefault("status", {"phase": "Pending", "qosClass": qos(item["spec"])})


def qos(spec: Obj) -> str:
    """Return the quality of service class of a pod's spec."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if all(not found.get("requests") and not found.get("limits") for found in resources):
        return "BestEffort"
    for found in resources:
        limits, requests = found.get("limits") or {}, found.get("requests") or found.get("limits") or {}
        if {"cpu", "memory"} - set(limits) or any(limits[name] != requests.get(name) for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _template(spec: Obj) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _deployment(item: Obj) -> None:
    spec = item["spec"]
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _replica_set(item: Obj) -> None:
    _set(item["spec"], replicas=1)
    _template(item["spec"])
    _set(item, status={"replicas": 0})


def _stateful_set(item: Obj) -> None:
    spec = item["spec"]
    _set(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={"partition": 0})
    for claim in spec.get("volumeClaimTemplates") or ():
        _set(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)
    _template(spec)
    _set(item, status={"replicas": 0, "availableReplicas": 0})


def _daemon_set(item: Obj) -> None:
    spec = item["spec"]
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], maxUnavailable=1, maxSurge=0)
    _template(spec)
    counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    _set(item, status=dict.fromkeys(counts, 0))


def _job_spec(spec: Obj) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _set(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    _template(spec)


def _job(item: Obj) -> None:
    spec, metadata = item["spec"], item["metadata"]
    _job_spec(spec)
    if not spec.get("selector") and metadata.get("uid"):
        ours = {
            "batch.kubernetes.io/controller-uid": metadata["uid"],
            "batch.kubernetes.io/job-name": metadata["name"],
            "controller-uid": metadata["uid"],
            "job-name": metadata["name"],
        }
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}
        template = spec["template"]["metadata"]
        template["labels"] = {**(template.get("labels") or {}), **ours}
    _set(item, status={})


def _cron_job(item: Obj) -> None:
    spec = item["spec"]
    _set(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
        jobTemplate={},
    )
    spec["jobTemplate"].setdefault("metadata", {})
    job = spec["jobTemplate"].setdefault("spec", {})
    _template(job)
    _set(item, status={})


def _service(item: Obj) -> None:
    spec = item["spec"]
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or ():
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] != "ExternalName":
        _set(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        _set(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    _set(item, status={"loadBalancer": {}})


def allocate(item: Obj, number: int) -> None:
    """Give a service its cluster address and node ports; `number` is different for each."""
    spec = item["spec"]
    if item["kind"] != "Service" or spec.get("type") == "ExternalName":
        return
    if spec.get("clusterIP") is None:
        spec["clusterIP"] = str(ipaddress.ip_address("10.96.0.0") + 2 + number % 65000)
    spec["clusterIPs"] = [spec["clusterIP"]]
    if spec.get("type") in {"NodePort", "LoadBalancer"}:
        for index, port in enumerate(spec.get("ports") or ()):
            _set(port, nodePort=30000 + (number * 7 + index) % 2767)


def _claim(item: Obj) -> None:
    _set(item["spec"], volumeMode="Filesystem")
    _set(item, status={"phase": "Pending"})


def _volume(item: Obj) -> None:
    _set(item["spec"], volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    _set(item, status={"phase": "Pending"})


def _autoscaler(item: Obj) -> None:
    _set(item["spec"], minReplicas=1)
    _set(item, status={"desiredReplicas": 0, "currentMetrics": None})


def _namespace(item: Obj) -> None:
    labels = item["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", item["metadata"].get("name", ""))
    _set(item, spec={}, status={"phase": "Active"})
    _set(item["spec"], finalizers=["kubernetes"])


def _ingress(item: Obj) -> None:
    _set(item, status={"loadBalancer": {}})


def _policy(item: Obj) -> None:
    spec = item["spec"]
    _set(spec, policyTypes=["Ingress", "Egress"] if "egress" in spec else ["Ingress"])


def _quota(item: Obj) -> None:
    _set(item, status={})


def _secret(item: Obj) -> None:
    _set(item, type="Opaque")


def _budget(item: Obj) -> None:
    _set(item, status=dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0))


_DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "HorizontalPodAutoscaler": _autoscaler,
    "Namespace": _namespace,
    "Ingress": _ingress,
    "NetworkPolicy": _policy,
    "ResourceQuota": _quota,
    "Secret": _secret,
    "PodDisruptionBudget": _budget,
}


def complete(item: Obj) -> None:
    """Fill in the defaults of a built-in kind, in place."""
    fill = _DEFAULTS.get(item["kind"])
    if fill is None or (item["kind"] == "Service" and "/" in item["apiVersion"]):
        return
    if item["kind"] not in {"Namespace", "Secret"}:
        item.setdefault("spec", {})
    fill(item)
    if item["kind"] == "Deployment":
        _set(item, status={})
