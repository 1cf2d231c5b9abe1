import copy
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.tools.shaping import as_json, as_yaml, fitted, one_line, parse, trimmed, whole_lines, written

LIMIT = 4000


def size(document: object) -> int:
    """Return the bytes of a document's JSON."""
    return len(orjson.dumps(document))


@pytest.mark.parametrize("padding", [0, 2 << 20])
async def test_a_document_is_parsed(padding: int) -> None:
    """A small one at once and a large one beside the event loop, with the same result."""
    assert await parse(b'{"kind":"Pod"' + b" " * padding + b"}") == {"kind": "Pod"}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"[]", b"null", b'"Pod"', b"\xff"])
async def test_what_is_no_object_is_told_in_words(body: bytes) -> None:
    """Whatever answers in an API server's place, the caller hears that it is not one."""
    with pytest.raises(GatewayError, match="The API server's answer is not"):
        await parse(body)


def test_nobodys_fields_are_left_out() -> None:
    """ManagedFields and last-applied tell a reader nothing; other annotations come when they are asked for."""
    metadata = {
        "name": "web",
        "managedFields": [{"manager": "kubectl"}],
        "selfLink": "/api/v1/pods/web",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"},
    }
    plain = trimmed({"metadata": copy.deepcopy(metadata)}, annotations=False)
    assert plain == {"metadata": {"name": "web"}}
    noted = trimmed({"metadata": copy.deepcopy(metadata)}, annotations=True)
    assert noted == {"metadata": {"name": "web", "annotations": {"team": "shop"}}}
    for odd in ({}, {"metadata": None}, {"metadata": {"annotations": None}}):
        assert trimmed(copy.deepcopy(odd), annotations=False) in (odd, {"metadata": {}})


def test_yaml_is_what_it_was_made_of() -> None:
    """In the document's order, and text that looks like something else stays text."""
    document = {"b": "yes", "a": "1.10", "c": [["x"], ["x"]], "d": "a\nb\n", "e": "ü\u2028", "f": None}
    text = as_yaml(document)
    assert yaml.safe_load(text) == document
    assert text.index("b:") < text.index("a:")


def test_what_fits_is_left_alone() -> None:
    """Up to the limit nothing is cut."""
    document = {"data": {"a": "x" * 3000}}
    assert fitted(copy.deepcopy(document), LIMIT) == (document, False)


def test_long_strings_are_cut_alike_and_after_whole_lines() -> None:
    """The short ones stay, the long ones keep as much as there is room for, and it is said how much is gone."""
    lines = "".join(f"line {n}\n" for n in range(1000))
    document, cut = fitted({"data": {"short": "s" * 200, "long": lines, "longer": "y" * 9000}}, LIMIT)
    assert cut
    assert size(document) <= LIMIT
    assert document["data"]["short"] == "s" * 200
    kept, _, said = document["data"]["long"].partition("…")
    assert kept.endswith("\n")
    assert lines.startswith(kept)
    assert said == f"[{len(lines) - len(kept)} more bytes]"
    assert document["data"]["longer"] == "y" * 1024 + "…[7976 more bytes]"


def test_one_long_string_uses_the_room_there_is() -> None:
    """A ConfigMap's one file is not cut to a few words when most of it would fit."""
    document, _ = fitted({"data": {"nginx.conf": "x" * 30_000}}, 20_000)
    assert len(document["data"]["nginx.conf"]) > 16_000


def test_lists_are_cut_at_whole_items() -> None:
    """The first items stay, and it is said how many are gone."""
    document, cut = fitted({"items": [{"name": f"item-{n}"} for n in range(1000)], "other": [1, 2]}, LIMIT)
    assert cut
    assert size(document) <= LIMIT
    *kept, said = document["items"]
    assert kept == [{"name": f"item-{n}"} for n in range(len(kept))]
    assert said == f"…[{1000 - len(kept)} more items]"
    assert len(kept) > 100
    assert document["other"] == [1, 2]


def test_mappings_are_cut_at_whole_entries() -> None:
    """A ConfigMap of a thousand small keys keeps the first of them."""
    document, cut = fitted({"data": {f"key-{n}": "v" for n in range(1000)}}, LIMIT)
    assert cut
    assert size(document) <= LIMIT
    data = document["data"]
    said = data.pop("…")
    assert said == f"[{1000 - len(data)} more keys]"
    assert data == {f"key-{n}": "v" for n in range(len(data))}


def test_what_lies_deep_gives_way_last() -> None:
    """A schema of schemas keeps its upper levels."""
    node: dict[str, Any] = {"type": "string"}
    for _ in range(6):
        node = {"type": "object", "properties": dict.fromkeys("abcd", node)}
    document, cut = fitted(orjson.loads(orjson.dumps({"kind": "CRD", "spec": {"schema": node}})), LIMIT)
    assert cut
    assert size(document) <= LIMIT
    assert document["kind"] == "CRD"
    assert [*document["spec"]["schema"]["properties"]] == ["a", "b", "c", "d"]
    assert "…[4 keys]" in str(document)


_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-9, 9),
        st.text(max_size=5),
        st.sampled_from(["x" * 3000, "ü\n" * 600, '"' * 900]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=30), st.dictionaries(st.text(max_size=4), inner, max_size=30)),
    max_leaves=60,
)


def test_what_only_json_must_escape_is_not_cut_from_yaml() -> None:
    """An object whose YAML fits is given whole, though its JSON would not fit."""
    document = {"data": {"quotes": '"' * (LIMIT * 2 // 3)}}
    assert written(document, as_yaml, LIMIT) == (as_yaml(document), False)
    assert written(document, as_json, LIMIT)[1]


@settings(max_examples=30)
@given(document=st.dictionaries(st.sampled_from(["kind", "metadata", "spec", "status", "data"]), _JSON))
def test_whatever_an_object_is_like_its_answer_fits(document: dict[str, Any]) -> None:
    """For any object and either form the text is within the limit, and whole where it already was."""
    whole = as_json(document)
    for write in (as_json, as_yaml):
        before = write(document)
        text, cut = written(orjson.loads(whole), write, LIMIT)
        assert len(text.encode()) <= LIMIT
        assert cut is (len(before.encode()) > LIMIT)
        if not cut:
            assert text == before


def test_lines_are_cut_whole() -> None:
    """As many as fit, counted in bytes, from the beginning."""
    assert whole_lines(["ab", "üü", "c"], 8) == (["ab", "üü"], True)
    assert whole_lines(["ab", "üü"], 8) == (["ab", "üü"], False)
    assert whole_lines(["x" * 9], 8) == ([], True)
    assert whole_lines([], 0) == ([], False)


@pytest.mark.parametrize(
    ("cell", "text"), [("a b", "a b"), ("a\tb\n  c\r", "a b c"), (None, ""), (3, "3"), (True, "True"), ("  x ", "  x ")]
)
def test_a_cell_is_one_line(cell: object, text: str) -> None:
    """Nothing in a cell makes a row look like two, or a column like another."""
    assert one_line(cell) == text
