"""Boundary between a large JSON document and everybody else in the process: parsed in pieces, with turns between them.

A parser written in C keeps the interpreter's lock until it is done, in whatever thread it runs, and the many objects it
makes set off the garbage collector again and again: a list of 8 MB would stop the event loop for about 200 ms. So the
items of a list are parsed some at a time, and what no reader wants is dropped at once. See docs/reliability.md.
"""

import re
import time
from typing import Any, Final

import orjson

_PIECE: Final = 64 * 1024
"""Bytes of items that are parsed in one go, at least: about a millisecond."""
_LIST: Final = re.compile(rb'"(items|rows)":\[(?=\{)').search
_BETWEEN: Final = re.compile(rb'\},\{(?="(?:metadata|cells|apiVersion|kind)":)').finditer
"""What stands between two items of a list; it may stand inside of one too, and then the piece is not valid JSON."""

_TABLE: Final = b'{"kind":"Table",'
_UID: Final = b',"uid":"'
_ROW: Final = b'},{"cells":'
"""In valid JSON neither of these two can be part of a string: there the quotes would be escaped."""


def lean(body: bytes) -> bytes:
    """Return a Table without what its rows' objects have from their uid on, which is most of it, unparsed.

    API servers write an object's name and namespace before its uid. Where one does not, this may be no valid JSON. The
    last row stays whole, so that half a table does not become a whole one. Anything else is returned as it is.
    """
    if not body.startswith(_TABLE):
        return body
    kept: list[bytes] = []
    at = 0
    while (uid := body.find(_UID, at)) >= 0 and (following := body.find(_ROW, uid)) >= 0:
        kept.append(body[at:uid])
        at = following
    return b"}}".join((*kept, body[at:])) if kept else body


def loads(body: bytes) -> Any:  # JSON
    """Return what `orjson.loads` does, but for `metadata.managedFields` of a long list's items, which are left out.

    For threads other than the event loop's: between pieces it lets others run.

    Raises:
        orjson.JSONDecodeError: It is not valid JSON.
    """
    found = _LIST(body)
    if found is not None and len(body) > 2 * _PIECE:
        try:
            return _list(body, found[1].decode(), found.end())
        except (orjson.JSONDecodeError, ValueError):
            pass  # not a list of the usual shape, or no JSON at all
    return orjson.loads(body)


def _list(body: bytes, key: str, start: int) -> Any:
    head = body[:start]
    items: list[Any] = []
    due = start + _PIECE
    for between in _BETWEEN(body, start):
        end = between.start() + 1
        if end < due:
            continue
        try:
            items += _trimmed(orjson.loads(b"[%b]" % body[start:end]))
        except orjson.JSONDecodeError:
            due = end + (end - start)
            continue
        start = end + 1
        due = start + _PIECE
        time.sleep(0)
    end = body.rindex(b"]", start)
    items += _trimmed(orjson.loads(b"[%b]" % body[start:end]))
    document = orjson.loads(head + body[end:])
    if document.get(key) != []:
        raise ValueError(key)
    document[key] = items
    return document


def _trimmed(items: list[Any]) -> list[Any]:
    for item in items:
        metadata = item.get("metadata") if isinstance(item, dict) else None
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
    return items
