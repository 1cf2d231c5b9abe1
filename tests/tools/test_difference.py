import copy
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.difference import addition, difference, fitting, without_noise

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "uid": "1",
        "resourceVersion": "5",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "x"}],
        "annotations": {"note": "kept"},
    },
    "spec": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"name": "c", "image": "nginx:1", "args": ["a\nb\nc\n"]}]}},
    },
    "status": {"replicas": 1},
}


def changed(**spec: Any) -> dict[str, Any]:
    """Return the deployment with other fields in its spec, and everything that is noise changed as well."""
    other = copy.deepcopy(DEPLOYMENT)
    other["spec"] |= spec
    other["metadata"] |= {"uid": "2", "resourceVersion": "6", "generation": 2, "managedFields": []}
    other["status"] = {"replicas": 7}
    return other


def test_noise_alone_is_no_difference() -> None:
    """Status, uid, resourceVersion, generation, creationTimestamp and managedFields never show."""
    assert difference(DEPLOYMENT, changed()) == []
    assert set(without_noise(DEPLOYMENT)["metadata"]) == {"name", "annotations"}
    assert "uid" in DEPLOYMENT["metadata"]


def test_a_change_is_a_unified_difference() -> None:
    """A hunk names where it begins, and has three lines around what changes."""
    assert difference(DEPLOYMENT, changed(replicas=3)) == [
        "@@ -5,7 +5,7 @@ metadata",
        "   annotations:",
        "     note: kept",
        " spec:",
        "-  replicas: 1",
        "+  replicas: 3",
        "   template:",
        "     spec:",
        "       containers:",
    ]


def test_text_of_several_lines_is_compared_by_line() -> None:
    """One line of a script that changes is one line of the difference, under the path of its container."""
    containers = [{"name": "c", "image": "nginx:1", "args": ["a\nB\nc\n"]}]
    lines = difference(DEPLOYMENT, changed(template={"spec": {"containers": containers}}))
    assert [line for line in lines if line[0] in "+-"] == ["-              b", "+              B"]
    assert lines[0].endswith(" spec.template.spec.containers[c]")


def test_annotations_are_never_left_out() -> None:
    """What server-side apply would do to an annotation is shown, even to kubectl's own."""
    other = changed()
    other["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert [line for line in difference(DEPLOYMENT, other) if line[0] in "+-"] == [
        "-    note: kept",
        '+    kubectl.kubernetes.io/last-applied-configuration: "{}"',
    ]


def test_a_new_object_is_shown_whole() -> None:
    """Every line of what is created has a plus, without what the API server invents."""
    lines = addition(DEPLOYMENT)
    assert lines[:3] == ["+apiVersion: apps/v1", "+kind: Deployment", "+metadata:"]
    assert "+              b" in lines
    assert not any("uid" in line or "status" in line for line in lines)


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\x1b[2K", "\r", "\u2028", "\x00"])
def test_nothing_is_hidden_from_a_reader(hidden: str) -> None:
    """Characters that reorder, erase or do not show are written out, in values, keys and scripts alike."""
    for data in ({"a": f"x{hidden}y"}, {f"x{hidden}y": "a"}, {"a": f"x{hidden}y\nz"}):
        text = "\n".join(addition({"data": data}))
        assert hidden not in text
        assert f"x{json.dumps(hidden[0])[1:-1]}" in text


def test_words_that_look_like_something_else_are_quoted() -> None:
    """A text is told apart from a number, a boolean, null and nothing."""
    values = ["1", 1, "true", True, "null", None, "", "a b", "a: b", "- a", {}, []]
    shown = [line.removeprefix("+  - ") for line in addition({"v": values})[1:]]
    assert shown == ['"1"', "1", '"true"', "true", '"null"', "null", '""', "a b", '"a: b"', '"- a"', "{}", "[]"]


def test_what_changes_in_a_long_line_stays_in_sight() -> None:
    """Of two long lines the equal parts are left out, and the change never is."""
    before, after = "q" * 5000 + "OLD" + "r" * 5000, "q" * 5000 + "NEW" + "r" * 5000
    lines = difference({"data": {"a": before, "b": "x" * 1000}}, {"data": {"a": after, "b": "x" * 1000}})
    assert sum(map(len, lines)) < 1200
    assert "OLD" in "".join(line for line in lines if line[0] == "-")
    assert "NEW" in "".join(line for line in lines if line[0] == "+")


@pytest.mark.parametrize("words", [3, 100, 100_000])
def test_large_differences_take_little_time(words: int) -> None:
    """Twenty thousand lines that all differ or all resemble each other must not take quadratic time."""
    chance = random.Random(1)  # noqa: S311  # not for secrets
    before, after = ("\n".join(str(chance.randrange(words)) for _ in range(20_000)) for _ in range(2))
    started = time.process_time()
    lines = difference({"data": {"a": before}}, {"data": {"a": after}})
    assert time.process_time() - started < 5
    assert len(lines) > 10_000


LINES = st.lists(st.text("ab \t", max_size=3), max_size=12)


@given(LINES, LINES)
def test_a_difference_can_be_followed(before: list[str], after: list[str]) -> None:
    """What has no minus is new, what has no plus is old, in order; and no difference means the same."""
    old, new = {"data": {"a": "x\n" + "\n".join(before)}}, {"data": {"a": "x\n" + "\n".join(after)}}
    lines = [line for line in difference(old, new) if not line.startswith("@@")]
    assert (lines == []) == (old == new)
    shown_old = [line[1:] for line in lines if line[0] in " -"]
    whole_old = [line[1:] for line in addition(old)]
    assert _in_order(shown_old, whole_old)
    assert _in_order([line[1:] for line in lines if line[0] in " +"], [line[1:] for line in addition(new)])


def _in_order(part: list[str], whole: list[str]) -> bool:
    remaining = iter(whole)
    return all(line in remaining for line in part)


def test_small_parts_are_not_cut_for_large_ones() -> None:
    """The budget is shared fairly, whole lines are kept, and what is left out is counted."""
    small, large = ["+a"] * 3, [f"+{'x' * 50}"] * 100
    fitted = fitting([large, small, large], 1000)
    assert fitted[1] == small
    for part in (fitted[0], fitted[2]):
        assert part[-1] == f"…[{100 - len(part) + 1} more changed lines not shown]"
        assert len(part) > 5
    assert sum(len(line.encode()) + 1 for part in fitted for line in part) <= 1000
    assert fitting([small, small], 1000) == [small, small]
    assert fitting([], 10) == []


def test_a_line_over_the_budget_is_shown_in_part() -> None:
    """One huge line still shows its beginning."""
    (part,) = fitting([["+" + "ä" * 10_000]], 1000)
    assert part[0].startswith("+ää")
    assert part[1] == "…[0 more changed lines not shown]" or "more" in part[1]
