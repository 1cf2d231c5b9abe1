from typing import Any

import orjson
import pytest

from gateway.demo.faults import Reply
from gateway.protocol.outgoing import answer
from gateway.redaction.names import STEMS
from gateway.redaction.rules import load
from gateway.redaction.text import Clean
from gateway.telemetry.metrics import Metrics
from gateway.tools.shaping import parse
from gateway.tools.tables import lines
from tests.redaction.credentials import CREDENTIALS
from tests.workbench import Workbench


def table(columns: list[str], *cells: list[Any], **objects: Any) -> dict[str, Any]:
    """Return a Table of these cells."""
    rows = [{"cells": row, **objects} for row in cells]
    return {"kind": "Table", "metadata": {}, "columnDefinitions": [{"name": name} for name in columns], "rows": rows}


def test_whatever_a_cell_is_it_is_text_on_one_line() -> None:
    """Numbers, lists and nothing at all come from extensions' own servers; a line feed would make two rows of one."""
    odd = table(["Name", "Odd"], ["a", 1], ["b\tc", None], ["d", ["x", {}]], ["e\u202ef", True])
    found = lines(odd, across=False, names=False, redaction=True)
    assert found.heading == "NAME\tODD"
    assert found.rows == ("a\t1", "b c\t", "d\t['x', {}]", "e\\u202ef\tTrue")


def test_columns_that_say_nothing_are_left_out() -> None:
    """But not the first one, where none says anything, nor the column that was asked for."""
    empty = table(["Name", "Class"], ["a", "<none>"], ["b", ""])
    assert lines(empty, across=False, names=False, redaction=True).rows == ("a", "b")
    nothing = table(["Name", "Class"], ["", "<none>"], ["", "<unset>"])
    assert lines(nothing, across=False, names=False, redaction=True).rows == ("", "")
    assert lines(table([], [], []), across=False, names=False, redaction=True).rows == ("", "")


async def test_the_namespace_is_found_in_whatever_order_an_object_is_written() -> None:
    """API servers write it before the uid; where another one does not, the table is read all the same."""
    metadata = {"annotations": {"a": "b", "uid": "c"}, "labels": {"a": "b", "uid": "c"}, "name": "a", "namespace": "n"}
    document = await parse(orjson.dumps(table(["Name"], ["a"], ["b"], object={"metadata": metadata})))
    assert lines(document, across=True, names=False, redaction=True).rows == ("n\ta", "n\tb")


PLAIN = ["web-0", "1/1", "Running", "5d", "grün", "\U0001f469\u200d\U0001f680"]
TELLING = ["a\u202eb", "\u200d", "keycloak-0", "db_password: x9", "Bearer", *CREDENTIALS.values()]


async def listed(bench: Workbench, document: dict[str, Any]) -> str:
    """Return what the tool makes of a table, before it leaves."""
    tool = bench.tools["resource_list"]
    with bench.cluster.fault(Reply(200, orjson.dumps(document), "application/json"), paths=["*/configmaps"]):
        async with bench.session() as session:
            text: str = await tool.run(session, tool.arguments.model_validate({"resource": "cm"}))
            return text


@pytest.mark.parametrize("place", ["a cell", "the last cell", "a column's name", "a namespace"])
async def test_a_table_looked_at_in_parts_leaves_as_if_it_were_looked_at_whole(bench: Workbench, place: str) -> None:
    """Wherever a credential or a hidden character stands, it is masked or written out, and masks are counted."""
    for telling in TELLING:
        columns = [
            *(f"A long name of the column {n}" for n in range(40)),
            telling if place == "a column's name" else "X",
        ]
        cells = [[*(PLAIN[(row + n) % len(PLAIN)] for n in range(len(columns)))] for row in range(40)]
        if place.endswith("cell"):
            cells[-1 if "last" in place else 20][-1] = telling
        namespace = telling if place == "a namespace" else "demo"
        text = await listed(bench, table(columns, *cells, object={"metadata": {"namespace": namespace}}))
        assert answer(Metrics(), bench.options, text) == answer(Metrics(), bench.options, str(text)), telling


async def test_a_plain_table_is_looked_at_once(bench: Workbench) -> None:
    """Though its heading, with NAMESPACE in it, has what a credential might begin with."""
    assert isinstance(await listed(bench, table(["Name"], *([name] for name in PLAIN))), Clean)
    assert not isinstance(await listed(bench, table(["Name"], *([name] for name in TELLING))), Clean)


def test_nothing_that_is_looked_for_goes_over_two_cells() -> None:
    """Else a row could have what none of its cells has."""
    rules = load()
    anchors = [anchor for rule in rules.all for anchor in rule.anchors] + [anchor for anchor, _ in rules.common]
    assert not [anchor for anchor in (*anchors, *STEMS) if "\t" in anchor or "\n" in anchor]
