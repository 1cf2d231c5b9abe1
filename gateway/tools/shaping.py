"""Boundary between Kubernetes' documents and text for a model: trimmed, short, and cut where it can be continued."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson
import yaml

from gateway.errors import GatewayError

_OFF_LOOP: Final = 1024 * 1024
"""Bytes from which a document is parsed in a thread."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_LONG: Final = 400
"""Characters from which a string may be shortened."""
_KEPT: Final = 200
"""Characters of a shortened string that stay."""

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


async def parse(body: bytes) -> dict[str, Any]:
    """Parse a JSON document, a large one off the event loop.

    Raises:
        GatewayError: It is not a JSON object.
    """
    try:
        document = await asyncio.to_thread(orjson.loads, body) if len(body) > _OFF_LOOP else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = "The API server's answer is not valid JSON. Try again; tell a person if it lasts."
        raise GatewayError(message) from error
    if not isinstance(document, dict):
        message = "The API server's answer is not a Kubernetes object. Tell a person if it lasts."
        raise GatewayError(message)
    return document


def trimmed(document: dict[str, Any], *, annotations: bool) -> dict[str, Any]:
    """Return the object without what no reader asked for: managedFields, last-applied, and annotations unless asked.

    The document's metadata is changed in place: nothing else holds it.
    """
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
        metadata.pop("selfLink", None)
        noted = metadata.get("annotations")
        if not annotations:
            metadata.pop("annotations", None)
        elif isinstance(noted, dict):
            noted.pop(_LAST_APPLIED, None)
    return document


def as_json(document: object) -> str:
    """Return compact JSON."""
    return orjson.dumps(document).decode()


def as_yaml(document: object) -> str:
    """Return YAML in the order of the document, without aliases."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20)
    return text.rstrip("\n")


def fitted(document: dict[str, Any], limit: int) -> tuple[dict[str, Any], bool]:
    """Return the object so that its JSON has at most about `limit` bytes, and whether anything was cut.

    Long strings give way first, the longest before others, then the tails of long lists; what was cut is said in
    its place.
    """
    size = len(orjson.dumps(document))
    if size <= limit:
        return document, False
    excess = size - limit
    for length, holder, key in sorted(_strings(document), key=lambda found: -found[0]):
        if excess <= 0:
            break
        text = holder[key]
        holder[key] = f"{text[:_KEPT]} …[{length - _KEPT} more bytes]"
        excess -= length - _KEPT - 24
    for items in sorted(_lists(document), key=len, reverse=True):
        if excess <= 0:
            break
        while len(items) > 1 and excess > 0:
            excess -= len(orjson.dumps(items.pop()))
        items.append("…[more items]")
    return document, True


def _strings(node: Any) -> Iterator[tuple[int, Any, Any]]:  # JSON
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        pairs = node.items()
    elif isinstance(node, list):
        pairs = enumerate(node)
    for key, value in pairs:
        if isinstance(value, str) and len(value) > _LONG:
            yield len(value.encode()), node, key
        elif isinstance(value, dict | list):
            yield from _strings(value)


def _lists(node: Any) -> list[list[Any]]:  # JSON
    found: list[list[Any]] = []
    children = node.values() if isinstance(node, dict) else node
    for value in children:
        if isinstance(value, list) and len(value) > 1:
            found.append(value)
        if isinstance(value, dict | list):
            found += _lists(value)
    return found


def whole_lines(lines: Iterable[str], limit: int) -> tuple[list[str], bool]:
    """Return as many whole lines from the beginning as fit into `limit` bytes, and whether any were left out."""
    kept: list[str] = []
    for line in lines:
        limit -= len(line.encode()) + 1
        if limit < 0:
            return kept, True
        kept.append(line)
    return kept, False


def one_line(value: object) -> str:
    """Return a table cell as text on one line."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return " ".join(text.split()) if any(c in text for c in "\t\n\r") else text
