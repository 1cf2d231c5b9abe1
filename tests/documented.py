"""Reads what documentation shows, so that tests run it: every fenced block of a page, with its language and line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `language` as written, `line` of the page where its fence opens."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> tuple[Block, ...]:
    """Return the page's fenced blocks in order."""
    return tuple(_found(page.read_text(encoding="utf-8")))


def _found(text: str) -> Iterator[Block]:
    for fence in _FENCE.finditer(text):
        yield Block(fence[2], fence[3], text.count("\n", 0, fence.start()) + 1)
