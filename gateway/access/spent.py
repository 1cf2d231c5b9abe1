"""Boundary between a call's whole time and what of it is not the gateway's: the API server's share, the person's."""

import time


class Spent:
    """Seconds of one call in which at least one API request was under way, and in which a person was asked."""

    __slots__ = ("_since", "_under_way", "api", "asking")

    def __init__(self) -> None:
        self._under_way = 0
        self._since = 0.0
        self.api = 0.0
        self.asking = 0.0

    def begin(self) -> float:
        """Start a request, and return the moment."""
        now = time.perf_counter()
        if not self._under_way:
            self._since = now
        self._under_way += 1
        return now

    def end(self) -> float:
        """End a request, and return the moment. Requests that overlap are counted once."""
        now = time.perf_counter()
        self._under_way -= 1
        if not self._under_way:
            self.api += now - self._since
        return now
