"""Boundary to a cluster's discovery endpoints: which documents are asked for, and what each answer means.

Aggregated documents are asked for in one request a root; a server that has none answers the same request with the
legacy document, whose groups are then read one by one, a few at once.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson

from gateway.clusters.pool import Lease
from gateway.clusters.system import read_document
from gateway.discovery.documents import (
    ServedVersion,
    core_versions,
    from_aggregated,
    from_legacy,
    group_versions,
    is_aggregated,
)
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.client import Answer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import ApiError, Forbidden, InvalidToken, Unreachable, error_from

AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
"""KEP-3352: the aggregated document, in its beta form from API servers before 1.30, the legacy one before 1.26."""

_LEGACY_WIDTH: Final = 8
"""Legacy documents that are read at once."""
_LEGACY_SHARE: Final = 0.25
"""What part of the whole time one legacy document may take: one slow aggregated API must not use it up."""

T = TypeVar("T")

_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404
_NOT_ACCEPTABLE: Final = 406


@dataclass(frozen=True, slots=True)
class Root:
    """What `/api` or `/apis` serves, None where it is as before, and the ETag (empty: none) to ask again with."""

    served: tuple[ServedVersion, ...] | None
    etag: str


async def read_roots(lease: Lease, token: BearerToken, etags: tuple[str, str]) -> tuple[Root, Root]:
    """Read `/api` and `/apis` at once; `etags` are those of the last time, empty where there are none.

    Takes at most the cluster's `callSeconds`.

    Raises:
        InvalidToken: The cluster does not accept the token.
        Forbidden: The token may not read discovery.
        ApiError: Another answer that is no success.
        Unreachable: There was no complete answer in time.
        TooLarge: A document is over 4 MiB.
        ClusterUnavailable: What answers is not an API server.
    """
    seconds = lease.cluster.limits.call_seconds
    try:
        async with asyncio.timeout(seconds):
            core, groups = await _together(
                _read_root(lease, token, "/api", etags[0]), _read_root(lease, token, "/apis", etags[1])
            )
    except TimeoutError as error:
        raise _too_slow() from error
    if core.served == groups.served == ():
        raise _not_an_api_server()
    return core, groups


async def _read_root(lease: Lease, token: BearerToken, path: str, etag: str) -> Root:
    answer = await read_document(lease, token, path, accept=AGGREGATED, etag=etag)
    if answer.status in {_NOT_FOUND, _NOT_ACCEPTABLE}:
        answer = await read_document(lease, token, path)
    if answer.status == _NOT_MODIFIED and etag:
        return Root(None, etag)
    if answer.status == _NOT_FOUND:
        return Root((), "")
    if not answer.ok:
        raise _refusal(answer)
    core = path == "/api"
    listed = await asyncio.to_thread(_parsed, answer.body, core=core)
    if isinstance(listed, list):
        # Legacy documents have no ETag that covers the groups below them.
        return Root(await _read_legacy(lease, token, listed), "")
    return Root(listed, answer.headers.get("etag", ""))


async def _read_legacy(lease: Lease, token: BearerToken, listed: list[tuple[str, str]]) -> tuple[ServedVersion, ...]:
    slots = asyncio.Semaphore(_LEGACY_WIDTH)
    refusals: list[GatewayError] = []

    async def read(group: str, version: str) -> ServedVersion:
        async with slots:
            try:
                return await _read_version(lease, token, group, version)
            except GatewayError as error:
                if isinstance(error, InvalidToken) or (isinstance(error, Unreachable) and error.kind != "timeout"):
                    raise
                refusals.append(error)
                return ServedVersion(group, version, None)

    served = await _together(*(read(group, version) for group, version in listed))
    if refusals and len(refusals) == len(listed):
        raise refusals[0]
    return tuple(served)


async def _read_version(lease: Lease, token: BearerToken, group: str, version: str) -> ServedVersion:
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    try:
        async with asyncio.timeout(lease.cluster.limits.call_seconds * _LEGACY_SHARE):
            answer = await read_document(lease, token, path)
    except TimeoutError as error:
        raise _too_slow() from error
    if not answer.ok:
        raise error_from(answer.status, answer.headers, answer.body)
    return await asyncio.to_thread(lambda: from_legacy(group, version, _json(answer.body)))


def _parsed(body: bytes, *, core: bool) -> tuple[ServedVersion, ...] | list[tuple[str, str]]:
    """Return what an aggregated document serves, or the list of versions a legacy one names."""
    document = _json(body)
    if is_aggregated(document):
        return from_aggregated(document, core=core)
    match document:
        case {"kind": "APIVersions"} if core:
            return list(core_versions(document))
        case {"kind": "APIGroupList"} if not core:
            return list(group_versions(document))
        case _:
            raise _not_an_api_server()


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _refusal(answer: Answer) -> ApiError:
    error = error_from(answer.status, answer.headers, answer.body)
    if not isinstance(error, Forbidden):
        return error
    message = (
        "This cluster does not let the token read which kinds it serves: GET on /api and /apis, which Kubernetes "
        f"usually allows all who are authenticated. Ask the cluster's administrator. It said: {error.message}"
    )
    return Forbidden(error.status, error.reason, message, error.causes)


def _too_slow() -> Unreachable:
    return Unreachable("timeout", "it did not answer in time", sent=True)


def _not_an_api_server() -> ClusterUnavailable:
    message = "What answers at this cluster's address is not a Kubernetes API server. Tell the gateway's operator."
    return ClusterUnavailable(message, retry_after=60)


async def _together(*coroutines: Coroutine[object, object, T]) -> list[T]:
    """Run all at once and return their results in order; the first failure ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except* GatewayError as failures:
        failure: BaseException = failures
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None
    return [task.result() for task in tasks]
