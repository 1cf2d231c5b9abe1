import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.demo import EmbeddedCluster
from gateway.tools.difference import difference
from gateway.tools.logs import LogParameters
from gateway.tools.resource_post import held_to
from tests.workbench import Workbench


@contextmanager
def costing_at_most(seconds: float) -> Iterator[None]:
    """Hold what runs here to so much of this process' own time: what one caller's call costs, the others wait for."""
    before = time.process_time()
    yield
    assert time.process_time() - before < seconds


def of(*lines: str) -> dict[str, Any]:
    """Return an object with a text of these lines."""
    return {"data": {"text": "\n".join(lines)}}


def test_equal_lines_do_not_make_a_difference_cubic() -> None:
    """Lines that repeat, each in many places, are compared in bounded time."""
    with costing_at_most(8):
        found = difference(of(*["a", "x"] * 1000), of(*["a", "y"] * 1000))
    assert sum(line.startswith("+") for line in found) >= 1000


def test_many_changes_below_a_long_text_are_headed_in_bounded_time() -> None:
    """The field that a hunk begins in is looked for in its neighbourhood only."""
    before = [f"line {number}" for number in range(200_000)]
    after = [f"{line}{'!' if at > 198_000 and at % 10 == 0 else ''}" for at, line in enumerate(before)]
    with costing_at_most(6):
        assert difference(of(*before), of(*after))


def test_a_filter_of_a_log_is_short() -> None:
    """A filter can't have so many alternatives that searching a log for each of them takes seconds."""
    with pytest.raises(ValidationError):
        LogParameters(grep="|".join(f"word{number}" for number in range(700)))


async def test_what_is_not_shown_of_a_list_is_not_written_out(cluster: EmbeddedCluster, bench: Workbench) -> None:
    """A list of objects that are together far over the answer's budget costs no more than what of it is shown."""
    for number in range(6):
        data = {f"key-{number}": f"value {number}" for number in range(10_000)}
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"m{number}", "namespace": "demo"},
            "data": data,
        }
        cluster.seed([manifest])
    await bench.call("resource_list", {"resource": "configmaps", "namespace": "demo", "limit": 1, "output": "name"})
    with costing_at_most(2):
        text = await bench.call("resource_list", {"resource": "configmaps", "namespace": "demo", "output": "yaml"})
    assert len(text) < 24 * 1024
    assert "continue: " in text


@pytest.mark.parametrize("given", [{}, {"uid": None}, {"uid": ""}])
def test_no_precondition_lifts_that_of_the_confirmed_pod(given: dict[str, Any]) -> None:
    """Whatever preconditions an eviction is given, it names the uid of the pod that was confirmed."""
    assert held_to(given, "uid-web")["uid"] == "uid-web"


def test_a_pod_that_the_caller_names_by_uid_is_not_exchanged_for_another() -> None:
    """A uid that the caller gave stays, so that the API server refuses another pod of that name."""
    assert held_to({"uid": "other", "resourceVersion": "5"}, "uid-web") == {"uid": "other", "resourceVersion": "5"}
