"""Boundary between one request that is out and what is recorded of it, and said where nobody knows if it was done."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.client import Answer
from gateway.kube.errors import ServerFault, TooLarge, Unreachable, error_from
from gateway.kube.holding import NoRoom
from gateway.kube.paths import Attributes
from gateway.telemetry.audit import UNSENT
from gateway.telemetry.traces import RequestTrace

WRITING: Final = frozenset({"create", "patch", "delete"})
_NOT_DONE: Final = re.compile("webhook|typed patch object|not declared in schema").search
"""In the text of a 5xx: it failed before the API server stored anything."""


class Unclear(ClusterUnavailable):
    """A write or a command was sent, and nobody knows whether it was carried out; the text says so."""

    outcome = "unclear"


@dataclass(slots=True)
class Outgoing:
    """One request, and what is to be recorded of it; `target` is there once the policy let it pass.

    `began` is when it was sent, None before; `is_stream` tells what may last for minutes.
    """

    attributes: Attributes
    target: str = ""
    began: float | None = None
    trace: RequestTrace | None = None
    is_stream: bool = False
    dry_run: bool = False
    decision: str = "internal"
    status: int = UNSENT
    size: int = 0
    audit_id: str = ""

    def answered(self, answer: Answer) -> None:
        """Take note of an answer.

        Raises:
            ApiError: It is not a success.
        """
        self.status, self.size = answer.status, len(answer.body)
        self.audit_id = answer.headers.get("audit-id", "")
        if not answer.ok:
            raise error_from(answer.status, answer.headers, answer.body)

    def may_have_changed(self, error: GatewayError) -> bool:
        """Whether what failed was a write that may have been carried out all the same."""
        if self.dry_run or self.attributes.verb not in WRITING:
            return False
        match error:
            case Unreachable(sent=sent):
                return sent
            case ServerFault(message=message):
                return not _NOT_DONE(message)
            case _:
                return isinstance(error, TooLarge | NoRoom)


class Out:
    """A request while it is out; leaving it tells what came of it."""

    __slots__ = ("_outgoing", "_over")

    def __init__(self, outgoing: Outgoing, over: Callable[[Outgoing, BaseException | None], None]) -> None:
        self._outgoing = outgoing
        self._over = over

    def __enter__(self) -> Outgoing:
        return self._outgoing

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over(self._outgoing, error)
