"""Several clusters' lists become one, and URIs, cursors and arguments find back to their cluster."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError

from gateway.bridge import several

AWAY = MCPError(code=-32603, message="away")


def tool(name: str, *required: str) -> dict[str, Any]:
    """Return a tool as a server lists it."""
    schema = {"type": "object", "properties": {word: {"type": "string"} for word in required}, "required": [*required]}
    return {"name": name, "inputSchema": schema}


def test_a_tool_is_listed_once_and_offered_where_it_is() -> None:
    """What one cluster has, and another may have that could not be asked, must be offered on those two."""
    listed = several.Listed.of({"a": [tool("x"), tool("y", "name")], "b": [tool("x")], "c": AWAY})
    shown = [several.tool_of(entry, clusters) for entry, clusters in listed.union("name")]
    assert [entry["name"] for entry in shown] == ["x", "y"]
    assert [entry["inputSchema"]["properties"]["cluster"]["enum"] for entry in shown] == [["a", "b", "c"], ["a", "c"]]
    assert shown[1]["inputSchema"]["required"] == ["cluster", "name"]


def test_no_list_at_all_is_the_first_failure() -> None:
    """Where nobody could be asked, the agent must hear why."""
    with pytest.raises(MCPError, match="away"):
        several.Listed.of({"a": AWAY, "b": AWAY})


@given(st.text(min_size=1), st.sampled_from(["k8s://clustered/core/v1/nodes/n", "k8s://namespaced/a/b/c/d/e%2Ff"]))
def test_a_uri_finds_back(cluster: str, uri: str) -> None:
    """Whatever a cluster is called, its URIs must lead to it, unchanged."""
    assert several.inner_uri(several.outer_uri(cluster, uri)) == (cluster, uri)


@given(st.integers(min_value=0), st.text())
def test_a_cursor_finds_back(position: int, inner: str) -> None:
    """A page goes on where it ended, whatever the gateway's own cursor looks like."""
    assert several.position_of(several.cursor_of(position, inner)) == (position, inner or None)


@pytest.mark.parametrize("given", [None, {}, {"cluster": 3}, {"cluster": None}])
def test_no_cluster_is_an_empty_name(given: dict[str, Any] | None) -> None:
    """What is no name must not become one."""
    assert several.without_cluster(given) == ("", {})


def test_what_all_say_is_said_once() -> None:
    """The instructions name each cluster as its server does, and repeat nothing else."""
    text = several.instructions({"a": "Kubernetes cluster a. Lists are pages. More.", "b": None})
    assert text.splitlines()[1:] == ["- a: Kubernetes cluster a", "- b: not reached yet", "Lists are pages. More."]


def test_a_prompt_without_text_stays_as_it_is() -> None:
    """Only words can say which cluster it is about."""
    filled = {"messages": [{"role": "user", "content": {"type": "image"}}]}
    assert several.about("a", filled) == filled
