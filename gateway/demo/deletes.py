"""The boundary of deleting: preconditions, propagation, finalizers, and what goes with its owner."""

import orjson

from gateway.demo import controllers, crds, reads
from gateway.demo.discovery import Resource
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.store import Key, timestamp
from gateway.demo.validation import option
from gateway.demo.wire import Answer, Call, Obj, StatusError, bad_request, forbidden

_POLICIES = ("Foreground", "Background", "Orphan", "nil")
_FOREGROUND = "foregroundDeletion"
GRACE = 0.2
"""Seconds after which a running pod that is deleted is gone; a kubelet would take up to its grace period."""


def options_of(call: Call) -> Obj:
    """Return DeleteOptions from the body and the query; raises StatusError 400 or 422."""
    found: Obj = {}
    if call.body:
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
        found = body if isinstance(body, dict) else {}
    for name in ("propagationPolicy", "gracePeriodSeconds"):
        if name in call.query:
            found[name] = call.param(name)
    if "dryRun" in call.query:
        found["dryRun"] = list(call.query["dryRun"])
    option("DeleteOptions", "dryRun", tuple(found.get("dryRun") or ()), ("All",), listed=True)
    policy = found.get("propagationPolicy")
    option("DeleteOptions", "propagationPolicy", (policy,) if policy else (), _POLICIES)
    return found


