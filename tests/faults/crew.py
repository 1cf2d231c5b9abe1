"""Calls in flight while something goes wrong, and what became of each of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Became = Literal["answered", "failed", "unclear"]
"""An answer; an error that says that nothing was done; an error that says that it may have been done."""

UNCLEAR = ("may have been", "It may have run")


@dataclass(frozen=True, slots=True)
class End:
    """How one call ended: what it was about (the name of what it wrote, or empty), what became of it, in what words."""

    wrote: str
    became: Became
    words: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a caller heard: the text, and whether it is an error."""

    text: str
    failed: bool


async def in_flight(calls: Sequence[tuple[str, Callable[[], Awaitable[Said]]]], seconds: float) -> list[End]:
    """Start all calls at once and return how each ended; none may take longer than `seconds`, or raise anything."""
    async with asyncio.timeout(seconds):
        return list(await asyncio.gather(*(_ended(wrote, call) for wrote, call in calls)))


async def _ended(wrote: str, call: Callable[[], Awaitable[Said]]) -> End:
    said = await call()
    if not said.failed:
        return End(wrote, "answered", said.text)
    return End(wrote, "unclear" if any(words in said.text for words in UNCLEAR) else "failed", said.text)


def check_words(ends: Sequence[End]) -> None:
    """Hold that everybody was told something that is of use: no internal error, no Python, no empty text."""
    for end in ends:
        assert end.words.strip(), end
        assert "The gateway failed" not in end.words, end
        assert "Traceback" not in end.words, end
        assert "Error(" not in end.words, end


def check_writes(ends: Sequence[End], exist: set[str], sent: Counter[str]) -> None:
    """Hold what was said of each write to what is there, and that none was sent twice."""
    assert not {name: count for name, count in sent.items() if count > 1}
    for end in ends:
        if not end.wrote:
            continue
        if end.became == "answered":
            assert end.wrote in exist, end
        if end.became == "failed":
            assert end.wrote not in exist, end


def tally(ends: Sequence[End]) -> str:
    """Say in a line what became of how many."""
    counts = Counter(end.became for end in ends)
    return f"{len(ends)} in flight: " + ", ".join(f"{count} {became}" for became, count in sorted(counts.items()))
