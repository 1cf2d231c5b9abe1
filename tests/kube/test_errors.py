import string

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.kube.errors import (
    ApiError,
    Cause,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    InvalidToken,
    NotFound,
    Redirected,
    ServerFault,
    Throttled,
    error_from,
)


def status(code: int, reason: str, message: str, **more: object) -> bytes:
    """Return a Status document as an API server sends it."""
    return orjson.dumps(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
        | more
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Invalid),
        (401, InvalidToken),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (406, Invalid),
        (409, Conflict),
        (410, Expired),
        (413, Invalid),
        (415, Invalid),
        (422, Invalid),
        (429, Throttled),
        (500, ServerFault),
        (503, ServerFault),
        (504, ServerFault),
        (301, Redirected),
        (307, Redirected),
        (304, Redirected),
        (100, ServerFault),
    ],
)
def test_each_status_is_one_kind_of_error(code: int, kind: type[ApiError]) -> None:
    """Nothing above this module looks at an HTTP number; what it needs is the error's type."""
    error = error_from(code, {}, status(code, "SomeReason", "words"))
    assert type(error) is kind
    assert error.status == code


def test_the_words_are_the_api_servers() -> None:
    """Reason and message are quoted as they came."""
    body = status(403, "Forbidden", 'pods is forbidden: User "a" cannot list resource "pods" in API group ""')
    error = error_from(403, {}, body)
    assert (error.reason, error.message) == (
        "Forbidden",
        'pods is forbidden: User "a" cannot list resource "pods" in API group ""',
    )


def test_causes_tell_the_field_and_the_manager() -> None:
    """A conflict of server-side apply names who owns which field."""
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"},
        "no cause",
        {"reason": None, "message": 5},
    ]
    error = error_from(409, {}, status(409, "Conflict", "Apply failed with 1 conflict", details={"causes": causes}))
    assert error.causes == (
        Cause("FieldManagerConflict", ".spec.replicas", 'conflict with "kubectl"'),
        Cause("", "", "5"),
    )


def test_an_expired_list_brings_a_token_to_go_on_with() -> None:
    """410 has a continue token in its metadata, for those who can do with an inconsistent rest."""
    error = error_from(410, {}, status(410, "Expired", "too old", metadata={"continue": "fresh-one"}))
    assert isinstance(error, Expired)
    assert error.fresh == "fresh-one"


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"retry-after": "7"}, {}, 7),
        ({}, {"retryAfterSeconds": 3}, 3),
        ({"retry-after": "7"}, {"retryAfterSeconds": 3}, 7),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"retryAfterSeconds": 3}, 3),
        ({"retry-after": "-1"}, {}, 1),
        ({"retry-after": "٣"}, {}, 1),
        ({"retry-after": "1" * 5000}, {}, 1),
        ({"retry-after": "²"}, {}, 1),
        ({}, {"retryAfterSeconds": True}, 1),
        ({}, {}, 1),
    ],
)
def test_a_busy_server_says_when_to_come_back(
    headers: dict[str, str], details: dict[str, object], seconds: int
) -> None:
    """Seconds come from Retry-After, or from the Status' details, and are one where neither says any."""
    error = error_from(429, headers, status(429, "TooManyRequests", "busy", details=details))
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("code", "body", "message"),
    [
        (404, b"404 page not found\n", "404 page not found"),
        (429, b"Too many requests, please try again later.\n", "Too many requests, please try again later."),
        (503, b"service unavailable\n", "service unavailable"),
        (500, b"unable to upgrade connection: \xff\n", "unable to upgrade connection: \ufffd"),
        (502, b"<html><h1>Bad gateway</h1></html>", "HTTP status 502"),
        (500, b"", "HTTP status 500"),
        (500, b"{", "HTTP status 500"),
        (500, b'{"kind":"Pod","message":"no Status"}', "HTTP status 500"),
        (500, b"x" * 100_000, "x" * 600),
    ],
)
def test_what_is_no_status_document_is_quoted_if_a_person_could_read_it(code: int, body: bytes, message: str) -> None:
    """API servers also answer in plain text; pages of HTML and broken JSON are not quoted."""
    assert error_from(code, {}, body).message == message


def test_a_redirect_is_not_quoted() -> None:
    """Where it points to is nobody's business."""
    error = error_from(307, {"location": "https://elsewhere.example"}, b"see https://elsewhere.example")
    assert "elsewhere" not in error.message


def test_no_answer_makes_a_long_text() -> None:
    """A Status without measure does not fill an agent's context."""
    causes = [{"reason": "r", "field": "f", "message": "m" * 10_000}] * 1000
    error = error_from(422, {}, status(422, "r" * 10_000, "m" * 10_000, details={"causes": causes}))
    assert len(error.message) <= 600
    assert len(error.reason) <= 100
    assert len(error.causes) <= 20
    assert all(len(cause.message) <= 600 for cause in error.causes)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["message", "reason", "details", "causes", "field", "metadata", "continue", "retryAfterSeconds", "code"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(
    code=st.integers(0, 999),
    headers=st.dictionaries(st.sampled_from(["retry-after", "location"]), st.text(max_size=9), max_size=2),
    body=st.one_of(
        st.binary(max_size=60),
        st.text(alphabet=string.printable, max_size=60).map(str.encode),
        _JSON.map(orjson.dumps),
        _JSON.map(lambda fields: orjson.dumps({**(fields if isinstance(fields, dict) else {}), "kind": "Status"})),
    ),
)
@example(code=429, headers={}, body=status(429, "", "", details={"retryAfterSeconds": "\u0663"}))
def test_whatever_comes_becomes_an_error_with_words(code: int, headers: dict[str, str], body: bytes) -> None:
    """No status, header or body makes another exception, an empty message or an endless one."""
    error = error_from(code, headers, body)
    assert isinstance(error, ApiError)
    assert 0 < len(error.message) <= 600
    assert error.status == code
    assert isinstance(error.reason, str)
    if isinstance(error, Throttled):
        assert 0 <= error.retry_after < 100_000
