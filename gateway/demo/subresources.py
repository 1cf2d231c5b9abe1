"""The boundary of what hangs below an object: status, scale, eviction, token and the like."""

import orjson

from gateway.demo import bodies, deletes, patching, reads, reviews, writes
from gateway.demo.discovery import Resource
from gateway.demo.exec import check
from gateway.demo.patches import json_patch, merge
from gateway.demo.route import Route, media
from gateway.demo.selectors import matches_selector
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.wire import (
    MODIFIED,
    PLAIN,
    Answer,
    Call,
    Obj,
    StatusError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
)

_BUDGETS = ("policy", "poddisruptionbudgets")


def answer_subresource(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Answer a call on a subresource that the resource has."""
    if asked.verb not in resource.subresources[asked.subresource]:
        raise method_not_allowed()
    match asked.subresource:
        case "token":
            return reviews.token_request(state, asked, reviews.read_body(call, "TokenRequest"))
        case "scale":
            return _scale(state, resource, asked, call)
        case "eviction":
            return _evict(state, resource, asked, call)
        case "status" | "ephemeralcontainers" | "resize" | "approval" | "finalize":
            return _part(state, resource, asked, call)
        case "exec" | "attach":
            check(reads.find(state, resource, asked), call)
            raise bad_request("Upgrade request required")
        case _:
            reads.find(state, resource, asked)
            words = f"the embedded cluster has no nodes behind {resource.plural}/{asked.subresource}\n"
            return Answer(503, words.encode(), PLAIN)


def _part(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    match asked.verb:
        case "get":
            return reads.get(state, resource, asked, call)
        case "update":
            return writes.update(state, resource, asked, call)
        case _:
            return patching.patch(state, resource, asked, call)


def _paths(resource: Resource) -> tuple[str, str, str]:
    if resource.custom is None:
        return ".spec.replicas", ".status.replicas", ".spec.selector"
    scale = (resource.custom.get("subresources") or {})["scale"]
    return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")


def _at(item: Obj, path: str) -> object:
    value: object = item
    for part in filter(None, path.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _scale_of(resource: Resource, item: Obj) -> Obj:
    wanted, have, selector = _paths(resource)
    metadata = item["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    found = _at(item, selector) if selector else None
    if isinstance(found, dict):
        labels = found if resource.kind == "ReplicationController" else found.get("matchLabels") or {}
        found = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    status: Obj = {"replicas": _at(item, have) or 0, **({"selector": found} if found else {})}
    replicas = _at(item, wanted)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _scale(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    before = reads.find(state, resource, asked)
    shown = _scale_of(resource, before)
    if asked.verb != "get":
        write = writes.Write(state, resource, asked, call)
        write.check_options("UpdateOptions")
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"error decoding patch: {error}") from None
        sent = body
        if asked.verb == "patch":
            kind = bodies.content_type(call)
            sent = json_patch(shown, body) if kind == bodies.JSON_PATCH else merge(shown, body)
        version = (sent.get("metadata") or {}).get("resourceVersion")
        if version and version != before["metadata"]["resourceVersion"]:
            raise conflict(resource.plural, resource.group, asked.name, MODIFIED)
        replicas = (sent.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            words = f"Invalid value: {replicas}: must be greater than or equal to 0"
            raise invalid("Scale", "autoscaling", asked.name, [("FieldValueInvalid", "spec.replicas", words)])
        field_name = _paths(resource)[0].rpartition(".")[2]
        after = {**before, "spec": {**before["spec"], field_name: replicas}}
        shown = _scale_of(resource, writes.replace(write, before, after))
    return reads.render(shown, media(call))


def _evict(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    pod = reads.find(state, resource, asked)
    body = reviews.read_body(call, "Eviction")
    named = (body.get("metadata") or {}).get("name")
    if named and named != asked.name:
        raise bad_request(f"name in URL does not match name in Eviction object: {asked.name} != {named}")
    labels = pod["metadata"].get("labels") or {}
    budgets = [
        budget
        for budget in state.store.all(_BUDGETS, asked.namespace)
        if matches_selector(budget["spec"].get("selector"), labels)
    ]
    if len(budgets) > 1:
        words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, words, reason="InternalError")
    dry = "dryRun" in call.query
    counted = (pod.get("status") or {}).get("phase") not in {"Pending", "Succeeded", "Failed"}
    for budget in budgets:
        if counted:
            _spend(state, budget, asked.name, dry=dry)
    options = {**(body.get("deleteOptions") or {}), **({"dryRun": ["All"]} if dry else {})}
    deletes.remove(state, resource, pod, options, call)
    return Answer(
        201, orjson.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
    )


def _spend(state: State, budget: Obj, pod: str, *, dry: bool) -> None:
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed <= 0:
        words = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently"
        )
        raise StatusError(
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
            details={"causes": [{"reason": "DisruptionBudget", "message": words}]},
        )
    if not dry:
        disrupted = {**(status.get("disruptedPods") or {}), pod: timestamp()}
        state.store.put(
            _BUDGETS, {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}}
        )
