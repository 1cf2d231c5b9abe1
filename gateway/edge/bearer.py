"""Boundary to the Authorization header: one, Bearer, of bounded size (RFC 6750, section 2.1)."""

import re
from collections.abc import Iterable
from typing import Final

from gateway.errors import Unauthenticated

MAX_TOKEN: Final = 16 * 1024
"""Bytes of the longest token."""

_B64TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*").fullmatch


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the token of the request's one Authorization header.

    Raises:
        Unauthenticated: There is none, more than one, another scheme, or a token that is none or too long.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if not values:
        raise Unauthenticated("missing", "")
    if len(values) > 1:
        message = "More than one Authorization header. Send exactly one."
        raise Unauthenticated("header", message)
    scheme, _, token = values[0].strip().partition(b" ")
    if scheme.lower() != b"bearer":
        message = "The Authorization scheme must be Bearer."
        raise Unauthenticated("header", message)
    token = token.strip()
    if len(token) > MAX_TOKEN:
        message = f"The token is longer than {MAX_TOKEN // 1024} KiB. Ask for one with fewer claims."
        raise Unauthenticated("too_large", message)
    if not _B64TOKEN(token):
        message = "The Authorization header holds no token."
        raise Unauthenticated("header", message)
    return token.decode("ascii")
