"""Boundary between a Kubernetes object and the same object without credentials: where keys say what values are."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import orjson

from gateway.redaction import masks
from gateway.redaction.masks import MASKED, Mask
from gateway.redaction.names import is_document, is_harmless, is_secret
from gateway.redaction.rules import ENCODED, decoded
from gateway.redaction.text import NAMED, Due, due, looked_through, redacted

_FLAG: Final = re.compile(r"--?[\w.-]{1,128}").fullmatch
_SHORT: Final = 6
"""Characters that no credential has so few of, unless its name says that it is one."""


def without_credentials(document: Any, *, mask: Mask = masks.plain) -> Any:  # JSON
    """Return a document with every credential in it masked; what has none is returned as it is, and nothing changed.

    Values of ConfigMaps' `binaryData` are looked at decoded, and masked as a whole.
    """
    binary = document.get("binaryData") if isinstance(document, dict) else None
    if isinstance(binary, dict) and (shown := _binary(binary, mask)) != binary:
        document = {**document, "binaryData": shown}
    found = due(orjson.dumps(document))
    return document if found is None else _Walk(found, mask).value(document, "")


def _binary(data: dict[str, Any], mask: Mask) -> dict[str, Any]:
    return {
        key: mask(ENCODED, value) if isinstance(value, str) and _is_credential(key, decoded(value)) else value
        for key, value in data.items()
    }


def _is_credential(key: str, said: str) -> bool:
    return (is_secret(key) and not is_document(key) and not is_harmless(key, said)) or redacted(said) != said


def _is_value(flag: str, word: str) -> bool:
    return is_secret(flag) and not (word.startswith("-") or is_harmless(flag, word) or MASKED.search(word))


@dataclass(frozen=True, slots=True)
class _Walk:
    """One walk through a document, for what it may have."""

    due: Due
    mask: Mask

    def value(self, node: Any, name: str) -> Any:  # JSON
        if isinstance(node, str):
            return self._text(name, node)
        if isinstance(node, dict):
            return self._mapping(node)
        if isinstance(node, list):
            return self._list(node, name)
        return node

    def _mapping(self, node: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for key, value in node.items():
            name = key
            if key == "value":
                # Variables, headers and parameters: {name: PASSWORD, value: …}
                called = node.get("name", node.get("key"))
                name = called if isinstance(called, str) else key
            if (new := self.value(value, name)) is not value:
                changed[key] = new
        return {**node, **changed} if changed else node

    def _list(self, node: list[Any], name: str) -> list[Any]:
        items = [self.value(item, name) for item in node]
        for at, (flag, word) in enumerate(pairwise(items), 1):
            # Arguments of a command: a flag, and then its value.
            if isinstance(flag, str) and isinstance(word, str) and _FLAG(flag) and _is_value(flag, word):
                items[at] = self.mask(NAMED, word)
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node

    def _text(self, name: str, text: str) -> str:
        if self.due.names and is_secret(name) and not is_harmless(name, text) and not MASKED.fullmatch(text):
            lines = text.count("\n", 0, -1)
            if not (lines and is_document(name)):
                return self._whole(text, lines)
        if len(text) < _SHORT:
            return text
        return looked_through(text, self.due, config="\n" in text, mask=self.mask)

    def _whole(self, text: str, lines: int) -> str:
        """Mask all of a value, under its own kind where it has one; a part of it where the rest tells something."""
        said = looked_through(text, Due(self.due.rules, names=lines > 0), config=True, mask=self.mask)
        if said != text and (lines or MASKED.fullmatch(said.strip()) or "://" in said):
            return said
        return self.mask(NAMED, text)
