"""Boundary between a manifest as agents send it and the Kubernetes objects in it; nothing else parses one."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import BadArgument
from gateway.redaction.masks import MASKED
from gateway.tools.yaml_values import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DOCUMENTS,
    MAX_VALUES,
    read_yaml,
    too_deep,
    too_large,
    too_many_documents,
)

_CUT: Final = re.compile(
    rf"…\[\d+ (more (bytes|items|characters)|keys|items)\]|^\[(\d+ more keys|masked|redacted)\]$|{MASKED.pattern}"
).search
"""What stands where an answer of the gateway was cut or something was masked: applied, it would replace the value."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest, and `where` in it. `content` may share parts with others: it is not to be changed."""

    where: str
    api_version: str
    kind: str
    name: str
    namespace: str
    content: dict[str, Any]


def parse_manifest(manifest: str | dict[str, Any]) -> tuple[Document, ...]:
    """Return the objects of a YAML or JSON text, or of one object; lists are opened, empty documents left out.

    Raises:
        BadArgument: The text is malformed (with line and column), too large, nested or repeated too much, a key stands
            twice, a value was cut or masked, or a document is not an object with apiVersion, kind and name.
    """
    if isinstance(manifest, str):
        roots = [(f"document {n}, line {line}", root) for n, (line, root) in enumerate(read_yaml(manifest), 1)]
    else:
        roots = [("the object", manifest)]
    documents: list[Document] = []
    values = size = 0
    for where, root in roots:
        counted = _counted(where, root)
        values, size = values + counted[0], size + counted[1]
        if values > MAX_VALUES or size > MAX_BYTES:
            raise too_large()
        for document in _opened(where, root):
            documents.append(document)
            if len(documents) > MAX_DOCUMENTS:
                raise too_many_documents()
    if not documents:
        raise BadArgument("The manifest holds no object. Give apiVersion, kind, metadata.name and what it should have.")
    return tuple(documents)


def _counted(where: str, root: Any) -> tuple[int, int]:
    """Hold what came as JSON to the limits of text, and both to whole values; return how many values and characters."""
    values = size = 0
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH + 1):
        following: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                size += sum(map(len, value))
                following += value.values()
                for key in value:
                    if "[" in key and _CUT(key):
                        raise _cut(where, key)
            elif isinstance(value, list):
                following += value
            elif isinstance(value, str):
                size += len(value)
                if "[" in value and _CUT(value):
                    raise _cut(where, value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise BadArgument(f"{_sentence(where)} holds NaN or Infinity, which are no JSON numbers.")
        values += len(level)
        if values + len(following) > MAX_VALUES or size > MAX_BYTES:
            raise too_large()
        if not following:
            return values, size
        level = following
    raise too_deep("")


def _cut(where: str, value: str) -> BadArgument:
    return BadArgument(
        f"{_sentence(where)} holds a value that was cut or masked in an answer (…{value[-30:]!r}). Applied, it would "
        "replace the real one. Leave the field out, or give its whole value."
    )


def _sentence(where: str) -> str:
    return where[:1].upper() + where[1:]


def _opened(where: str, root: Any) -> Iterator[Document]:
    """Turn one parsed document into objects: none for an empty one, several for a list of them."""
    if root is None:
        return
    if not isinstance(root, dict):
        raise BadArgument(f"{_sentence(where)} is no object: it must have apiVersion, kind and metadata.")
    kind = _text(where, root, "kind")
    items = root.get("items")
    metadata = root.get("metadata")
    named = isinstance(metadata, dict) and bool(metadata.get("name"))
    if kind.endswith("List") and isinstance(items, list) and not named:
        # In a typed list, such as a ConfigMapList, the items may leave out what the list says.
        api_version = _text(where, root, "apiVersion")
        implied = {} if kind == "List" else {"apiVersion": api_version, "kind": kind.removesuffix("List")}
        for number, item in enumerate(items, 1):
            yield from _opened(f"item {number} of {where}", {**implied, **item} if isinstance(item, dict) else item)
        return
    yield _document(where, root, kind)


def _document(where: str, content: dict[str, Any], kind: str) -> Document:
    api_version = _text(where, content, "apiVersion")
    metadata = content.get("metadata")
    place = f"{where} ({kind[:60]})"
    if not isinstance(metadata, dict):
        raise BadArgument(f"{_sentence(place)} has no metadata.name.")
    if "generateName" in metadata and "name" not in metadata:
        raise BadArgument(f"{_sentence(place)} has generateName, which can't be applied: give metadata.name.")
    name = _text(place, metadata, "name", "metadata.")
    namespace = _text(place, metadata, "namespace", "metadata.") if metadata.get("namespace") else ""
    if "managedFields" in metadata:
        # The API server refuses them, and they come with whatever was read as it is.
        content = {**content, "metadata": {key: metadata[key] for key in metadata if key != "managedFields"}}
    try:
        orjson.dumps(content)
    except TypeError as error:
        raise BadArgument(f"{_sentence(place)} can't be sent as JSON: {error}.") from error
    return Document(where, api_version, kind, name, namespace, content)


def _text(where: str, holder: dict[str, Any], key: str, parent: str = "") -> str:
    value = holder.get(key)
    if isinstance(value, str) and value:
        return value
    if value is None or value == "":
        raise BadArgument(f"{_sentence(where)} has no {parent}{key}.")
    raise BadArgument(f"{_sentence(where)}: {parent}{key} must be text; write it in quotes.")
