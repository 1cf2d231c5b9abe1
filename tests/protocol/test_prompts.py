"""Prompts: words for a task, with nothing in them that is not there."""

import re

import pytest

from gateway.errors import BadArgument
from gateway.tools.prompts import MAX_ARGUMENT, PROMPTS, Prompt

READING = frozenset({"resource_types", "resource_list", "resource_get", "resource_wait", "diagnose"})
WRITING = READING | {"resource_apply", "resource_post"}
FAILING, REVIEW, ROLL_OUT = PROMPTS


def _given(prompt: Prompt) -> dict[str, str]:
    return {parameter.name: f"the-{parameter.name}" for parameter in prompt.parameters}


@pytest.mark.parametrize("tools", [READING, WRITING], ids=["reading", "writing"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_only_offered_tools_are_named(prompt: Prompt, tools: frozenset[str]) -> None:
    """Wherever a prompt is offered, each tool it speaks of must be; its arguments must be in its words."""
    if not prompt.is_offered(tools):
        assert prompt is ROLL_OUT
        return
    text = prompt.render(_given(prompt), tools)
    assert set(re.findall(r"`(resource_\w+|diagnose)`", text)) <= tools
    assert all(value in text for value in _given(prompt).values())
    assert len(prompt.render({p.name: "x" for p in prompt.parameters if p.required}, tools)) < 1200


def test_a_read_only_cluster_is_not_asked_to_change() -> None:
    """Where nothing may be written, a review must compare by reading, and a failure be handed to a person."""
    assert "`resource_get`" in REVIEW.render({"manifest": "a"}, READING)
    assert "read-only" in FAILING.render({"name": "a"}, READING)
    assert "dryRun" in REVIEW.render({"manifest": "a"}, WRITING)


@pytest.mark.parametrize(
    "given",
    [None, {}, {"name": "  "}, {"name": "a", "other": "b"}, {"name": "a" * (MAX_ARGUMENT + 1)}],
)
def test_arguments_are_checked(given: dict[str, str] | None) -> None:
    """A missing, unknown or endless argument must be refused in words."""
    with pytest.raises(BadArgument):
        FAILING.render(given, READING)
