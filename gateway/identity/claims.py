"""Boundary where an untrusted token's text becomes checked values; pure, and before anything else is done with it.

Follows RFC 7519 (JWT), RFC 7515 (JWS) and the advice of RFC 8725. Nothing here is verified: that takes a cluster's
keys. Texts say what is wrong and never repeat what the token holds.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from gateway.clusters.urls import canonical_url
from gateway.errors import Unauthenticated
from gateway.identity.options import IdentityOptions

Reason = Literal[
    "missing",
    "malformed",
    "too_large",
    "algorithm",
    "audience",
    "expired",
    "not_yet_valid",
    "claims",
    "cluster",
    "signature",
    "rejected",
    "path",
]
"""Every word that `Unauthenticated.reason` may be."""

MAX_TOKEN: Final = 16 * 1024
"""Characters of the longest token that is looked at."""

ALGORITHMS: Final = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | frozenset({"EdDSA"})
"""Asymmetric ones only (RFC 8725, sections 3.1 and 3.2)."""

_SEGMENTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)").fullmatch
_MAX_DEPTH: Final = 16
_MAX_DIGITS: Final = 20
_MAX_TEXT: Final = 2048
_LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself. Times in seconds since the epoch; `key_id` is None where the header has no `kid`."""

    algorithm: str
    key_id: str | None
    issuer: str
    subject: str
    audiences: tuple[str, str, str]
    expires_at: float
    not_before: float | None
    token_id: str
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def refusal(reason: Reason, message: str) -> Unauthenticated:
    """Return the error for a reason of the fixed set."""
    return Unauthenticated(reason, message)


def check_text(token: str) -> None:
    """Check what can be checked without decoding anything.

    Raises:
        Unauthenticated: There is none, it is over 16 KiB, or it holds characters that no token has.
    """
    if not token:
        raise refusal("missing", "This endpoint needs a Bearer token in the Authorization header.")
    if len(token) > MAX_TOKEN:
        raise refusal("too_large", f"The token is longer than {MAX_TOKEN // 1024} KiB.")
    if not token.isascii():
        raise _malformed()


def read_claims(token: str) -> UnverifiedToken:
    """Read a JWT in compact serialization (RFC 7515, section 3.1) without verifying it.

    Raises:
        Unauthenticated: It is not a JWT of the accepted kind and shape.
    """
    check_text(token)
    segments = _SEGMENTS(token)
    if segments is None:
        raise _malformed()
    header = _document(segments[1])
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refusal("algorithm", "The token is not signed with an asymmetric algorithm that is accepted here.")
    # An extension marked critical must be understood or the token refused (RFC 7515, section 4.1.11). None is.
    if "crit" in header:
        raise _malformed()
    # jku, jwk, x5u and x5c would let the token bring its own key (RFC 8725, section 3.10), so nothing reads them.
    claims = _document(segments[2])
    return UnverifiedToken(
        algorithm=algorithm,
        key_id=_text(header, "kid") if "kid" in header else None,
        issuer=_text(claims, "iss"),
        subject=_text(claims, "sub"),
        audiences=_three(claims.get("aud")),
        expires_at=_time(claims, "exp"),
        not_before=_time(claims, "nbf") if "nbf" in claims else None,
        token_id=_text(claims, "jti") if "jti" in claims else "",
        signed=token[: segments.start(3) - 1].encode(),
        signature=_decoded(segments[3]),
    )


def check_times(token: UnverifiedToken, now: float, options: IdentityOptions) -> None:
    """Check `exp` and `nbf` (RFC 7519, sections 4.1.4 and 4.1.5); `now` in seconds since the epoch.

    Raises:
        Unauthenticated: The token has expired, or is not valid yet.
    """
    if now >= token.expires_at + options.exp_leeway_seconds:
        raise refusal("expired", f"The token expired at {_shown(token.expires_at)}.")
    if token.not_before is not None and now < token.not_before - options.nbf_leeway_seconds:
        raise refusal("not_yet_valid", f"The token is not valid before {_shown(token.not_before)}.")


def named_url(token: UnverifiedToken, audience: str) -> str:
    """Return the canonical API-server URL of the first audience, where the second is the gateway's own.

    Raises:
        Unauthenticated: The second audience is another one, or the first is no plain https URL.
    """
    first, second, _ = token.audiences
    if second != audience or first == second:
        raise refusal("audience", f"The token's second audience is not {audience}, this gateway's own.")
    try:
        return canonical_url(first)
    except ValueError:
        message = "The token's first audience is not the plain https URL of an API server."
        raise refusal("audience", message) from None


def third_fits(token: UnverifiedToken, default_audience: str | None) -> bool:
    """Say whether the third audience is the cluster's default one, or, where that is not known, at least a third one.

    Two equal strings leave open what the token is for, so they need the operator's word that they are meant.
    """
    first, second, third = token.audiences
    return third not in (first, second) if default_audience is None else third == default_audience


def _malformed() -> Unauthenticated:
    return refusal("malformed", "The token is not a well-formed JSON Web Token.")


def _decoded(segment: str) -> bytes:
    try:
        decoded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise _malformed() from None
    # Bits left over must be zero: one token has one text, and so one digest.
    if urlsafe_b64encode(decoded).rstrip(b"=").decode() != segment:
        raise _malformed()
    return decoded


def _document(segment: str) -> dict[str, Any]:
    try:
        document = json.loads(
            _decoded(segment).decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(document, dict) or not _shallow(document, _MAX_DEPTH):
        raise _malformed()
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    # Of two equal names another reader may take the other one (RFC 7519, section 4).
    if len(document) != len(pairs):
        raise ValueError
    return document


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError
    return int(digits)


def _constant(_: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError


def _shallow(container: dict[str, Any] | list[Any], levels: int) -> bool:
    inner = container.values() if isinstance(container, dict) else container
    return levels >= 0 and all(_shallow(one, levels - 1) for one in inner if isinstance(one, (dict, list)))


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    # Not printable are control characters, which would forge log lines, and lone surrogates, which nothing can encode.
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
        raise refusal("claims", f"The token's {name} is missing or not a plain text.")
    return value


def _three(value: Any) -> tuple[str, str, str]:
    match value:
        case [str(first), str(second), str(third)] if all(0 < len(one) <= _MAX_TEXT for one in (first, second, third)):
            return first, second, third
        case _:
            raise refusal("audience", "The token's aud is not a list of exactly three audiences.")


def _time(claims: dict[str, Any], name: str) -> float:
    value: Any = claims.get(name)
    # A bool is an int to Python, and a float may be infinite without being written so (1e999).
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:
        raise refusal("claims", f"The token's {name} is missing or not a time in seconds.")
    return float(value)


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
