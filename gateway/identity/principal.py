"""Boundary of what the rest of the gateway knows of a caller: who a verified token speaks for, and on which cluster."""

from dataclasses import dataclass

from gateway.clusters.pool import ClusterKey


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for, on one cluster. There is none for a token that was not verified.

    `cluster` is the short name, `cluster_url` the canonical URL, `token_digest` the SHA-256 of the token in
    hexadecimal, `expires_at` in seconds since the epoch, `token_id` the claim `jti` or an empty string.
    """

    issuer: str
    subject: str
    cluster: str
    cluster_url: str
    cluster_key: ClusterKey
    token_digest: str
    expires_at: float
    token_id: str
