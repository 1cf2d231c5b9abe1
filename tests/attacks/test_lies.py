from typing import Any

import orjson
import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Reply
from gateway.errors import GatewayError
from gateway.tools.shaping import as_yaml, fitted, parse
from tests.workbench import Workbench

COLUMNS = [{"name": "Name"}, {"name": "Age"}]


def table(*rows: Any, columns: Any = COLUMNS, **metadata: Any) -> dict[str, Any]:
    """Return a Table of these rows."""
    return {"kind": "Table", "metadata": metadata, "columnDefinitions": columns, "rows": list(rows)}


LIES: dict[str, Any] = {
    "null": None,
    "a list": [],
    "metadata that is a list": {"kind": "Table", "metadata": []},
    "rows that are a number": {"kind": "Table", "rows": 5},
    "a row that is null": table(None),
    "a row without cells": table({}),
    "a row with too few cells": table({"cells": ["x"]}),
    "a row about a text": table({"cells": ["x", "y"], "object": "x"}),
    "a row about a text of metadata": table({"cells": ["x", "y"], "object": {"metadata": "x"}}),
    "a row in a list of namespaces": table({"cells": ["x", "y"], "object": {"metadata": {"namespace": ["x"]}}}),
    "a row in a namespace of two megabytes": table(
        {"cells": ["x", "y"], "object": {"metadata": {"namespace": "n" * 2_000_000}}}
    ),
    "columns that are a text": table({"cells": ["x", "y"]}, columns="xx"),
    "a continue that is a number": table({"cells": ["x", "y"]}, **{"continue": 7}),
    "a continue of two megabytes": table({"cells": ["x", "y"]}, **{"continue": "c" * 2_000_000}),
    "a remaining count that is a text": table({"cells": ["x", "y"]}, remainingItemCount="x" * 100_000),
    "items that are a number": {"kind": "PodList", "items": 5},
    "items that are texts": {"kind": "PodList", "items": ["a"]},
    "an item that is null": {"kind": "PodList", "items": [None]},
    "an item whose metadata is a text": {"kind": "PodList", "items": [{"metadata": "x"}]},
    "an item whose name is a list": {"kind": "PodList", "items": [{"metadata": {"name": []}}]},
}


@pytest.mark.parametrize("output", ["table", "yaml", "json", "name"])
@pytest.mark.parametrize("lie", LIES)
async def test_a_list_that_is_none_is_told_as_that(
    cluster: EmbeddedCluster, bench: Workbench, lie: str, output: str
) -> None:
    """Whatever a cluster answers in place of a list, the agent reads what is wrong, in a bounded answer."""
    await bench.call("resource_types", {})
    with cluster.fault(Reply(200, orjson.dumps(LIES[lie]), "application/json"), paths=["/api/v1/*"]):
        text = await bench.failure("resource_list", {"resource": "pods", "output": output})
    assert "not a Kubernetes object" in text


@pytest.mark.parametrize("tool", ["resource_get", "resource_wait", "diagnose"])
@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_about_objects_is_a_failure_of_the_gateway(
    cluster: EmbeddedCluster, bench: Workbench, lie: str, tool: str
) -> None:
    """Whatever a cluster answers in place of an object or a list, no tool fails in a way that it does not explain."""
    await bench.call("resource_types", {})
    arguments = {"resource": "pods", "name": "x"} | ({"condition": "Ready", "timeout": 1} if "wait" in tool else {})
    with cluster.fault(Reply(200, orjson.dumps(LIES[lie]), "application/json"), paths=["/api/v1/*", "/apis/*"]):
        try:
            text = await bench.call(tool, arguments)
        except GatewayError as error:
            text = error.message
    assert len(text.encode()) <= 24 * 1024


async def test_a_column_with_a_long_name_does_not_fill_the_answer(cluster: EmbeddedCluster, bench: Workbench) -> None:
    """The heading of a table is held to the answer's budget as well."""
    await bench.call("resource_types", {})
    body = orjson.dumps(table({"cells": ["x"]}, columns=[{"name": "A" * 200_000}]))
    with cluster.fault(Reply(200, body, "application/json"), paths=["/api/v1/*"]):
        assert len(await bench.call("resource_list", {"resource": "pods"})) < 1000


@pytest.mark.parametrize("depth", [300, 1000])
async def test_an_object_nested_deeper_than_json_is_written_is_cut(depth: int) -> None:
    """An object of hundreds of levels, which an API server takes, is shown as far as it goes."""
    body = b'{"kind":"X","spec":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    document, cut = fitted(await parse(body), 4096)
    assert cut
    assert "…[1 keys]" in as_yaml(document)
