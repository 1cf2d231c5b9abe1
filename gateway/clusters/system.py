"""Boundary for the gateway's own questions to a cluster: a fixed list of paths, always with the caller's token.

Discovery and identity use this door; nothing a caller types reaches it but the names of groups and versions that the
cluster itself listed.
"""

import re
from typing import Final

from gateway.clusters.pool import Lease
from gateway.kube.client import Answer
from gateway.kube.credential import BearerToken
from gateway.kube.request import JSON

MAX_DOCUMENT: Final = 4 * 1024 * 1024
"""Bytes of the largest discovery document or key set that is read."""

_DISCOVERY: Final = re.compile(r"/api(/[a-z0-9-]+)?|/apis(/[a-z0-9][a-z0-9.-]*(/[a-z0-9-]+)?)?").fullmatch
_FIXED: Final = frozenset({"/openid/v1/jwks", "/.well-known/openid-configuration", "/version"})
_REVIEW: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_REVIEW_BODY: Final = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'


async def read_document(lease: Lease, token: BearerToken, path: str, *, accept: str = JSON, etag: str = "") -> Answer:
    """Read a discovery document, the key set, the issuer document or the version; any status is returned.

    With `etag`, the answer may be a 304 without a body (RFC 9110, section 13.1.2).

    Raises:
        ValueError: The path is not on the list, which is the gateway's own mistake.
        Unreachable: There was no complete answer.
        TooLarge: The document is over 4 MiB.
    """
    if path not in _FIXED and not _DISCOVERY(path):
        message = f"{path} is not for the system door"
        raise ValueError(message)
    headers = {"If-None-Match": etag} if etag else None
    return await lease.server.send("GET", path, token, accept=accept, max_bytes=MAX_DOCUMENT, headers=headers)


async def review(lease: Lease, token: BearerToken) -> Answer:
    """Ask the cluster who the token is (SelfSubjectReview, KEP-3325); any status is returned.

    Raises:
        Unreachable: There was no complete answer.
        TooLarge: The answer is over 64 KiB.
    """
    return await lease.server.send(
        "POST",
        _REVIEW,
        token,
        accept=JSON,
        max_bytes=64 * 1024,
        body=_REVIEW_BODY,
        content_type=JSON,
        changes_nothing=True,
    )
