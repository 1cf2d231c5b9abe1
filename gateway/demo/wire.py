"""The boundary between HTTP and the embedded API server: a call, an answer, and Kubernetes' Status errors.

Knows the words of the real server's errors (meta/v1 Status, k8s.io/apimachinery api/errors), nothing of sockets.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Obj = dict[str, Any]
"""A Kubernetes object or document as JSON gives it; stored objects are never changed in place."""

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, its path still as sent (percent-encoded, without the query)."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def param(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def header(self, name: str) -> str:
        """Return a header's value, or nothing; names are lower case."""
        return self.headers.get(name, "")

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter as Go's query decoding reads it: present and neither 0 nor false."""
        values = self.query.get(name)
        return values is not None and values[:1] != () and values[0].lower() not in {"false", "0"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; a body that is an iterator is streamed in chunks."""

    status: int = 200
    body: bytes | AsyncGenerator[bytes, None] = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class StatusError(Exception):
    """A refusal that becomes a Status document."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: Obj | None = None,
        metadata: Obj | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = REASONS.get(code, "") if reason is None else reason
        self.details = details
        self.metadata = metadata or {}
        self.headers = headers or {}

    def document(self) -> Obj:
        """Return the Status as the real server writes it."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return {**status, "code": self.code}

    def answer(self) -> Answer:
        """Return the Status as an answer."""
        return Answer(self.code, orjson.dumps(self.document()), headers=self.headers)


class PageNotFoundError(Exception):
    """A path nobody serves: 404 in plain text, as the real server answers for unknown groups and resources."""


def qualified(plural: str, group: str) -> str:
    """Return "deployments.apps", or "pods" for the core group, as errors name resources."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str = "", causes: list[Obj] | None = None) -> Obj:
    found: Obj = {"name": name, "group": group, "kind": kind, "causes": causes}
    return {key: value for key, value in found.items() if value}


def not_found(plural: str, group: str, name: str) -> StatusError:
    """Return 404 for an object."""
    return StatusError(404, f'{qualified(plural, group)} "{name}" not found', details=_details(group, plural, name))


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """Return 409 for a name that is taken."""
    return StatusError(
        409,
        f'{qualified(plural, group)} "{name}" already exists',
        reason="AlreadyExists",
        details=_details(group, plural, name),
    )


def conflict(plural: str, group: str, name: str, why: str) -> StatusError:
    """Return 409 for a write against something newer."""
    return StatusError(
        409,
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}',
        details=_details(group, plural, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def forbidden(plural: str, group: str, name: str, why: str) -> StatusError:
    """Return 403 about a resource, in the words that name what was asked."""
    what = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    return StatusError(403, f"{what} is forbidden: {why}", details=_details(group, plural, name))


def invalid(kind: str, group: str, name: str, causes: list[tuple[str, str, str]]) -> StatusError:
    """Return 422; causes are (reason, field, message)."""
    texts = [f"{path}: {text}" for _, path, text in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    listed = [{"reason": reason, "message": text, "field": path} for reason, path, text in causes]
    return StatusError(
        422,
        f'{qualified(kind, group)} "{name}" is invalid: {text}',
        details=_details(group, kind, name, listed),
    )


def bad_request(message: str) -> StatusError:
    """Return 400."""
    return StatusError(400, message)


def method_not_allowed() -> StatusError:
    """Return 405."""
    return StatusError(405, "the server does not allow this method on the requested resource", details={})


def expired(message: str, continue_token: str = "") -> StatusError:
    """Return 410, with a token to go on inconsistently where there is one."""
    return StatusError(410, message, metadata={"continue": continue_token} if continue_token else {})
