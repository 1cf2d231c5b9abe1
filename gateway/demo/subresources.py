"""The boundary of what hangs below an object: status, scale, eviction, token and the like."""

from gateway.demo import reads, reviews
from gateway.demo.discovery import Resource
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.wire import Answer, Call, method_not_allowed


def answer_subresource(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Answer a call on a subresource that the resource has."""
    if asked.verb not in resource.subresources[asked.subresource]:
        raise method_not_allowed()
    if asked.subresource == "token":
        return reviews.token_request(state, asked, reviews.read_body(call, "TokenRequest"))
    return reads.get(state, resource, asked, call)
