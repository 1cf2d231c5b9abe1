"""Boundary around the caller's token: it is sent, compared by digest, and never shown."""

from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A Bearer token (RFC 6750) and the SHA-256 of its text, in hexadecimal, by which caches know it."""

    value: str = field(repr=False)
    digest: str

    @classmethod
    def of(cls, value: str) -> "BearerToken":
        """Wrap a token as it came in the Authorization header."""
        return cls(value, sha256(value.encode()).hexdigest())

    def __str__(self) -> str:
        """Show the digest's beginning, so that formatting a token can't reveal it."""
        return f"token {self.digest[:12]}"
