import contextlib
import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadArgument
from gateway.tools.manifests import Document, parse_manifest
from gateway.tools.yaml_values import MAX_BYTES, MAX_DEPTH, MAX_DOCUMENTS

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def one(manifest: str | dict[str, Any]) -> Document:
    """Return the only object of a manifest."""
    (document,) = parse_manifest(manifest)
    return document


def refusal(manifest: str | dict[str, Any]) -> str:
    """Return why a manifest is refused."""
    with pytest.raises(BadArgument) as caught:
        parse_manifest(manifest)
    return caught.value.message


def test_documents_are_told_apart_by_the_parser() -> None:
    """A separator inside a text is text, and empty documents and comments count for nothing."""
    manifest = (
        f"# comment\n---\n---\n{HEAD}data:\n  text: |\n    ---\n    kind: Secret\n---\n{HEAD.replace('a}', 'b}')}..."
    )
    first, second = parse_manifest(manifest)
    assert first.content["data"] == {"text": "---\nkind: Secret\n"}
    assert (first.name, first.where) == ("a", "document 2, line 4")
    assert (second.name, second.where) == ("b", "document 3, line 12")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0644", 420),
        ("0x1F", 31),
        ("-1", -1),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("22:22", "22:22"),
        ("2020-01-01", "2020-01-01"),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        (".inf", ".inf"),
        ("99999999999999999999", "99999999999999999999"),
        ("9" * 5000, "9" * 5000),
        ("y", "y"),
        (">-\n    a\n    b", "a b"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubectl(written: str, value: object) -> None:
    """No numbers of base 60, no dates, octal file modes, and nothing that JSON has no word for."""
    assert one(f"{HEAD}spec:\n  it: {written}").content["spec"] == {"it": value}


def test_keys_are_as_written() -> None:
    """The keys of a ConfigMap's data are text even where they look like something else."""
    assert one(f"{HEAD}data: {{1: a, yes: b, 0x1: c}}").content["data"] == {"1": "a", "yes": "b", "0x1": "c"}


def test_anchors_and_merges_are_followed() -> None:
    """Aliases and << mean what YAML 1.1 says: what is written out wins, and of several the first."""
    document = one(f"{HEAD}x: &x {{a: 1, b: 2}}\ny: &y {{b: 3, c: 4}}\nz: {{<<: [*x, *y], a: 5}}\nw: [*x, *x]")
    assert document.content["z"] == {"a": 5, "b": 2, "c": 4}
    assert document.content["w"] == [{"a": 1, "b": 2}] * 2


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (f"{HEAD}data:\n  a: b: c", "line 5, column 7: mapping values are not allowed"),
        (f"{HEAD}data:\n\tx: 1", "line 5, column 1: found character that cannot start any token"),
        ("{a: b", "line 2, column 1"),
        ("a: \x00", "line 1, column 4: control characters"),
        ("a: 1\nb: \x07", "line 2, column 4: control characters"),
        (f"{HEAD}data: {{a: 1, b: 2, a: 3}}", "line 4, column 20: the key 'a' stands twice"),
        (f"{HEAD}kind: Pod", "line 4, column 1: the key 'kind' stands twice"),
        (f"{HEAD}data: {{[a]: 1}}", "a key must be text"),
        (f"{HEAD}data: {{? *b : 1}}", "a key must be text"),
        (f"{HEAD}data: *b", "there is no anchor 'b'"),
        (f"{HEAD}data: &b [*b]", "the alias 'b' is part of what it stands for"),
        (f"{HEAD}data: {{<<: 1}}", "<< takes objects"),
        (f"{HEAD}data: !!binary aGk=", "the tag tag:yaml.org,2002:binary does not fit"),
        (f"{HEAD}data: !!python/object/apply:os.system [ls]", "is not for Kubernetes"),
        (f"{HEAD}data: !!int a", "does not fit here"),
        ('a: "\ud800"', "half of a surrogate pair"),
        ("", "holds no object"),
        ("# nothing\n---\n", "holds no object"),
        ("- a", "Document 1, line 1 is no object"),
        ("text", "is no object"),
        ("apiVersion: v1", "Document 1, line 1 has no kind."),
        ("kind: Pod", "Document 1, line 1 has no apiVersion."),
        ("kind: Pod\napiVersion: 1", "apiVersion must be text"),
        ("kind: Pod\napiVersion: v1", "(Pod) has no metadata.name"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: 5}", "metadata.name must be text; write it in quotes"),
        ("kind: Pod\napiVersion: v1\nmetadata: {generateName: a}", "generateName, which can't be applied"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: 1}", "metadata.namespace must be text"),
        (f"{HEAD}data: {{a: 'b …[32 more bytes]'}}", "cut or masked"),
        (f"{HEAD}data: {{a: '[redacted]'}}", "cut or masked"),
        ({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "x": float("nan")}, "NaN"),
        ({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "x": 2**64}, "can't be sent as JSON"),
        ({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "x": "\ud800"}, "can't be sent as JSON"),
        ({}, "The object has no kind."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(manifest: str | dict[str, Any], words: str) -> None:
    """Whatever can't be an object of Kubernetes is refused in words that lead to the mistake."""
    assert words in refusal(manifest)


def _nested(depth: int) -> Any:
    node: Any = 1
    for _ in range(depth):
        node = [node]
    return node


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LONG_TEXT = f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 1000)}]\n"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (BOMB, "too large"),
        (LONG_TEXT, "too large"),
        (f"{HEAD}---\n" * (MAX_DOCUMENTS + 1), "more than 100 documents"),
        ("---\n" * 1000, "more than 100 documents"),
        (json.dumps({"apiVersion": "v1", "kind": "List", "items": [{**yaml.safe_load(HEAD)}] * 101}), "more than 100"),
        ("[" * (MAX_DEPTH + 1), "nested over 100 levels"),
        ("- " * 100_000, "nested over 100 levels"),
        ({"kind": "A", "x": _nested(500)}, "nested over 100 levels"),
        ({"kind": "A", "x": [0] * 100_001}, "too large"),
        ({"kind": "A", "x": "x" * (MAX_BYTES + 1)}, "too large"),
        (f"{HEAD}data: {{a: {'x' * 3_900_000}}}", "too large"),
        (f"{HEAD}data: {{a: {'ä' * 600_000}}}", "too large"),
        (f"{HEAD}data: [{'[],' * 150_000}]", "too large"),
        (f"{HEAD}data: [{'0,' * 150_000}]", "too large"),
    ],
    ids=[
        "aliases",
        "repeated text",
        "documents",
        "empty documents",
        "items",
        "depth",
        "dashes",
        "JSON depth",
        "JSON values",
        "JSON text",
        "text",
        "bytes",
        "lists",
        "values",
    ],
)
def test_floods_are_refused_before_they_are_expanded(manifest: str | dict[str, Any], words: str) -> None:
    """Explosions, depth and numbers are refused in less than the time of expanding them."""
    started = time.process_time()
    assert words in refusal(manifest)
    assert time.process_time() - started < 5


