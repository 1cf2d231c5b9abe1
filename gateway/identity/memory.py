"""Boundary of what is remembered about tokens: a bounded number of facts, by digest, the least used forgotten first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """At most `size` values by token digest."""

    def __init__(self, size: int) -> None:
        """Start empty."""
        self._size = size
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, digest: str) -> V | None:
        """Return what is known of a token, which makes it the last to be forgotten."""
        value = self._values.get(digest)
        if value is not None:
            self._values.move_to_end(digest)
        return value

    def put(self, digest: str, value: V) -> None:
        """Remember, and forget the least recently used beyond the bound."""
        self._values[digest] = value
        self._values.move_to_end(digest)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, digest: str) -> None:
        """Forget one, if it is there."""
        self._values.pop(digest, None)

    def drop_if(self, outdated: Callable[[V], bool]) -> None:
        """Forget each that is outdated."""
        for digest in [digest for digest, value in self._values.items() if outdated(value)]:
            del self._values[digest]

    def __len__(self) -> int:
        return len(self._values)
