"""Parsing in pieces gives what parsing at once gives."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.pieces import lean, loads

OWNERS = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a"}] * 40
WORDS = 'a "quoted" },{"metadata": text \\ with ] all ['


def pod(number: int, **more: Any) -> dict[str, Any]:
    """Return an item that looks, inside, as if others began there."""
    metadata = {"name": f"pod-{number}", "ownerReferences": OWNERS, "annotations": {"note": WORDS * (number % 50)}}
    return {"metadata": metadata, "items": [{"metadata": {"name": WORDS}}, {"metadata": {}}], **more}


def with_managed_fields(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same items with what nobody reads."""
    return [{**item, "metadata": {**item["metadata"], "managedFields": [{"manager": "x"}]}} for item in items]


def without_managed_fields(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items as the others are expected."""
    return [
        {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}
        for item in items
    ]


@pytest.mark.parametrize("count", [1, 2, 100, 1000])
@pytest.mark.parametrize("around", ["typed", "custom", "table"])
def test_a_list_is_the_same_but_for_managed_fields(count: int, around: str) -> None:
    """Typed lists have their items last, those of custom resources in the middle, and tables have rows."""
    match around:
        case "typed":
            items = [pod(number) for number in range(count)]
            head: dict[str, Any] = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
            sent, wanted = {**head, "items": with_managed_fields(items)}, {**head, "items": items}
        case "custom":
            items = [{"apiVersion": "example.com/v1", "kind": "Widget", **pod(number)} for number in range(count)]
            tail = {"kind": "WidgetList", "metadata": {"continue": "", "resourceVersion": "1"}}
            sent = {"apiVersion": "example.com/v1", "items": with_managed_fields(items), **tail}
            wanted = {"apiVersion": "example.com/v1", "items": items, **tail}
        case _:
            rows = [{"cells": [number, WORDS, "[]"], "object": pod(number)} for number in range(count)]
            sent = wanted = {"kind": "Table", "columnDefinitions": [{"name": "Name"}], "rows": rows}
    body = orjson.dumps(sent)
    found = loads(body)
    if len(body) < 1 << 18:  # short ones are not worth the trouble
        found = {**found, "items": without_managed_fields(found["items"])} if "items" in found else found
    assert found == wanted


@pytest.mark.parametrize(
    "document",
    [
        {"items": []},
        {"kind": "Pod", "spec": {"volumes": [{"items": [{"key": "k" * 300_000}]}]}},
        {"data": {"a": "x" * 300_000}, "items": [{"metadata": {}}], "z": [1]},
        {"a": {"items": [{"b": "x" * 300_000}]}, "items": []},
        [{"items": [{"metadata": {"name": "x" * 300_000}}]}],
        {"items": [{"metadata": {"name": "x" * 100_000}}, 5, None, [{"metadata": {}}]] * 4},
    ],
)
def test_what_is_no_list_of_the_usual_shape_is_parsed_at_once(document: Any) -> None:
    """Nothing is guessed: what does not come out as pieces is read as a whole."""
    assert loads(orjson.dumps(document)) == document


@pytest.mark.parametrize("cut", [1, 2, 70_000, 200_000, -1])
def test_what_is_not_json_is_not_made_json(cut: int) -> None:
    """A document that was cut off is an error, wherever the cut is."""
    body = orjson.dumps({"kind": "PodList", "items": [pod(number) for number in range(200)]})
    with pytest.raises(orjson.JSONDecodeError):
        loads(body[:cut])


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "items", WORDS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["items", "rows", "metadata", "kind", "cells", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(json, max_size=6), st.dictionaries(st.sampled_from(["a", "items", "rows", "z"]), json, max_size=3))
def test_any_document_is_the_same(items: list[Any], around: dict[str, Any]) -> None:
    """Whatever stands where: the same comes out, or else what a parser at once would say."""
    filler = [{"metadata": {"name": "x" * 40_000}}] * 4
    document = {**around, "items": [*filler, *items, *filler]}
    assert loads(orjson.dumps(document)) == document


NOTE = 'a,"uid":"b"}},{"cells":[1],"uid":"c"}} d'


@pytest.mark.parametrize("count", [0, 1, 2, 50])
@pytest.mark.parametrize("end", ["", "\n"])
def test_of_a_tables_objects_what_follows_the_uid_is_left_out(count: int, end: str) -> None:
    """What most of a table's bytes say is cut out of them, and nothing else, whatever its texts look like."""
    kept = [{"name": f"{NOTE}{number}", "namespace": NOTE} for number in range(count)]
    more = {"uid": "1", "labels": {"uid": NOTE}, "managedFields": [{"fieldsV1": {'k:{"cells":[1]}': {"cells": [{}]}}}]}
    plain: list[Any] = [{"cells": [NOTE], "object": {"metadata": each}} for each in kept]
    metadata = [each | more if number % 3 < 2 else each for number, each in enumerate(kept)]
    sent = [{"cells": [NOTE], "object": {"metadata": each}} for each in metadata]
    plain[-1:] = sent[-1:]  # it stays whole
    head = {"kind": "Table", "metadata": {}, "columnDefinitions": []}
    assert orjson.loads(lean(orjson.dumps({**head, "rows": sent}) + end.encode())) == {**head, "rows": plain}


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 9, 300])
def test_a_table_that_was_cut_off_stays_so(cut: int) -> None:
    """Half a table must not become a whole one."""
    managed: list[Any] = [{"fieldsV1": {"f:a": {"f:b": [{"f:c": {}}]}}}]
    row = {"cells": ["a"], "object": {"metadata": {"name": "a", "uid": "x" * 40, "managedFields": managed}}}
    body = orjson.dumps({"kind": "Table", "metadata": {}, "rows": [row] * 9})
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(lean(body[:-cut]))


def test_what_is_no_table_is_left_alone() -> None:
    """Whole objects are not touched: there more follows after the metadata."""
    body = orjson.dumps({"kind": "PodList", "items": with_managed_fields([pod(1), pod(2)])})
    assert lean(body) is body
