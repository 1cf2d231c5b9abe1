import json
from collections.abc import Callable
from typing import Annotated, Literal

import bpe_openai
import pytest
from pydantic import Field, ValidationError

from gateway.policy.options import PolicyOptions
from gateway.tools.tool import Arguments, Tool
from tests.workbench import Workbench


class Inner(Arguments):
    """A docstring that is for whoever reads the code."""

    tail_lines: Annotated[int, Field(ge=1)] = 5


class Example(Arguments):
    """A docstring that is for whoever reads the code."""

    resource: Annotated[str, Field(description="kind", max_length=5)]
    field_selector: str | None = None
    limit: int | None = None
    output: Literal["a", "b"] = "a"
    deep: Annotated[Inner, Field(description="for logs")] = Inner()
    flag: bool = False
    either: int | list[str] | None = None


async def run(session: object, arguments: Example) -> str:
    """Do nothing."""
    return repr((session, arguments))


TOOL = Tool(name="example", title="Example", description="An example.", arguments=Example, run=run)


def test_a_schema_holds_only_what_a_model_needs() -> None:
    """Titles, null alternatives, docstrings, lengths and references cost tokens and say nothing."""
    assert TOOL.input_schema() == {
        "type": "object",
        "properties": {
            "resource": {"type": "string", "description": "kind"},
            "fieldSelector": {"type": "string"},
            "limit": {"type": "integer"},
            "output": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "deep": {
                "type": "object",
                "description": "for logs",
                "properties": {"tailLines": {"type": "integer", "minimum": 1, "default": 5}},
            },
            "flag": {"type": "boolean", "default": False},
            "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        },
        "required": ["resource"],
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"fieldSelector": None, "limit": "", "flag": None, "output": ""}, {}),
        ({"limit": "7", "flag": "true"}, {"limit": 7, "flag": True}),
        ({"limit": 7.0, "flag": "FALSE"}, {"limit": 7, "flag": False}),
        ({"field_selector": "a=b"}, {"field_selector": "a=b"}),
        ({"fieldSelector": "  a=b "}, {"field_selector": "a=b"}),
        ({"deep": {"tailLines": "3"}}, {"deep": Inner(tail_lines=3)}),
        ({"deep": {"tailLines": None}}, {"deep": Inner()}),
        ({"deep": None}, {}),
    ],
)
def test_arguments_are_taken_as_they_are_meant(given: dict[str, object], meant: dict[str, object]) -> None:
    """Agents write null or nothing for what they leave out, and numbers and truths as text."""
    assert Example.model_validate({"resource": "pods", **given}) == Example(resource="pods", **meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"resource": ""},
        {"resource": "pods", "bogus": 1},
        {"resource": "pods", "limit": "many"},
        {"resource": "pods", "limit": 1.5},
        {"resource": "pods", "output": "c"},
        {"resource": "pods", "deep": {"bogus": 1}},
        {"resource": "pods", "deep": "text"},
        {"resource": "pods", "fieldSelector": "x" * 5000},
        {"resource": ["pods"]},
    ],
)
def test_arguments_that_mean_nothing_are_refused(given: dict[str, object]) -> None:
    """What was typed is not shown again, because it may hold what should not be in a log."""
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(given)
    assert "input_value" not in str(caught.value)


@pytest.mark.parametrize(
    ("needs", "writes", "offered"),
    [(None, [], True), ("apply", [], False), ("apply", ["post"], False), ("apply", ["apply", "post"], True)],
)
def test_a_tool_that_writes_is_there_where_the_policy_has_it(
    needs: Literal["apply"] | None, writes: list[Literal["apply", "post", "delete"]], *, offered: bool
) -> None:
    """A cluster is read-only unless its policy says otherwise."""
    tool = Tool(name="x", title="X", description="", arguments=Example, run=run, needs=needs)
    assert tool.is_offered(PolicyOptions(writes=frozenset(writes))) is offered


def tokens(*tools: Tool[Example]) -> int:
    """Count what a client is told of these tools, whatever part of it a model then sees."""
    described = [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": tool.input_schema(),
            "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True},
        }
        for tool in tools
    ]
    return len(bpe_openai.get_encoding("o200k_base").encode(json.dumps(described, separators=(",", ":"))))


async def test_the_tools_take_little_of_a_context_window(
    bench: Workbench, record_property: Callable[[str, object], None]
) -> None:
    """The three reading tools take at most 900 tokens, all together at most 2,000."""
    reading = tokens(*(bench.tools[name] for name in ("resource_types", "resource_list", "resource_get")))
    every = tokens(*bench.tools.values())
    record_property("tokens", {"reading": reading, "all": every})
    print(f"tokens of schemas: {reading} for reading, {every} for all")  # noqa: T201
    assert reading <= 900
    assert every <= 2000


async def test_the_annotations_are_true(bench: Workbench) -> None:
    """What is said to be read-only needs no write, and only what says so destroys."""
    for tool in bench.tools.values():
        assert tool.read_only is (tool.needs is None)
        assert not (tool.read_only and tool.destructive)
        assert (tool.rate == "reads") is tool.read_only
        assert len(tool.description) < 500
