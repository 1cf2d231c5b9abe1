"""The boundary of writing: create, update and patch, with dry runs, defaults, validation and field ownership."""

import copy
import uuid
from dataclasses import dataclass

from gateway.demo import bodies, crds, defaults, deletes, ownership, reads, schema
from gateway.demo.discovery import Resource
from gateway.demo.fieldsets import skeleton
from gateway.demo.hooks import written
from gateway.demo.ownership import Manager, Owned
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.validation import option, validate
from gateway.demo.wire import (
    MODIFIED,
    Answer,
    Call,
    Obj,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)

_GENERATED = "bcdfghjklmnpqrstvwxz2456789"
_COUNTED = {
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("", "pods"),
    ("", "replicationcontrollers"),
    crds.KEY,
}
"""Resources whose generation counts the changes of their spec; custom resources do too."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write and what its query says of it."""

    state: State
    resource: Resource
    asked: Route
    call: Call

    @property
    def dry(self) -> bool:
        """Say whether nothing is to be stored."""
        return "dryRun" in self.call.query

    @property
    def namespace(self) -> str:
        """Return the namespace written to, nothing for cluster-scoped resources."""
        return self.asked.namespace if self.resource.namespaced else ""

    def manager(self, operation: str = "Update") -> Manager:
        """Return who writes: the fieldManager parameter, else what the User-Agent starts with."""
        agent = self.call.header("user-agent").partition("/")[0] or "unknown"
        name = self.call.param("fieldManager") or agent
        return Manager(name, operation, self.resource.api_version, self.asked.subresource)

    def check_options(self, kind: str) -> None:
        """Raise StatusError 422 for a dryRun that is not All."""
        option(kind, "dryRun", self.call.query.get("dryRun", ()), ("All",), listed=True)


