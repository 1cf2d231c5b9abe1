"""Boundary between a credential and what stands in its place: the mask's form, and where one is found again."""

import re
from collections.abc import Callable
from typing import Final

BEGINNING: Final = "[redacted: "
"""What every mask begins with."""
MASKED: Final = re.compile(r"\[redacted: [a-z-]{2,24}(?: #[0-9]+)?\]")
"""A mask. A manifest that holds one is refused: applied, it would replace the real value."""

Mask = Callable[[str, str], str]
"""Gives what stands for a credential, by its kind and itself."""


def plain(kind: str, _credential: str) -> str:
    """Return the mask of a kind, the same for all of it."""
    return f"{BEGINNING}{kind}]"


def numbered() -> Mask:
    """Return masks that tell different credentials apart, and no more: what is equal has the same number."""
    numbers: dict[str, int] = {}
    return lambda kind, credential: f"{BEGINNING}{kind} #{numbers.setdefault(credential, len(numbers) + 1)}]"


def count(text: str) -> int:
    """Return how many masks stand in a text."""
    return text.count(BEGINNING)