def test_what_is_within_the_limits_is_taken() -> None:
    """A large but honest manifest is no flood."""
    assert len(parse_manifest(f"{HEAD}---\n" * MAX_DOCUMENTS)) == MAX_DOCUMENTS
    assert len(one(f"{HEAD}data: {{a: {'x' * 1_000_000}}}").content["data"]["a"]) == 1_000_000


def test_lists_are_opened() -> None:
    """A List, a typed list and lists in lists are the objects in them; what only looks like a list is not."""
    inner = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}}],
    }
    typed = {"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": [{"metadata": {"name": "b"}}]}
    found = parse_manifest({"apiVersion": "v1", "kind": "List", "items": [inner, typed]})
    assert [(each.api_version, each.kind, each.name) for each in found] == [("v1", "A", "a"), ("v1", "Secret", "b")]
    assert found[1].where == "item 1 of item 2 of the object"
    assert one("{apiVersion: x/v1, kind: AllowList, metadata: {name: a}, items: [1]}").kind == "AllowList"


def test_managed_fields_are_left_out() -> None:
    """An object that was read as it is can be applied: the API server would refuse its managedFields."""
    document = one({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "managedFields": [{}], "uid": "1"}})
    assert document.content["metadata"] == {"name": "a", "uid": "1"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcde", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_what_a_yaml_writer_wrote_is_read_as_it_was(value: Any) -> None:
    """Whatever JSON holds survives PyYAML's writing and this reading, block style or flow."""
    content = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": value}
    for flow in (True, False):
        written = yaml.safe_dump(content, default_flow_style=flow, allow_unicode=False)
        assert one(written).content == content


@given(st.text(max_size=200) | st.lists(st.sampled_from("{}[]:,-&*a!|> \n'\"#?%<"), max_size=60).map("".join))
def test_no_text_does_harm(text: str) -> None:
    """Whatever comes is a manifest or refused with BadArgument, never something else."""
    with contextlib.suppress(BadArgument):
        parse_manifest(text)
