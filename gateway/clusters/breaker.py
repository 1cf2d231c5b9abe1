"""Boundary between a cluster that does not answer and those who would wait for it: who is let through, and when again.

Only what verified callers cause goes through here. Failing is what hits whoever asks: no connection, no TLS, no answer
in time, an answer cut off. An answer of any status says that the cluster lives. What ends for another reason, such as
the caller's own deadline, says nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from gateway.errors import ClusterUnavailable
from gateway.kube.errors import ApiError, TooLarge, Unreachable

LONGEST_REST: Final = 60.0
"""Seconds of the longest rest: each is twice the one before. A cluster that is back is noticed within that time."""
_SPREAD: Final = 0.2
"""Share by which a rest is longer or shorter, so that many gateways do not come back to a cluster in one moment."""

Word = Literal["closed", "open", "half-open"]


class BreakerOpen(ClusterUnavailable):
    """The cluster has not answered for a while; nothing was sent. `retry_after` is when it is tried again."""

    outcome = "breaker_open"


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How a breaker stands. Times are in seconds from now, backwards or on.

    `word` is closed (calls pass), open (they are refused), or half-open (the next one is, or is being, tried).
    `failures` is how many in a row there were; `failing_for` is since the first of them, and 0 while there are none;
    `retry_in` is until a call is let through. `last_error` is the kind of the last failure (connect, tls, timeout,
    reset), even if all is well since, with `last_error_ago`; empty and None where there was none.
    """

    word: Word
    failures: int
    failing_for: float
    retry_in: float
    last_error: str
    last_error_ago: float | None
    opened: int
    """How often it has opened so far."""


class Breaker:
    """One cluster's. Opens after so many failures in a row with no answer between them, which may be other callers'.

    `answers` counts the answers so far and `failures` those in a row; `until` is when an open one is tried again.
    """

    __slots__ = (
        "_clock",
        "_failing_since",
        "_failures_to_open",
        "_first_rest",
        "_last",
        "_last_at",
        "_opened",
        "_random",
        "_rest",
        "_shown",
        "_trial",
        "answers",
        "failures",
        "until",
    )

    def __init__(
        self,
        shown: str,
        failures: int,
        rest_seconds: float,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """Start closed. 0 `failures` never opens it; `shown` is the cluster's name; `random` is in [0, 1)."""
        self._shown = shown
        self._failures_to_open = failures
        self._first_rest = rest_seconds
        self._clock = clock
        self._random = random
        self.answers = 0
        self.failures = 0
        self._failing_since = 0.0
        self.until: float | None = None
        self._rest = 0.0
        self._trial: Passage | None = None
        self._last: Unreachable | None = None
        self._last_at = 0.0
        self._opened = 0

    @property
    def is_closed(self) -> bool:
        """Whether calls pass as they come."""
        return self.until is None

    def check(self) -> None:
        """Refuse at once what would be refused later, before anybody waits in a line.

        Raises:
            BreakerOpen: The cluster does not answer, and it is not yet time to try it again.
        """
        if self.until is not None and (self._trial is not None or self._clock() < self.until):
            raise self._refusal()

    def passage(self) -> "Passage":
        """Return what one call enters (`with`): that may raise BreakerOpen; leaving tells what came of it."""
        return Passage(self)

    def try_again(self, passage: "Passage") -> None:
        """Let this one call through an open breaker, where it is time for that; raises BreakerOpen where not."""
        self.check()
        self._trial = passage

    def close(self) -> None:
        """Let all through again: the cluster has answered somebody."""
        self.failures = 0
        self.until = self._trial = None

    def failed(self, passage: "Passage", error: Unreachable) -> bool:
        """Count a failure, and say whether it is the cluster's: it has answered nobody since this call began."""
        self._last, self._last_at = error, self._clock()
        tried = self._trial is passage
        self.left(passage)
        if passage.began != self.answers:
            return False
        if not self.failures:
            self._failing_since = self._last_at
        self.failures += 1
        # Calls that were under way when it opened fail later, and are no reason to rest longer.
        if tried or (self.until is None and 0 < self._failures_to_open <= self.failures):
            longest = max(self._first_rest, LONGEST_REST)
            self._rest = min(2 * self._rest, longest) if tried else self._first_rest
            self.until = self._last_at + self._rest * (1 - _SPREAD + 2 * _SPREAD * self._random())
            self._opened += not tried
        return True

    def left(self, passage: "Passage") -> None:
        """Note that a call ended which says nothing of the cluster; was it the trial, the next call is."""
        if self._trial is passage:
            self._trial = None

    def _refusal(self) -> BreakerOpen:
        now = self._clock()
        why = self._last.message if self._last is not None else "no answer"
        seconds = max(1, math.ceil((self.until or now) - now))
        again = "is being tried again just now" if self._trial is not None else f"will be tried again in {seconds} s"
        return BreakerOpen(
            f"Nothing was sent: cluster {self._shown} has not answered for {_duration(now - self._failing_since)} "
            f"({why}), and {again}. Other clusters are not affected; tell a person if it lasts.",
            retry_after=seconds,
        )

    def state(self) -> BreakerState:
        """Return how it stands, for metrics and the admin page."""
        now = self._clock()
        word: Word = "closed"
        retry_in = 0.0
        if self.until is not None:
            retry_in = max(0.0, self.until - now)
            word = "open" if retry_in else "half-open"
        return BreakerState(
            word,
            self.failures,
            now - self._failing_since if self.failures else 0.0,
            retry_in,
            self._last.kind if self._last is not None else "",
            now - self._last_at if self._last is not None else None,
            self._opened,
        )

    def __repr__(self) -> str:
        """Show how it stands in a few words."""
        state = self.state()
        return f"<Breaker {state.word}, {state.failures} failures>"


class Passage:
    """One call's way through a breaker. `began` is how often the cluster had answered by then."""

    __slots__ = ("_breaker", "began", "silent")

    def __init__(self, breaker: Breaker) -> None:
        """Wait to be entered; `silent` says, after leaving, that the cluster answers nobody."""
        self._breaker = breaker
        self.began = 0
        self.silent = False

    def __enter__(self) -> Self:
        """Go through, or be refused; where the cluster is to be tried again, this is the one call that does it."""
        breaker = self._breaker
        if breaker.until is not None:
            breaker.try_again(self)
        self.began = breaker.answers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what came of it; whatever was raised goes on."""
        breaker = self._breaker
        if error is None or isinstance(error, ApiError | TooLarge):
            breaker.answers += 1
            if breaker.failures:
                breaker.close()
        elif isinstance(error, Unreachable):
            self.silent = breaker.failed(self, error)
        else:
            breaker.left(self)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004  # a minute reads odd
