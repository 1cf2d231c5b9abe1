"""Boundary to whoever asks what happened just now: the last calls, and who was told to slow down; in memory only."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

MOST_CALLS: Final = 100
MOST_LIMITED: Final = 50


class RecentCall(NamedTuple):
    """One tool call, or reading of an MCP resource, that ended `at` this Unix time. No arguments, no answer."""

    at: float
    request_id: str
    issuer: str
    subject: str
    cluster: str
    tool: str
    outcome: str
    seconds: float


@dataclass(slots=True)
class Limited:
    """A caller whose calls were refused because they were too many: how often, and when last (Unix time)."""

    issuer: str
    subject: str
    cluster: str
    rate: str
    count: int = 0
    last: float = 0.0


class Recent:
    """The last calls, oldest first, and the callers that were limited last; both bounded."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Start with none. `clock` gives Unix time."""
        self._clock = clock
        self.calls: deque[RecentCall] = deque(maxlen=MOST_CALLS)
        self.ended = 0
        self._limited: OrderedDict[tuple[str, str, str, str], Limited] = OrderedDict()

    def call(  # noqa: PLR0917  # called at each call
        self, request_id: str, issuer: str, subject: str, cluster: str, tool: str, outcome: str, seconds: float
    ) -> None:
        """Take note of a call that has ended."""
        self.ended += 1
        self.calls.append(RecentCall(self._clock(), request_id, issuer, subject, cluster, tool, outcome, seconds))

    def limited(self, issuer: str, subject: str, cluster: str, rate: str) -> None:
        """Take note of a call that was one too many."""
        key = (issuer, subject, cluster, rate)
        caller = self._limited.pop(key, None) or Limited(*key)
        caller.count += 1
        caller.last = self._clock()
        self._limited[key] = caller
        if len(self._limited) > MOST_LIMITED:
            self._limited.popitem(last=False)

    def limited_callers(self) -> list[Limited]:
        """Return who was limited, the last one first."""
        return list(reversed(self._limited.values()))