def create(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Create an object."""
    write = Write(state, resource, asked, call)
    write.check_options("CreateOptions")
    body = bodies.decode(call, resource)
    body, headers = bodies.fitted(body, resource, call)
    made = make(write, body)
    owned = ownership.update(
        schema.of_resource(resource), skeleton(resource), made, {}, by=write.manager(), now=timestamp()
    )
    answer = reads.show(resource, store(write, made, owned), call, 201)
    return Answer(answer.status, answer.body, answer.content_type, headers)


def make(write: Write, body: Obj) -> Obj:
    """Return a new object, complete and valid; raises StatusError for what can't be created."""
    resource, metadata = write.resource, dict(body["metadata"])
    if metadata.get("namespace") and metadata["namespace"] != write.namespace:
        words = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(words)
    if resource.namespaced:
        metadata["namespace"] = write.namespace
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            cause = ("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")
            raise invalid(resource.kind, resource.group, "", [cause])
        ending = "".join(_GENERATED[byte % len(_GENERATED)] for byte in uuid.uuid4().bytes[:5])
        metadata["name"] = metadata["generateName"] + ending
    _check_namespace(write)
    for name in ("resourceVersion", "selfLink", "deletionTimestamp", "managedFields"):
        metadata.pop(name, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
    if resource.key in _COUNTED or resource.custom is not None:
        metadata["generation"] = 1
    item = copy.deepcopy({**body, "metadata": metadata})
    if "status" in resource.subresources:
        item.pop("status", None)
    item = finished(write, item, None)
    if write.state.store.get(resource.key, write.namespace, metadata["name"]):
        raise already_exists(resource.plural, resource.group, metadata["name"])
    return item


def _check_namespace(write: Write) -> None:
    if not write.resource.namespaced:
        return
    home = write.state.store.get(("", "namespaces"), "", write.namespace)
    if home is None:
        raise not_found("namespaces", "", write.namespace)
    if home["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {write.namespace} because it is being terminated"
        raise forbidden(write.resource.plural, write.resource.group, "", why)


def finished(write: Write, item: Obj, before: Obj | None) -> Obj:
    """Complete and check an object about to be written; the caller owns it."""
    resource = write.resource
    if resource.custom is not None:
        item = crds.fill(crds.schema_of(resource), item)
        validate(item, resource.group, before)
        crds.validate(resource, item)
        return item
    kind = schema.of_resource(resource)
    item = schema.whole(kind, schema.pruned(kind, item))
    if resource.key == crds.KEY:
        crds.complete(item)
        crds.check(item)
    else:
        defaults.complete(item)
        if resource.kind == "Service" and resource.group == "":
            held = (before or {}).get("spec") or {}
            if held.get("clusterIP") and item["spec"].get("clusterIP") is None:
                item["spec"]["clusterIP"] = held["clusterIP"]
            defaults.allocate(item, write.state.store.revision)
    validate(item, resource.group, before)
    return item


def store(write: Write, item: Obj, owned: dict[Manager, Owned]) -> Obj:
    """Store an object with its owners, or only return it on a dry run."""
    metadata = {**item["metadata"], "managedFields": ownership.write_managers(owned)}
    if not metadata["managedFields"]:
        del metadata["managedFields"]
    item = {**item, "metadata": metadata}
    if write.dry:
        return item
    stored = write.state.store.put(write.resource.key, item)
    written(write.state, write.resource, stored)
    deletes.finalized(write.state, write.resource, stored)
    return stored


def update(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Replace an object."""
    write = Write(state, resource, asked, call)
    write.check_options("UpdateOptions")
    body = bodies.decode(call, resource)
    before = reads.find(state, resource, asked)
    body, headers = bodies.fitted(body, resource, call)
    answer = reads.show(resource, replace(write, before, body), call)
    return Answer(answer.status, answer.body, answer.content_type, headers)


def _identity(write: Write, before: Obj, after: Obj) -> Obj:
    """Return the new metadata with what no writer may change; raises StatusError where one tried."""
    resource, old, new = write.resource, before["metadata"], dict(after["metadata"])
    name = old["name"]
    if new.get("name", name) != name:
        raise bad_request(f"the name of the object ({new['name']}) does not match the name on the URL ({name})")
    if new.get("namespace", old.get("namespace")) != old.get("namespace"):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if new.get("uid", old["uid"]) != old["uid"]:
        text = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
        raise conflict(resource.plural, resource.group, name, text)
    version = new.get("resourceVersion", "")
    if version and not version.isdigit():
        raise StatusError(500, f'strconv.ParseUint: parsing "{version}": invalid syntax', reason="")
    if not version and resource.custom is not None and write.asked.verb == "update":
        words = "Invalid value: 0: must be specified for an update"
        raise invalid(resource.plural, resource.group, name, [("FieldValueInvalid", "metadata.resourceVersion", words)])
    if version and version != old["resourceVersion"]:
        raise conflict(resource.plural, resource.group, name, MODIFIED)
    kept = ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion")
    for field in (*kept, "deletionGracePeriodSeconds", "generateName"):
        new.pop(field, None)
        if field in old:
            new[field] = old[field]
    return new


def replace(write: Write, before: Obj, after: Obj, owned: dict[Manager, Owned] | None = None) -> Obj:
    """Store an object's next state; without owners given, what it changes becomes the writer's."""
    resource = write.resource
    metadata = _identity(write, before, after)
    sent = metadata.pop("managedFields", None)
    item = copy.deepcopy({**after, "metadata": metadata})
    if write.asked.subresource == "status":
        labels = {name: before["metadata"][name] for name in ("labels", "annotations") if name in before["metadata"]}
        kept = {**metadata, **labels}
        item = {**before, "metadata": kept, **({"status": item["status"]} if "status" in item else {})}
        if resource.custom is None:
            item = schema.whole(schema.of_resource(resource), item)
    elif "status" in resource.subresources:
        item = {key: value for key, value in item.items() if key != "status"}
        if "status" in before:
            item["status"] = before["status"]
        item = finished(write, item, before)
    else:
        item = finished(write, item, before)
    bare = bare_of(item)
    if bare.get("spec") != before.get("spec") and "generation" in before["metadata"]:
        item["metadata"]["generation"] = before["metadata"]["generation"] + 1
    managers = ownership.read_managers(before) if sent not in ([], [{}]) else {}
    if owned is None and not managers:
        owned = {}  # nobody was noted for it, and until the first apply nobody will be
    elif owned is None:
        owned = ownership.update(
            schema.of_resource(resource), bare_of(before), bare, managers, by=write.manager(), now=timestamp()
        )
    unchanged = ownership.write_managers(owned) == ownership.write_managers(ownership.read_managers(before))
    same = unchanged and bare_of(before) == bare
    return before if same else store(write, item, owned)


def bare_of(item: Obj) -> Obj:
    """Return an object without what counts its writes and says who made them."""
    hidden = {"managedFields", "resourceVersion", "generation"}
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key not in hidden}}
