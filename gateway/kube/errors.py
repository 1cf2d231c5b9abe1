"""Boundary where Kubernetes' Status documents become typed errors; nothing above looks at an HTTP number."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import GatewayError

_TEXT_LIMIT: Final = 600
"""Characters of an API server's own message that are passed on."""
_WORD_LIMIT: Final = 100
"""Characters of a reason."""
_SECONDS: Final = re.compile("[0-9]{1,5}").fullmatch  # a day has five digits


@dataclass(frozen=True, slots=True)
class Cause:
    """One of a Status' causes: reason, field and message, each possibly empty."""

    reason: str
    field: str
    message: str


class ApiError(GatewayError):
    """The API server answered, and the answer is no. `status` is the HTTP status, `reason` Kubernetes' word."""

    outcome = "api_error"

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        """Keep what the Status said."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes


class InvalidToken(ApiError):
    """401: the API server does not accept the token (any more)."""

    outcome = "unauthenticated"


class Forbidden(ApiError):
    """403: the token's RBAC does not allow it."""

    outcome = "forbidden"


class NotFound(ApiError):
    """404: no such object, kind or path."""

    outcome = "not_found"


class Conflict(ApiError):
    """409: another field manager owns the fields, or the object changed meanwhile."""

    outcome = "conflict"


class Expired(ApiError):
    """410: the continue token or resourceVersion is too old. `fresh` continues from now, inconsistently."""

    outcome = "expired"

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...], fresh: str) -> None:
        """Keep the continue token that the Status offers instead, or an empty string."""
        super().__init__(status, reason, message, causes)
        self.fresh = fresh


class Invalid(ApiError):
    """400, 422 or another 4xx: the API server does not understand a parameter or a field, or has no such verb."""

    outcome = "invalid"


class Throttled(ApiError):
    """429: Priority and Fairness or a disruption budget holds the request back. `retry_after` is in seconds."""

    outcome = "throttled"

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...], retry_after: int) -> None:
        """Keep the time the API server asks to wait."""
        super().__init__(status, reason, message, causes)
        self.retry_after = retry_after


class ServerFault(ApiError):
    """A 5xx: the API server, a webhook or an aggregated API failed."""

    outcome = "server_error"


class Redirected(ApiError):
    """A 3xx: never followed, because the address behind it is not one the operator listed."""

    outcome = "server_error"


class Unreachable(GatewayError):
    """No answer: nothing listens, TLS failed, the time ran out, or the connection died.

    `kind` is one of `connect`, `tls`, `timeout`, `reset`; `sent` says whether the request may have been carried out.
    """

    outcome = "unavailable"

    def __init__(self, kind: str, message: str, *, sent: bool) -> None:
        """Keep what failed and whether anything may have reached the API server."""
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class TooLarge(GatewayError):
    """The answer is over the limit and was abandoned while it was read. `limit` is in bytes."""

    outcome = "too_large"

    def __init__(self, limit: int) -> None:
        """Keep the limit that was passed."""
        super().__init__(f"The answer is larger than {limit // 1024} KB and was not read to the end.")
        self.limit = limit


def error_from(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Turn an answer that is not a success into its error.

    A Status document (API conventions, "Response Status Kind") is read where there is one; plain text, which API
    servers also send (unknown groups, Priority and Fairness), is quoted and cut.
    """
    document = _status(body)
    message = str(document.get("message") or _plain(body) or f"HTTP status {status}")[:_TEXT_LIMIT]
    reason = str(document.get("reason") or "")[:_WORD_LIMIT]
    details = document.get("details")
    details = details if isinstance(details, dict) else {}
    listed = details.get("causes")
    causes = tuple(
        Cause(
            str(c.get("reason") or "")[:_WORD_LIMIT],
            str(c.get("field") or "")[:_TEXT_LIMIT],
            str(c.get("message") or "")[:_TEXT_LIMIT],
        )
        for c in (listed if isinstance(listed, list) else [])[:20]
        if isinstance(c, dict)
    )
    match status:
        case 401:
            return InvalidToken(status, reason or "Unauthorized", message, causes)
        case 403:
            return Forbidden(status, reason or "Forbidden", message, causes)
        case 404:
            return NotFound(status, reason or "NotFound", message, causes)
        case 409:
            return Conflict(status, reason or "Conflict", message, causes)
        case 410:
            metadata = document.get("metadata")
            fresh = metadata.get("continue") if isinstance(metadata, dict) else None
            return Expired(status, reason or "Expired", message, causes, str(fresh or ""))
        case 429:
            return Throttled(status, reason or "TooManyRequests", message, causes, _seconds(headers, details))
        case _ if 400 <= status < 500:  # noqa: PLR2004  # RFC 9110, section 15.5
            return Invalid(status, reason or "Invalid", message, causes)
        case _ if 300 <= status < 400:  # noqa: PLR2004  # RFC 9110, section 15.4
            return Redirected(status, "Redirect", "The API server answered with a redirect, which is not followed.")
        case _:
            return ServerFault(status, reason or "InternalError", message, causes)


def _status(body: bytes) -> dict[str, Any]:
    if not body.startswith(b"{"):
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _plain(body: bytes) -> str:
    return "" if body[:1] in {b"{", b"<"} else body[: _TEXT_LIMIT * 2].decode("utf-8", "replace").strip()


def _seconds(headers: Mapping[str, str], details: dict[str, Any]) -> int:
    for value in (headers.get("retry-after"), details.get("retryAfterSeconds")):
        if _SECONDS(str(value)):
            return int(str(value))
    return 1
