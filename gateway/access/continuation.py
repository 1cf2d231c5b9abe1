"""Boundary around `continue` tokens: an API server's are unsigned and work on any list, so ours are bound to one.

A token belongs to the principal, the cluster and the very list it came from; anywhere else it is worth nothing.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from gateway.access.sealing import SealingKeys
from gateway.errors import BadArgument

_MAC: Final = 16
"""Characters of HMAC-SHA-256 (RFC 2104) in base64url that are kept: 96 bits."""
_VERSION: Final = "1"
"""The first character of every sealed token; whoever changes what follows it changes this."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.=-]+").fullmatch


@dataclass(frozen=True, slots=True)
class Continuation:
    """Seals and opens continue tokens."""

    keys: SealingKeys

    def seal(self, token: str, *binding: str) -> str:
        """Return the API server's token bound to these strings; an empty one stays empty."""
        if not token:
            return ""
        # An agent has to write it out again, so it is kept short: Kubernetes' own are plain text already.
        text = token if _PLAIN(token) else "~" + urlsafe_b64encode(token.encode()).decode()
        return _VERSION + _mac(self.keys.of("continue")[0], token, binding) + text

    def open(self, sealed: str, *binding: str) -> str:
        """Return the API server's token.

        Raises:
            BadArgument: It does not belong to this list, caller and cluster, or is damaged.
        """
        message = "This `continue` belongs to another list or has lapsed. List again without it."
        version, mac, text = sealed[:1], sealed[1 : 1 + _MAC], sealed[1 + _MAC :]
        try:
            token = urlsafe_b64decode(text[1:]).decode() if text.startswith("~") else text
            macs = [_mac(key, token, binding) for key in self.keys.of("continue")]
            genuine = version == _VERSION and any(hmac.compare_digest(mac.encode(), one.encode()) for one in macs)
        except ValueError as error:
            raise BadArgument(message) from error
        if not genuine:
            raise BadArgument(message)
        return token


def _mac(key: bytes, token: str, binding: tuple[str, ...]) -> str:
    parts = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in (token, *binding)))
    return urlsafe_b64encode(hmac.digest(key, parts, "sha256")).decode()[:_MAC]
