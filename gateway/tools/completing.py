"""Boundary between the beginning of a word and what it may become, in URIs of resources and arguments of prompts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.access.session import ClusterSession
from gateway.discovery.resolve import One, by_resource, resolve
from gateway.errors import GatewayError
from gateway.kube.errors import InvalidToken
from gateway.kube.types import ResourceType
from gateway.kube.uris import CLUSTERED, NAMESPACED
from gateway.tools.resources import names_of, permitted_namespaces

MOST: Final = 100
"""Values of one completion (MCP specification, "Completion")."""
WORKLOADS: Final = ("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "pods")


@dataclass(frozen=True, slots=True)
class Completed:
    """The first values, how many there are, where that is known, and whether there are more."""

    values: tuple[str, ...] = ()
    total: int | None = None
    more: bool = False


async def complete_uri(
    session: ClusterSession, template: str, argument: str, typed: str, given: Mapping[str, str]
) -> Completed:
    """Complete a variable of one of the two templates; what can't be looked up completes to nothing.

    Raises:
        InvalidToken: The cluster no longer accepts the token.
        ClusterUnavailable: The catalog can't be read.
    """
    if template not in {NAMESPACED, CLUSTERED}:
        return Completed()
    namespaced = template == NAMESPACED
    kinds = [k for k in (await session.catalog()).types if k.namespaced == namespaced and "get" in k.verbs]
    group, version, plural = given.get("group"), given.get("version"), given.get("resource")
    within = [k for k in kinds if group in {None, "", k.group or "core"}]
    match argument:
        case "namespace" if namespaced:
            return await _namespaces(session, typed)
        case "group":
            return _beginning((k.group or "core" for k in kinds if plural in {None, "", k.plural}), typed)
        case "version":
            return _beginning((k.version for k in within if plural in {None, "", k.plural}), typed)
        case "resource":
            return _beginning((k.plural for k in within if version in {None, "", k.version}), typed)
        case "name":
            found = by_resource(
                await session.catalog(), "" if group == "core" else group or "", version or "", plural or ""
            )
            return await _names(session, found, given.get("namespace", ""), typed)
    return Completed()


async def complete_argument(session: ClusterSession, argument: str, typed: str, given: Mapping[str, str]) -> Completed:
    """Complete an argument of a prompt, all of which call the same things by the same names.

    Raises:
        InvalidToken: The cluster no longer accepts the token.
        ClusterUnavailable: The catalog can't be read.
    """
    if argument == "namespace":
        return await _namespaces(session, typed)
    if argument == "resource":
        return _beginning(WORKLOADS, typed)
    if argument == "name":
        match resolve(await session.catalog(), given.get("resource") or WORKLOADS[0]):
            case One(kind):
                return await _names(session, kind, given.get("namespace", ""), typed)
    return Completed()


async def _namespaces(session: ClusterSession, typed: str) -> Completed:
    try:
        return _beginning(await permitted_namespaces(session), typed)
    except InvalidToken:
        raise
    except GatewayError:
        return Completed()


async def _names(session: ClusterSession, kind: ResourceType | None, namespace: str, typed: str) -> Completed:
    if kind is None:
        return Completed()
    try:
        names, more = await names_of(session, kind, namespace if kind.namespaced else "")
    except InvalidToken:
        raise
    except GatewayError:
        return Completed()
    return _beginning(names, typed, more=more)


def _beginning(words: Iterable[str], typed: str, *, more: bool = False) -> Completed:
    fitting = list(dict.fromkeys(word for word in words if word.startswith(typed.lower())))
    return Completed(tuple(fitting[:MOST]), None if more else len(fitting), more or len(fitting) > MOST)
