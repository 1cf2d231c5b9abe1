"""The boundary of what the server refuses as invalid: names, labels, the rules of the common kinds, in its words."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.demo.selectors import matches_selector
from gateway.demo.wire import Obj, invalid

Cause = tuple[str, str, str]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _bad(path: str, value: Any, words: str) -> Cause:
    shown = orjson.dumps(value).decode()
    return "FieldValueInvalid", path, f"Invalid value: {shown}: {words}"


def _required(path: str, words: str = "") -> Cause:
    return "FieldValueRequired", path, f"Required value: {words}" if words else "Required value"


def _metadata(item: Obj) -> Iterator[Cause]:
    metadata = item["metadata"]
    name = metadata.get("name", "")
    colons = item["kind"] in {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    if not colons and not (_SUBDOMAIN.fullmatch(name) and len(name) <= 253):
        yield _bad("metadata.name", name, _SUBDOMAIN_WORDS)
    for value in (metadata.get("labels") or {}).values():
        if not _VALUE.fullmatch(value) or len(value) > 63:
            yield _bad("metadata.labels", value, _VALUE_WORDS)


def _containers(spec: Obj, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    for name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(name) or ()):
            here = f"{path}.{name}[{index}]"
            if not container.get("name"):
                yield _required(f"{here}.name")
            elif not _LABEL.fullmatch(container["name"]):
                yield _bad(f"{here}.name", container["name"], _LABEL_WORDS)
            if not container.get("image"):
                yield _required(f"{here}.image")
            mounts = {volume["name"] for volume in spec.get("volumes") or ()}
            for number, mount in enumerate(container.get("volumeMounts") or ()):
                if mount.get("name") not in mounts and "volumeClaimTemplates" not in path:
                    shown = f'Not found: "{mount.get("name", "")}"'
                    yield "FieldValueNotFound", f"{here}.volumeMounts[{number}].name", shown


def _workload(item: Obj) -> Iterator[Cause]:
    spec = item["spec"]
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        yield _bad("spec.replicas", replicas, "must be greater than or equal to 0")
    labels = spec["template"]["metadata"].get("labels") or {}
    if not spec.get("selector"):
        yield _required("spec.selector")
    if not matches_selector(spec.get("selector") or {"matchLabels": {"\0": "\0"}}, labels):
        yield _bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    claims = [{"name": claim["metadata"].get("name", "")} for claim in spec.get("volumeClaimTemplates") or ()]
    pod = spec["template"]["spec"]
    yield from _containers({**pod, "volumes": [*(pod.get("volumes") or ()), *claims]}, "spec.template.spec")


def _service(item: Obj) -> Iterator[Cause]:
    spec = item["spec"]
    if not spec.get("ports") and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        yield _required("spec.ports")
    for index, port in enumerate(spec.get("ports") or ()):
        for name in ("port", "targetPort"):
            value = port.get(name)
            if isinstance(value, int) and not 1 <= value <= 65535:
                yield _bad(f"spec.ports[{index}].{name}", value, "must be between 1 and 65535, inclusive")


def _claim(item: Obj) -> Iterator[Cause]:
    spec = item["spec"]
    known = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    for mode in spec.get("accessModes") or ():
        if mode not in known:
            names = ", ".join(f'"{name}"' for name in sorted(known))
            words = f'Unsupported value: "{mode}": supported values: {names}'
            yield "FieldValueNotSupported", "spec.accessModes", words
    if not spec.get("accessModes"):
        yield _required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield _required("spec.resources[storage]")


def _cron_job(item: Obj) -> Iterator[Cause]:
    if not item["spec"].get("schedule"):
        yield _required("spec.schedule")
    yield from _containers(
        item["spec"]["jobTemplate"]["spec"]["template"]["spec"], "spec.jobTemplate.spec.template.spec"
    )


def _job(item: Obj) -> Iterator[Cause]:
    pod = item["spec"]["template"]["spec"]
    if pod.get("restartPolicy") == "Always":
        words = 'Unsupported value: "Always": supported values: "OnFailure", "Never"'
        yield "FieldValueNotSupported", "spec.template.spec.restartPolicy", words
    yield from _containers(pod, "spec.template.spec")


def _data(item: Obj) -> Iterator[Cause]:
    for field in ("data", "binaryData"):
        for key in item.get(field) or ():
            if not _KEY.fullmatch(key):
                yield _bad(f"{field}[{key}]", key, _KEY_WORDS)


def causes_of(item: Obj) -> Iterator[Cause]:
    """Yield what is wrong with a completed object."""
    yield from _metadata(item)
    match item["kind"]:
        case "Pod":
            yield from _containers(item["spec"], "spec")
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet":
            yield from _workload(item)
        case "Service" if item["apiVersion"] == "v1":
            yield from _service(item)
        case "PersistentVolumeClaim":
            yield from _claim(item)
        case "ConfigMap" | "Secret":
            yield from _data(item)
        case "CronJob":
            yield from _cron_job(item)
        case "HorizontalPodAutoscaler":
            if not item["spec"].get("scaleTargetRef"):
                yield _required("spec.scaleTargetRef.kind")
        case "Job":
            yield from _job(item)


_IMMUTABLE = {
    "Deployment": ("selector",),
    "ReplicaSet": ("selector",),
    "DaemonSet": ("selector",),
    "Job": ("selector", "template", "completionMode"),
}
_STATEFUL = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}
_POD_WORDS = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_STATEFUL_WORDS = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)


def _pod_frozen(spec: Obj) -> Obj:
    frozen = {key: value for key, value in spec.items() if key not in {"activeDeadlineSeconds", "tolerations"}}
    for name in ("containers", "initContainers"):
        frozen[name] = [{**container, "image": ""} for container in spec.get(name) or ()]
    return frozen


def causes_of_change(before: Obj, after: Obj) -> Iterator[Cause]:
    """Yield what may not be changed."""
    old, new, kind = before.get("spec") or {}, after.get("spec") or {}, after["kind"]
    for name in _IMMUTABLE.get(kind, ()):
        if old.get(name) != new.get(name):
            yield _bad(f"spec.{name}", new.get(name), "field is immutable")
    if kind == "StatefulSet" and any(old.get(key) != new.get(key) for key in {*old, *new} - _STATEFUL):
        yield "FieldValueForbidden", "spec", _STATEFUL_WORDS
    if kind == "Service" and old.get("clusterIP") and old["clusterIP"] != new.get("clusterIP"):
        values = [new.get("clusterIP")]
        yield _bad("spec.clusterIPs[0]", values, "may not change once set")
    if kind == "Pod" and _pod_frozen(old) != _pod_frozen(new):
        yield "FieldValueForbidden", "spec", _POD_WORDS
    if kind in {"ConfigMap", "Secret"} and before.get("immutable"):
        for name in ("data", "binaryData", "immutable"):
            if before.get(name) != after.get(name):
                words = "Forbidden: field is immutable when `immutable` is set"
                yield "FieldValueForbidden", name, words
    if kind == "Secret" and before.get("type") != after.get("type"):
        yield _bad("type", after.get("type"), "field is immutable")


def validate(item: Obj, group: str, before: Obj | None = None) -> None:
    """Raise StatusError 422 unless an object is valid, and may replace what it replaces."""
    causes = list(causes_of(item))
    if before is not None:
        causes += causes_of_change(before, item)
    if causes:
        raise invalid(item["kind"], group, item["metadata"].get("name", ""), causes)


def option(kind: str, field: str, values: tuple[str, ...], allowed: tuple[str, ...], *, listed: bool = False) -> None:
    """Check a query option; raises StatusError 422 in the words of the options' validation."""
    if all(value in allowed for value in values):
        return
    shown = orjson.dumps(list(values) if listed else values[0]).decode()
    names = ", ".join(f'"{value}"' for value in allowed)
    text = f"Unsupported value: {shown}: supported values: {names}"
    raise invalid(kind, "meta.k8s.io", "", [("FieldValueNotSupported", field, text)])
