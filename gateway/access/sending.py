"""Boundary between one run of a tool and its cluster's wire: what it may still send, how often, and until when.

Breaker, gate, wire, in this order. An API server that is too busy says so with 429 and when to come back, and that it
has done nothing (API Priority and Fairness); that is waited for here, outside the gate. A cluster that has let a run
wait in vain once does not get to do so again with the run's next request.
"""

import asyncio
import math
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, TypeVar

from gateway.clusters.breaker import Passage
from gateway.clusters.pool import Lease
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.client import Answer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Throttled, Unreachable, error_from
from gateway.kube.request import Request
from gateway.telemetry.metrics import Metrics

MOST_REPEATS: Final = 3
"""How often a request is repeated that the API server was too busy for."""
_LONGEST_PAUSE: Final = 30.0
"""Seconds of the longest wait for an API server that is too busy."""
_FOR_THE_ANSWER: Final = 0.5
"""Seconds that must be left after such a wait."""
_IN_VAIN: Final = 10.0
"""Seconds for which a run does not ask a cluster again that let it wait until its time was up."""
_TOO_MANY_REQUESTS: Final = 429
_DISRUPTION_BUDGET: Final = "DisruptionBudget"

T = TypeVar("T")


class TooManyRequests(GatewayError):
    """One call of a tool has made as many requests to the API server as it may; the text says what to do."""

    outcome = "too_many_requests"


def pause_before_repeating(answer: Answer, repeats: int, seconds_left: float, spread: float) -> float | None:
    """Return the seconds after which a request is sent again, None where its answer stands.

    It is sent again after a 429 with Retry-After (RFC 6585, section 4; RFC 9110, section 10.2.3), which API servers
    send for what they have not begun; not after that of a disruption budget, which means no. `spread`, in [0, 1),
    keeps those who were sent away together from coming back together.
    """
    if answer.status != _TOO_MANY_REQUESTS or repeats >= MOST_REPEATS or "retry-after" not in answer.headers:
        return None
    error = error_from(answer.status, answer.headers, answer.body)
    if not isinstance(error, Throttled) or any(cause.reason == _DISRUPTION_BUDGET for cause in error.causes):
        return None
    pause = max(error.retry_after, 0.1) * (1 + spread / 4)
    return pause if pause <= _LONGEST_PAUSE and pause + _FOR_THE_ANSWER <= seconds_left else None


class Sender:
    """One run's way to the wire; let go at its end. `deadline` is when its time is up, by the event loop's clock."""

    __slots__ = ("_deadline", "_holding", "_in_vain_until", "_lease", "_metrics", "_requests", "_token")

    def __init__(self, lease: Lease, token: BearerToken, metrics: Metrics, deadline: float) -> None:
        """Send nothing yet."""
        self._lease = lease
        self._token = token
        self._metrics = metrics
        self._deadline = deadline
        self._holding = lease.server.holding()
        self._requests = 0
        self._in_vain_until = -math.inf

    async def send(
        self, request: Request, target: str, max_bytes: int, leaving: Callable[[], dict[str, str]]
    ) -> Answer:
        """Send one request, by its escaped path and query, and return the answer, whatever its status.

        `leaving` is called when it goes out, and returns headers for it.

        Raises:
            TooManyRequests: The run has made as many as it may.
            ClusterUnavailable: The cluster does not answer, or too many wait for it; nothing was sent.
            Unreachable: There was no complete answer.
            TooLarge: The answer is over `max_bytes`.
            NoRoom: There is no memory for the answer.
        """
        lease = self._lease
        repeats = 0
        while True:
            self._begin()
            async with lease.gate.entered():
                passage = lease.breaker.passage()
                try:
                    with passage:
                        answer = await lease.server.send(
                            request.method,
                            target,
                            self._token,
                            accept=request.accept,
                            max_bytes=max_bytes,
                            body=request.body,
                            content_type=request.content_type,
                            headers=leaving(),
                            holding=self._holding,
                        )
                except Unreachable as error:
                    self._failed(passage, error)
                    raise
            if answer.status != _TOO_MANY_REQUESTS:
                return answer
            left = self._deadline - asyncio.get_running_loop().time()
            # No secret hangs on it.
            pause = pause_before_repeating(answer, repeats, left, random.random())  # noqa: S311
            if pause is None:
                return answer
            self._metrics.api_request(lease.cluster.name, request.verb, _TOO_MANY_REQUESTS, None)
            await asyncio.sleep(pause)
            repeats += 1

    async def open(
        self, stack: AsyncExitStack, opening: Callable[[], AbstractAsyncContextManager[T]], *, counted: bool = True
    ) -> T:
        """Enter on the stack what goes on for longer, a watch or an exec; only its opening is inside the gate.

        `counted` says whether it is one of the run's requests.

        Raises:
            TooManyRequests: The run has made as many as it may.
            ClusterUnavailable: The cluster does not answer, or too many wait for it; nothing was sent.
            Unreachable: There was no answer.
            ApiError: It was refused.
        """
        self._begin(counted=counted)
        async with self._lease.gate.entered():
            passage = self._lease.breaker.passage()
            try:
                with passage:
                    return await stack.enter_async_context(opening())
            except Unreachable as error:
                self._failed(passage, error)
                raise

    def _begin(self, *, counted: bool = True) -> None:
        cluster = self._lease.cluster
        if counted:
            if self._requests >= cluster.limits.requests_per_call:
                raise TooManyRequests(
                    f"This call has made {self._requests} requests to cluster {cluster.shown}, which is the most for "
                    "one call. Narrow it (a namespace, a selector, fewer documents), or do it in several calls."
                )
            self._requests += 1
        if self._in_vain_until > -math.inf and asyncio.get_running_loop().time() < self._in_vain_until:
            raise ClusterUnavailable(
                f"Nothing was sent: cluster {cluster.shown} has just let this call wait in vain. Other clusters are "
                "not affected; try again in a minute, and tell a person if it lasts.",
                retry_after=round(_IN_VAIN),
            )
        self._lease.breaker.check()

    def _failed(self, passage: Passage, error: Unreachable) -> None:
        """Remember a time-out that is the cluster's, and not that of one object while others are answered."""
        if passage.silent and error.kind == "timeout":
            self._in_vain_until = asyncio.get_running_loop().time() + _IN_VAIN

    def let_go(self) -> None:
        """Count no more as held what the run has read so far."""
        self._holding.release()
