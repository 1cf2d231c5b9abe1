"""Boundary to the cluster a token names: its signing keys, and its own word about a token, in the lane for that.

Every question carries the token in question and is bounded: few at once, one deadline, small answers. Keys are asked
for beside the lane, at most by two at once, because a lane full of bad tokens must not keep good ones out.
What the cluster does not answer becomes `ClusterUnavailable`, which says nothing about the token. While verified calls
have found it dead, it is not asked at all; but whether it is, these questions never decide (see `clusters.breaker`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import orjson

from gateway.clusters.breaker import BreakerOpen
from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import Pool
from gateway.clusters.system import read_document, review
from gateway.errors import ClusterUnavailable
from gateway.kube.client import Answer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import ApiError, InvalidToken, Redirected, Throttled, TooLarge, Unreachable, error_from

_JWKS: Final = "/openid/v1/jwks"
_ISSUER: Final = "/.well-known/openid-configuration"
# The key set is served as application/jwk-set+json and nothing else; asked only for JSON, API servers answer 406.
_ACCEPT: Final = "application/jwk-set+json, application/json"
_MAX_DOCUMENT: Final = 256 * 1024
_RETRY: Final = 5
_LONGEST_RETRY: Final = 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why there is nothing to read for this token: `refused` is the cluster's 401, `private` any other no.

    `digest` tells whose token it was, for others may have waited for the answer.
    """

    why: Literal["refused", "private"]
    digest: str


async def ask_keys(pool: Pool, cluster: ClusterOptions, token: BearerToken, *, seconds: float) -> list[Any] | Withheld:
    """Read the members of the cluster's key set (RFC 7517).

    Its address is fixed: the `jwks_uri` of the issuer's document may name another host, which nobody listed.

    Raises:
        ClusterUnavailable: It can't be asked now.
    """
    return await _published(pool, cluster, token, _JWKS, "keys", list, seconds=seconds)


async def ask_issuer(pool: Pool, cluster: ClusterOptions, token: BearerToken, *, seconds: float) -> str | Withheld:
    """Read the issuer that the cluster's keys are for (OpenID Connect Discovery 1.0, section 4).

    Raises:
        ClusterUnavailable: It can't be asked now.
    """
    return await _published(pool, cluster, token, _ISSUER, "issuer", str, seconds=seconds)


async def _published(  # noqa: PLR0917  # only those above call it
    pool: Pool, cluster: ClusterOptions, token: BearerToken, path: str, member: str, kind: type[T], *, seconds: float
) -> T | Withheld:
    """Read one member of a document that the cluster publishes."""
    async with _trouble_told(seconds), pool.lease(cluster) as lease:
        lease.breaker.check()
        answer = await read_document(lease, token, path, accept=_ACCEPT)
        found = _member(answer, member) if answer.ok and len(answer.body) <= _MAX_DOCUMENT else None
        if isinstance(found, kind):
            return found
        return Withheld("refused" if _refused(answer) else "private", token.digest)


async def ask_username(pool: Pool, cluster: ClusterOptions, token: BearerToken, *, seconds: float) -> str | None:
    """Ask the cluster whom the token speaks for (SelfSubjectReview, KEP-3325); None where it does not accept it.

    Raises:
        ClusterUnavailable: It can't be asked now, or does not answer such a question.
    """
    async with _trouble_told(seconds), pool.lease(cluster) as lease:
        lease.breaker.check()
        async with lease.verification.entered():
            answer = await review(lease, token)
        if _refused(answer):
            return None
    status = _member(answer, "status")
    user = status.get("userInfo") if isinstance(status, dict) else None
    name = user.get("username") if isinstance(user, dict) else None
    if not answer.ok or not isinstance(name, str) or not name or not name.isprintable():
        raise unavailable("it lets nobody read its keys and does not say whom a token belongs to", _LONGEST_RETRY)
    # Something between may have taken the token away; whoever comes without one is anonymous, and nobody.
    return None if name == "system:anonymous" else name


def unavailable(why: str, retry_after: int = _RETRY) -> ClusterUnavailable:
    """Return the error for a token that can't be judged now."""
    return ClusterUnavailable(
        f"The cluster that this token names can't be asked whether the token is valid: {why}. "
        f"Try again in {retry_after} seconds.",
        retry_after=retry_after,
    )


@asynccontextmanager
async def _trouble_told(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except BreakerOpen as error:
        raise unavailable("it answers nobody just now", error.retry_after) from None
    except TimeoutError:
        raise unavailable("it did not answer in time") from None
    except Unreachable as error:
        raise unavailable(error.message) from None
    except TooLarge:
        raise unavailable("its answer is too large") from None
    except Throttled as error:
        raise unavailable("it is busy", min(max(error.retry_after, 1), _LONGEST_RETRY)) from None
    except ApiError as error:
        raise unavailable(f"it answers with HTTP status {error.status}") from None


def _refused(answer: Answer) -> bool:
    """Say whether the answer is the cluster's no to the token, rather than to the question.

    Raises:
        ApiError: It is neither: the API server has trouble of its own, or something else answers for it.
    """
    if answer.ok:
        return False
    error = error_from(answer.status, answer.headers, answer.body)
    if isinstance(error, Throttled | Redirected) or error.status >= 500:  # noqa: PLR2004  # RFC 9110, section 15.6
        raise error
    return isinstance(error, InvalidToken)


def _member(answer: Answer, name: str) -> Any:
    """Return a member of the answer's JSON object, and None where there is no such thing."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return document.get(name) if isinstance(document, dict) else None
