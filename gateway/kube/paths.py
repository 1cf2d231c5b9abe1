"""Boundary between names as callers type them and paths as the API server parses them.

An API server decodes `%2F` in a name into a path separator, collapses `..`, and reads an empty namespace as all of
them, so such segments are refused before anything is built; and what is built is read back the way the API server
reads it, so that the policy judges what goes out and not what was meant.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gateway.errors import BadArgument

MAX_SEGMENT: Final = 253
"""Bytes in the longest path segment: the limit of DNS subdomain names (RFC 1123)."""

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_DANGEROUS: Final = re.compile(r"[/%\\\x00-\x1f\x7f-\x9f]").search

_PREFIXES: Final = frozenset({"watch", "proxy"})
"""Where a resource is due, the API server reads these as verbs: `/api/v1/watch/secrets` watches all Secrets."""


def segment(value: str, what: str) -> str:
    r"""Return `value` escaped as one path segment (RFC 3986, section 3.3).

    `what` names the argument in the refusal.

    Raises:
        BadArgument: It is empty, `.` or `..`, holds `/`, `%`, `\` or a control character, or is over 253 bytes.
    """
    if _SAFE(value) and len(value) <= MAX_SEGMENT:
        return value
    if not value:
        message = f"{what} is empty; give the exact name."
    elif value in {".", ".."} or _DANGEROUS(value):
        message = f"{what} holds characters that no Kubernetes name has (such as '/', '%' or '..'); give just the name."
    else:
        encoded = value.encode("utf-8", "surrogatepass")
        if len(encoded) <= MAX_SEGMENT:
            return quote(encoded, safe="-._~:@!$&'()*+,;=")
        message = f"{what} is longer than {MAX_SEGMENT} bytes, which no Kubernetes name is; give the exact name."
    raise BadArgument(message)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request is about, as the API server's own RequestInfo has it; empty strings where it has nothing."""

    verb: str
    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    name: str


def resource_path(target: Attributes) -> str:
    """Build the path of a resource request; every segment is checked and escaped.

    Raises:
        BadArgument: A segment that can't be sent.
    """
    root = f"/apis/{segment(target.group, 'group')}" if target.group else "/api"
    parts = [root, segment(target.version, "version")]
    if target.namespace:
        parts += ["namespaces", segment(target.namespace, "namespace")]
    parts.append(segment(target.resource, "resource"))
    if target.name:
        parts.append(segment(target.name, "name"))
        if target.subresource:
            parts.append(segment(target.subresource, "subresource"))
    return "/".join(parts)


def attributes_of(verb: str, path: str) -> Attributes:
    """Read a path the way the API server does (k8s.io/apiserver, RequestInfoFactory).

    `/api/v1/namespaces/x` is the namespace object x itself; `/api/v1/namespaces/x/pods` is pods in x.

    Raises:
        BadArgument: The path is not that of a resource request.
    """
    parts = path.split("/")
    if len(parts) > 3 and parts[:2] == ["", "api"]:  # noqa: PLR2004  # "", "api", version, resource
        group, version, rest = "", parts[2], parts[3:]
    elif len(parts) > 4 and parts[:2] == ["", "apis"]:  # noqa: PLR2004  # "", "apis", group, version, resource
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        message = "This is not the path of a Kubernetes resource."
        raise BadArgument(message)
    if rest[0] in _PREFIXES:
        message = "This is not the path of a Kubernetes resource."
        raise BadArgument(message)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in {"status", "finalize"}:  # noqa: PLR2004  # namespaces, its name, resource
            rest = rest[2:]
    name, subresource = [*rest[1:3], "", ""][:2]
    if len(rest) > 3 or not rest[0]:  # noqa: PLR2004  # resource, name, subresource: nothing the gateway sends is deeper
        message = "This is not the path of a Kubernetes resource."
        raise BadArgument(message)
    return Attributes(verb, group, version, rest[0], subresource, namespace, name)
