"""The boundary of patching: the four kinds of patch, and server-side apply among them."""

import orjson

from gateway.demo import bodies, ownership, patches, reads, schema
from gateway.demo.discovery import Resource
from gateway.demo.ownership import Manager, Owned
from gateway.demo.route import Route
from gateway.demo.schema import TypeMismatchError
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.wire import MODIFIED, Answer, Call, Obj, StatusError, bad_request, conflict, invalid, not_found
from gateway.demo.writes import Write, bare_of, make, replace, store


def patch(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Patch an object by whichever of the four kinds of patch; an apply may create it."""
    write = Write(state, resource, asked, call)
    write.check_options("PatchOptions")
    kind = bodies.content_type(call)
    if kind == bodies.APPLY:
        return _apply(write)
    known = (bodies.JSON_PATCH, bodies.MERGE, bodies.STRATEGIC)
    if kind not in known:
        raise StatusError(415, "415: Unsupported Media Type", details={})
    if kind == bodies.STRATEGIC and resource.custom is not None:
        words = f"{bodies.JSON_PATCH}, {bodies.MERGE}, {bodies.APPLY}"
        start = "the body of the request was in an unknown format - accepted media types include: "
        raise StatusError(415, start + words)
    before = reads.find(state, resource, asked)
    after, headers = patched(write, before, kind)
    answer = reads.show(resource, replace(write, before, after), call)
    return Answer(answer.status, answer.body, answer.content_type, headers)


def patched(write: Write, before: Obj, kind: str) -> tuple[Obj, dict[str, str]]:
    """Return an object with the call's patch applied, and the Warning header about unknown fields."""
    try:
        document = orjson.loads(write.call.body)
    except orjson.JSONDecodeError as error:
        words = "unexpected end of JSON input" if "EOF" in str(error) or "end" in str(error) else str(error)
        raise bad_request(f"error decoding patch: {words}") from None
    if kind == bodies.JSON_PATCH:
        after = patches.json_patch(before, document)
    elif kind == bodies.MERGE:
        after = patches.merge(before, document)
    else:
        after = patches.strategic(schema.of_resource(write.resource), before, document)
    return bodies.fitted(bodies.typed(after, write.resource), write.resource, write.call)


def applied_config(write: Write) -> Obj:
    """Return the configuration an apply sends; raises StatusError 400, 422, or the 500 of a field not in the schema."""
    call, resource, asked = write.call, write.resource, write.asked
    if not call.param("fieldManager"):
        cause = ("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
        raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
    config = bodies.first_document(call.body)
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the body is not an object")
    if (config.get("apiVersion"), config.get("kind")) != (resource.api_version, resource.kind):
        shown = f"{'/' if '/' not in str(config.get('apiVersion', '')) else ''}{config.get('apiVersion') or ''}"
        raise bad_request(f"invalid object type: {shown}, Kind={config.get('kind') or ''}")
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("error decoding YAML: metadata is not an object")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if not metadata.get("name"):
        raise bad_request(
            f"the name of the object ({asked.name} based on URL) was undeterminable: name must be provided"
        )
    if metadata["name"] != asked.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({asked.name})"
        )
    if metadata.get("namespace", write.namespace) != write.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    kind = schema.of_resource(resource)
    try:
        schema.check(kind, config)
    except TypeMismatchError as error:
        version = f"{resource.group}/{resource.version}"
        who = f"{metadata.get('namespace', '')}/{metadata['name']}; {version}, Kind={resource.kind}"
        raise StatusError(500, f"failed to create typed patch object ({who}): {error}", reason="") from None
    slim: Obj = schema.pruned(kind, config)
    return slim


def _apply(write: Write) -> Answer:
    resource, call = write.resource, write.call
    kind = schema.of_resource(resource)
    before = write.state.store.get(resource.key, write.namespace, write.asked.name)
    config = applied_config(write)
    now, manager = timestamp(), write.manager("Apply")
    if before is None:
        if write.asked.subresource:
            raise not_found(resource.plural, resource.group, write.asked.name)
        if uid := config["metadata"].get("uid"):
            words = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(resource.plural, resource.group, write.asked.name, words)
        result, owned = ownership.apply(kind, {"metadata": {}}, config, {}, by=manager, force=False, now=now)
        owned = _reset(write, owned, manager)
        return reads.show(resource, store(write, make(write, result), owned), call, 201)
    version = config["metadata"].get("resourceVersion")
    if version and version != before["metadata"]["resourceVersion"]:
        raise conflict(resource.plural, resource.group, write.asked.name, MODIFIED)
    if config["metadata"].get("uid", before["metadata"]["uid"]) != before["metadata"]["uid"]:
        words = f'Invalid value: "{config["metadata"]["uid"]}": field is immutable'
        raise invalid(resource.kind, resource.group, write.asked.name, [("FieldValueInvalid", "metadata.uid", words)])
    bare = bare_of(before) | {"metadata": before["metadata"]}
    managers = ownership.read_managers(before) or ownership.unmanaged(resource, kind, bare, now)
    result, owned = ownership.apply(kind, bare, config, managers, by=manager, force=call.flag("force"), now=now)
    owned = _reset(write, owned, manager)
    return reads.show(resource, replace(write, before, result, owned), call)


def _reset(write: Write, owned: dict[Manager, Owned], manager: Manager) -> dict[Manager, Owned]:
    """Return the owners without the fields that a write to this subresource does not reach."""
    if "status" not in write.resource.subresources or write.asked.subresource:
        return owned
    mine = owned[manager]
    kept = frozenset(path for path in mine.fields if path[0] != "f:status")
    return {**owned, manager: Owned(kept, mine.time)}