def delete(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Delete one object; answers with it while it lingers, with a Status once it is gone."""
    options = options_of(call)
    item = reads.find(state, resource, asked)
    return remove(state, resource, item, options, call)


def delete_collection(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Delete all that the selectors select, and answer with the list of them."""
    options = options_of(call)
    match = reads.selector_of(resource, call)
    gone = []
    for item in state.store.all(resource.key, asked.namespace if resource.namespaced else ""):
        if match is None or match(item):
            gone.append(item)
            remove(state, resource, item, options, call)
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
    metadata = {"resourceVersion": str(state.store.revision)}
    return Answer(200, orjson.dumps({**head, "metadata": metadata, "items": gone}))


def remove(state: State, resource: Resource, item: Obj, options: Obj, call: Call) -> Answer:
    """Delete an object that was found."""
    metadata = item["metadata"]
    name = metadata["name"]
    _check_preconditions(resource, item, options.get("preconditions") or {})
    if resource.key == ("", "namespaces") and name in {"default", "kube-system", "kube-public", "kube-node-lease"}:
        raise forbidden("namespaces", "", name, "this namespace may not be deleted")
    dry = bool(options.get("dryRun"))
    lingering = _lingering(state, resource, item, options)
    if lingering is not None:
        if not dry:
            first = not metadata.get("deletionTimestamp")
            lingering = state.store.put(resource.key, lingering) if first else item
            _end(state, resource, lingering, options)
        return reads.show(resource, lingering, call)
    if not dry:
        _gone(state, resource, item, options.get("propagationPolicy") or "Background")
    details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": metadata["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    shown = {key: value for key, value in details.items() if value}
    return Answer(200, orjson.dumps({**status, "details": shown}))


def _check_preconditions(resource: Resource, item: Obj, wanted: Obj) -> None:
    name, metadata = item["metadata"]["name"], item["metadata"]
    text = ""
    if wanted.get("uid") not in {None, metadata["uid"]}:
        text = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif wanted.get("resourceVersion") not in {None, metadata["resourceVersion"]}:
        text = (
            f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the ResourceVersion "
            f"in record ({metadata['resourceVersion']}). The object might have been modified"
        )
    if text:
        words = f'Operation cannot be fulfilled on {resource.kind} "{name}": {text}'
        if resource.group:
            words = words.replace(resource.kind, f"{resource.kind}.{resource.group}", 1)
        group = {"group": resource.group} if resource.group else {}
        raise StatusError(409, words, details={"name": name, **group, "kind": resource.kind})


def _lingering(state: State, resource: Resource, item: Obj, options: Obj) -> Obj | None:
    """Return an object as it is while it is being deleted, None where it goes at once."""
    metadata = item["metadata"]
    finalizers = list(metadata.get("finalizers") or ())
    if options.get("propagationPolicy") == "Foreground" and _FOREGROUND not in finalizers:
        finalizers.append(_FOREGROUND)
    grace = 0
    if resource.key == ("", "pods") and item["spec"].get("nodeName"):
        asked = options.get("gracePeriodSeconds")
        phase = (item.get("status") or {}).get("phase")
        over = phase in {"Succeeded", "Failed"}
        grace = (
            0 if over else int(item["spec"].get("terminationGracePeriodSeconds") or 0) if asked is None else int(asked)
        )
    filled = resource.key == ("", "namespaces") or (resource.key == crds.KEY and _instances(state, item))
    if not finalizers and not grace and not filled:
        return None
    marks: Obj = {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": grace}
    if finalizers:
        marks["finalizers"] = finalizers
    if "generation" in metadata:
        marks["generation"] = metadata["generation"] + 1
    ending = {**item, "metadata": {**metadata, **marks}}
    if resource.key == ("", "namespaces"):
        ending["status"] = {**(item.get("status") or {}), "phase": "Terminating"}
    return ending


def _instances(state: State, definition: Obj) -> list[Obj]:
    spec = definition["spec"]
    return state.store.all((spec["group"], spec["names"]["plural"]))


def _end(state: State, resource: Resource, item: Obj, options: Obj) -> None:
    finalizers = set(item["metadata"].get("finalizers") or ())
    policy = options.get("propagationPolicy") or "Background"

    def finish() -> None:
        current = state.store.get(resource.key, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        if current is not None and current["metadata"]["uid"] == item["metadata"]["uid"]:
            _gone(state, resource, current, policy)

    if not finalizers - {_FOREGROUND, "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"}:
        state.later(GRACE, finish)


def _gone(state: State, resource: Resource, item: Obj, policy: str) -> None:
    metadata = item["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if resource.key == ("", "namespaces"):
        for key in state.store.resources():
            for inner in state.store.all(key, name):
                if inner["metadata"].get("namespace") == name:
                    state.store.remove(key, name, inner["metadata"]["name"])
    if resource.key == crds.KEY:
        for inner in _instances(state, item):
            key = (item["spec"]["group"], item["spec"]["names"]["plural"])
            state.store.remove(key, inner["metadata"].get("namespace", ""), inner["metadata"]["name"])
    state.store.remove(resource.key, namespace, name)
    if resource.key == crds.KEY:
        crds.serve(state)
    if resource.key == ("", "pods"):
        state.logs.clear(namespace, name)
        controllers.pod_changed(state, item)
    collect(state, metadata["uid"], orphan=policy == "Orphan")


def collect(state: State, owner: str, *, orphan: bool) -> None:
    """Do the garbage collector's work after an owner is gone: its dependents go too, or are let go of."""
    for key, item in _dependents(state, owner):
        metadata = item["metadata"]
        left = [found for found in metadata["ownerReferences"] if found.get("uid") != owner]
        if orphan or left:
            kept = {name: value for name, value in metadata.items() if name != "ownerReferences"}
            state.store.put(key, {**item, "metadata": {**kept, **({"ownerReferences": left} if left else {})}})
        else:
            state.store.remove(key, metadata.get("namespace", ""), metadata["name"])
            collect(state, metadata["uid"], orphan=False)


def _dependents(state: State, owner: str) -> list[tuple[Key, Obj]]:
    return [
        (key, item)
        for key in state.store.resources()
        for item in state.store.all(key)
        if any(found.get("uid") == owner for found in item["metadata"].get("ownerReferences") or ())
    ]


def finalized(state: State, resource: Resource, item: Obj) -> None:
    """Let an object go whose last finalizer was taken away while it was being deleted."""
    metadata = item["metadata"]
    if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and resource.key != ("", "pods"):
        _gone(state, resource, item, "Background")
