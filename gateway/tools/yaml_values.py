"""Boundary between YAML text and plain values: read event by event, held to limits before anything is made of it.

Scalars mean what they mean to kubectl: YAML 1.1 without numbers of base 60 and without dates.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway.errors import BadArgument

MAX_BYTES: Final = 1024 * 1024
"""Bytes of a manifest, and characters of its values once aliases are followed; etcd takes no larger object."""
MAX_DOCUMENTS: Final = 100
MAX_VALUES: Final = 100_000
"""Values (objects, lists, scalars, keys) of a whole manifest once aliases are followed."""
MAX_DEPTH: Final = 100

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_TAGS: Final = {bool: "bool", int: "int", float: "float", type(None): "null"}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)").fullmatch
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?").fullmatch
_INTEGERS: Final = range(-(2**63), 2**64)
"""The whole numbers that JSON of Kubernetes holds."""
_MOST_DIGITS: Final = 70
_MERGE: Final = "<<"


def too_many_documents() -> BadArgument:
    """Refuse a flood of documents."""
    return BadArgument(f"The manifest has more than {MAX_DOCUMENTS} documents. Apply it in parts.")


def too_large() -> BadArgument:
    """Refuse what is too large, or becomes so once aliases are followed."""
    return BadArgument(
        f"The manifest is too large: at most {MAX_BYTES // 1024} KB and {MAX_VALUES} values, repeated aliases counted "
        "each time. Apply it in parts."
    )


def too_deep(place: str) -> BadArgument:
    """Refuse a nesting that no parser further on should meet."""
    return BadArgument(f"The manifest is nested over {MAX_DEPTH} levels deep{place}, which no Kubernetes object is.")


def read_yaml(text: str) -> list[tuple[int, Any]]:
    """Return each document's first line, counted from 1, and its value. Aliases become one shared value.

    Raises:
        BadArgument: It is malformed (with line and column), too large or too deep, has an unknown tag, or a key twice.
    """
    if len(text) > MAX_BYTES:
        raise too_large()
    try:
        if len(text.encode()) > MAX_BYTES:
            raise too_large()
        return list(_Reader().documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _malformed(line, column, error.problem or error.context) from error
    except yaml.YAMLError as error:
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise _malformed(line, column, getattr(error, "reason", None)) from error
    except UnicodeError as error:
        raise BadArgument("The manifest holds half of a surrogate pair, which is no character.") from error


def _malformed(line: int, column: int, said: str | None) -> BadArgument:
    return BadArgument(f"The manifest is not valid YAML: line {line}, column {column}: {said or 'it ends too early'}.")


def _refused(event: Any, said: str) -> BadArgument:
    mark = event.start_mark
    return BadArgument(f"The manifest can't be used: line {mark.line + 1}, column {mark.column + 1}: {said}.")


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


@dataclass(slots=True)
class _Node:
    """A value that is being read: `values` counts what is in it with aliases followed."""

    value: Any
    line: int
    anchor: str | None = None
    values: int = 1
    key: str | None = None
    merges: list[dict[str, Any]] = field(default_factory=list)


class _Reader:
    """Makes values of YAML events, without recursion."""

    def __init__(self) -> None:
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node | None] = {}
        self._values = 0

    def documents(self, text: str) -> Iterator[tuple[int, Any]]:
        """Yield each document's first line and value."""
        count = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                count += 1
                if count > MAX_DOCUMENTS * 2:  # empty ones are common and mean nothing
                    raise too_many_documents()
            node = self._whole(event)
            if node is not None and self._placed(node, event):
                yield node.line, node.value

    def _whole(self, event: Any) -> _Node | None:
        """Return the value that this event makes whole, if it does."""
        match event:
            case yaml.ScalarEvent():
                return _Node(_scalar(event), _line(event), event.anchor)
            case yaml.AliasEvent():
                return self._aliased(event)
            case yaml.CollectionStartEvent():
                self._begin(event)
            case yaml.CollectionEndEvent():
                node = self._open.pop()
                for merged in node.merges:
                    node.value = {**merged, **node.value}
                return node
        return None

    def _begin(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise too_deep(f" at line {_line(event)}")
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", f"{_CORE}{'map' if mapping else 'seq'}"}:
            raise _refused(event, f"the tag {event.tag[:60]} is not for Kubernetes")
        self._refuse_as_key(event)
        self._open.append(_Node({} if mapping else [], _line(event), event.anchor))
        if event.anchor:
            # An alias in here would stand for what it is part of.
            self._anchors[event.anchor] = None

    def _refuse_as_key(self, event: Any) -> None:
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise _refused(event, "a key must be text")

    def _aliased(self, event: Any) -> _Node:
        self._refuse_as_key(event)
        if event.anchor not in self._anchors:
            raise _refused(event, f"there is no anchor {event.anchor[:60]!r}")
        node = self._anchors[event.anchor]
        if node is None:
            raise _refused(event, f"the alias {event.anchor[:60]!r} is part of what it stands for")
        return _Node(node.value, _line(event), values=node.values)

    def _placed(self, node: _Node, event: Any) -> bool:
        """Put a whole value where it belongs; returns whether it is a document by itself."""
        if node.anchor:
            self._anchors[node.anchor] = node
        # What is inside a collection has been counted.
        self._values += 1 if isinstance(event, yaml.CollectionEndEvent) else node.values
        if self._values > MAX_VALUES:
            raise too_large()
        if not self._open:
            return True
        holder = self._open[-1]
        holder.values += node.values
        if isinstance(holder.value, list):
            holder.value.append(node.value)
        elif holder.key is None:
            # As written: a ConfigMap's keys may be 1 or yes without being numbers or booleans.
            holder.key = event.value
            if holder.key in holder.value:
                raise _refused(event, f"the key {event.value[:60]!r} stands twice in one object")
        elif holder.key == _MERGE:
            holder.key = None
            holder.merges += _merged(node, event)
        else:
            holder.value[holder.key] = node.value
            holder.key = None
        return False


def _merged(node: _Node, event: Any) -> list[dict[str, Any]]:
    merged = node.value if isinstance(node.value, list) else [node.value]
    if not all(isinstance(each, dict) for each in merged):
        raise _refused(event, "<< takes objects")
    return merged


def _scalar(event: Any) -> Any:  # what JSON has
    text, tag = event.value, event.tag
    if tag in {"!", f"{_CORE}str"} or (tag is None and not event.implicit[0]):
        return text
    value = _plain(text)
    if tag is None or tag == f"{_CORE}{_TAGS.get(type(value))}":
        return value
    raise _refused(event, f"the tag {tag[:60]} does not fit here")


def _plain(text: str) -> Any:  # what JSON has
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) > _MOST_DIGITS:
        return text
    if _INTEGER(text):
        return _integer(text)
    return float(text) if _FLOAT(text) and math.isfinite(float(text)) else text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    # YAML 1.1 writes octal numbers as 0644, the way file modes are written.
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "box"
    try:
        value = sign * int(digits, 8 if octal else 0)
    except ValueError:
        return text
    return value if value in _INTEGERS else text
