"""The boundary of watching: changes after a revision as a stream of JSON lines, with bookmarks and ERROR events."""

from gateway.demo.discovery import Resource
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.wire import Answer, Call, method_not_allowed


def watch(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Answer with a stream of changes."""
    raise method_not_allowed()
