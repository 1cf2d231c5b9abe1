"""Boundary between what went wrong and whoever must be told: failures whose text is meant for a caller."""


class GatewayError(Exception):
    """A failure that is told to the caller in one or two sentences: what happened, and what to do next.

    `outcome` is the word that metrics and the audit record use for it.
    """

    outcome = "error"

    def __init__(self, message: str) -> None:
        """Keep `message`, which is shown to the caller as it is."""
        super().__init__(message)
        self.message = message


class BadArgument(GatewayError):
    """An argument that can't be used; the text says which, and what would be right."""

    outcome = "bad_argument"


class NotOffered(GatewayError):
    """A kind or an object that does not exist, or that this gateway treats as if it did not."""

    outcome = "not_found"


class Refused(GatewayError):
    """The gateway's own policy forbids it; nothing was sent."""

    outcome = "refused"


class Unauthenticated(GatewayError):
    """The token can't be accepted (RFC 6750, section 3.1: `invalid_token` or `invalid_request`).

    `reason` is a short word of a fixed set, for metrics and logs; it is never shown to the caller.
    """

    outcome = "unauthenticated"

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason for the operator beside the text for the caller."""
        super().__init__(message)
        self.reason = reason


class ClusterUnavailable(GatewayError):
    """A listed cluster can't be asked at this moment. `retry_after` is in seconds."""

    outcome = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        """Keep the time after which another attempt makes sense."""
        super().__init__(message)
        self.retry_after = retry_after
