"""Boundary around `continue` tokens: an API server's are unsigned and work on any list, so ours are bound to one.

A token belongs to the principal, the cluster and the very list it came from; anywhere else it is worth nothing.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from gateway.errors import BadArgument

_MAX: Final = 4096
_MAC: Final = 12
"""Bytes of HMAC-SHA-256 (RFC 2104) that are kept."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Seals and opens continue tokens under one key."""

    key: bytes

    def seal(self, token: str, *binding: str) -> str:
        """Return the API server's token bound to these strings; an empty one stays empty."""
        if not token:
            return ""
        return urlsafe_b64encode(self._mac(token, binding) + token.encode()).decode().rstrip("=")

    def open(self, sealed: str, *binding: str) -> str:
        """Return the API server's token.

        Raises:
            BadArgument: It does not belong to this list, caller and cluster, or is damaged.
        """
        message = "This `continue` belongs to another list or has lapsed. List again without it."
        if len(sealed) > _MAX or not sealed.isascii():
            raise BadArgument(message)
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            token = raw[_MAC:].decode()
        except ValueError as error:
            raise BadArgument(message) from error
        if not hmac.compare_digest(raw[:_MAC], self._mac(token, binding)):
            raise BadArgument(message)
        return token

    def _mac(self, token: str, binding: tuple[str, ...]) -> bytes:
        parts = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in (token, *binding)))
        return hmac.digest(self.key, parts, "sha256")[:_MAC]
