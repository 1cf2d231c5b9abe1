"""The boundary of what surrounds the shop: nodes, storage, services and their endpoints, quotas, a budget."""

import uuid
from datetime import timedelta

from gateway.demo import crds
from gateway.demo.bootstrap import NAMESPACES, namespace, service_account
from gateway.demo.builder import Builder
from gateway.demo.defaults import allocate
from gateway.demo.endpoints import slice_of
from gateway.demo.wire import Obj

_DAY = timedelta(days=1)
_AGE = 60 * _DAY


def infrastructure(build: Builder) -> None:
    """Add namespaces, nodes, the storage class and what protects and scales the cart."""
    for name in NAMESPACES:
        build.add(namespace(name), _AGE)
    for name in ("shop", "reports"):
        build.add(namespace(name), _AGE)
        build.add(service_account(name, "default"), _AGE)
    for index, name in enumerate(build.nodes):
        _node(build, index, name)
    build.add(
        {
            "kind": "StorageClass",
            "apiVersion": "storage.k8s.io/v1",
            "metadata": {
                "name": "standard",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "rancher.io/local-path",
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        _AGE,
    )
    _protect_cart(build)
    backend = {"service": {"name": "storefront", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    build.add(
        {
            "kind": "Ingress",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "storefront", "namespace": "shop"},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": paths}}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}},
        },
        30 * _DAY,
    )


def backups(build: Builder) -> None:
    """Add a custom resource, as an operator would have brought it, and two objects of it."""
    group, names = "shop.example", {"kind": "Backup", "plural": "backups", "shortNames": ["bk"]}
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    spec = {"type": "object", "required": ["database"], "properties": {"database": text, "schedule": text}}
    status = {"type": "object", "properties": {"phase": text, "finished": moment, "message": text}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        "additionalPrinterColumns": [
            {"name": "Database", "type": "string", "jsonPath": ".spec.database"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    definition: Obj = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": f"backups.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    crds.complete(definition)
    build.add(crds.established(definition), _AGE)
    failed = {"phase": "Failed", "message": "bucket shop-backups: access denied"}
    for name, state, age in (("orders-1", {"phase": "Completed"}, 2 * _DAY), ("orders-2", failed, _DAY)):
        build.add(
            {
                "kind": "Backup",
                "apiVersion": f"{group}/v1",
                "metadata": {"name": name, "namespace": "shop", "generation": 1},
                "spec": {"database": "orders-db"},
                "status": {**state, "finished": build.at(age)},
            },
            age,
        )


def _protect_cart(build: Builder) -> None:
    selector = {"matchLabels": {"app.kubernetes.io/name": "cart"}}
    metadata = {"name": "cart", "namespace": "shop"}
    counts = {"currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": 0, "expectedPods": 2}
    condition: Obj = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": ""}
    condition |= {"lastTransitionTime": build.at(4 * _DAY), "observedGeneration": 1}
    build.add(
        {
            "kind": "PodDisruptionBudget",
            "apiVersion": "policy/v1",
            "metadata": dict(metadata),
            "spec": {"minAvailable": 2, "selector": selector},
            "status": {**counts, "observedGeneration": 1, "conditions": [condition]},
        },
        30 * _DAY,
    )
    goal = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    current = {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "12m"}}
    build.add(
        {
            "kind": "HorizontalPodAutoscaler",
            "apiVersion": "autoscaling/v2",
            "metadata": dict(metadata),
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 6,
                "metrics": [goal],
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"},
            },
            "status": {
                "currentReplicas": 2,
                "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": current}],
            },
        },
        30 * _DAY,
    )


def _node(build: Builder, index: int, name: str) -> None:
    control = name.endswith("control-plane")
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    if control:
        labels["node-role.kubernetes.io/control-plane"] = ""
    reasons = {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
    }
    conditions = [
        {
            "type": kind,
            "status": status,
            "lastHeartbeatTime": build.at(timedelta(seconds=40)),
            "lastTransitionTime": build.at(_AGE),
            "reason": reason,
            "message": message,
        }
        for kind, (status, reason, message) in reasons.items()
    ]
    size = {"cpu": "4", "ephemeral-storage": "102349744Ki", "memory": "16384256Ki", "pods": "110"}
    info = {
        "architecture": "amd64",
        "containerRuntimeVersion": "containerd://2.2.1",
        "kernelVersion": "6.12.0",
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.36.3",
        "machineID": uuid.uuid4().hex,
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 13 (trixie)",
    }
    addresses = [{"type": "InternalIP", "address": f"10.0.0.{11 + index}"}, {"type": "Hostname", "address": name}]
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    build.add(
        {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDR": f"10.244.{index}.0/24", **({"taints": [taint]} if control else {})},
            "status": {
                "addresses": addresses,
                "allocatable": size,
                "capacity": size,
                "conditions": conditions,
                "nodeInfo": info,
            },
        },
        _AGE,
    )


def service(
    build: Builder,
    namespace_name: str,
    name: str,
    selector: dict[str, str],
    *,
    port: int = 80,
    headless: bool = False,
    age: timedelta = 24 * _DAY,
) -> None:
    """Add a service, and the endpoints its selector has at this moment."""
    ports = [{"name": "main", "port": port, "targetPort": 8080 if port == 80 else port}]
    spec: Obj = {"selector": selector, "ports": ports, **({"clusterIP": "None"} if headless else {})}
    metadata = {"name": name, "namespace": namespace_name}
    item = build.add({"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec}, age)
    allocate(item, sum(name.encode()))
    pods = [pod for pod in build.items if pod["kind"] == "Pod" and pod["metadata"]["namespace"] == namespace_name]
    build.add(slice_of(item, pods), age)


def claim(build: Builder, namespace_name: str, name: str, spec: Obj, *, volume: str = "", age: timedelta) -> Obj:
    """Add a claim, bound to a volume or pending."""
    status: Obj = {"phase": "Pending"}
    size = spec["resources"]["requests"]["storage"]
    if volume:
        status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": {"storage": size}}
        spec = {**spec, "volumeName": volume}
    metadata = {"name": name, "namespace": namespace_name, "finalizers": ["kubernetes.io/pvc-protection"]}
    item = build.add(
        {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}, age
    )
    if volume:
        reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": namespace_name, "name": name}
        build.add(
            {
                "kind": "PersistentVolume",
                "apiVersion": "v1",
                "metadata": {"name": volume, "finalizers": ["kubernetes.io/pv-protection"]},
                "spec": {
                    "accessModes": spec["accessModes"],
                    "capacity": {"storage": size},
                    "claimRef": {**reference, "uid": item["metadata"]["uid"]},
                    "hostPath": {"path": f"/var/local-path/{volume}", "type": "DirectoryOrCreate"},
                    "persistentVolumeReclaimPolicy": "Delete",
                    "storageClassName": spec["storageClassName"],
                },
                "status": {"phase": "Bound"},
            },
            age,
        )
    return item


def quota(build: Builder, namespace_name: str, name: str, hard: dict[str, str], used: dict[str, str]) -> None:
    """Add a quota and what of it is used."""
    metadata = {"name": name, "namespace": namespace_name}
    status = {"hard": hard, "used": used}
    build.add(
        {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": metadata, "spec": {"hard": hard}, "status": status},
        _AGE,
    )
