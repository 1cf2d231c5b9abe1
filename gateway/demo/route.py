"""The boundary between a request's line and what it asks for: resource paths, verbs and accepted media types.

Follows k8s.io/apiserver's RequestInfo: the path is decoded before it is split, so `%2F` separates.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from gateway.demo.rbac import Attributes
from gateway.demo.selectors import Match
from gateway.demo.wire import Call, StatusError

_NAMESPACE_SUBRESOURCES = {"status", "finalize"}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}


@dataclass(frozen=True, slots=True)
class Route:
    """A request as authorization and the handlers see it."""

    verb: str
    path: str
    """Decoded."""
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    depth: int = 0
    """How many segments follow the version."""

    @property
    def is_resource(self) -> bool:
        """Say whether this names a resource and not a plain path."""
        return bool(self.plural)

    def attributes(self) -> Attributes:
        """Return what RBAC is asked."""
        if not self.is_resource:
            return Attributes(self.verb, path=self.path)
        return Attributes(self.verb, self.group, self.version, self.plural, self.subresource, self.namespace, self.name)


def route(call: Call) -> Route:
    """Read a request's path and method."""
    path = unquote(call.path)
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        return _resource_route(call, path, "", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) >= 4:
        return _resource_route(call, path, parts[1], parts[2], parts[3:])
    return Route(call.method.lower() if call.method != "HEAD" else "head", path)


def _resource_route(call: Call, path: str, group: str, version: str, rest: list[str]) -> Route:
    watching = rest[0] == "watch" and len(rest) > 1
    rest = rest[1:] if watching else rest
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    plural, name = rest[0], rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    verb = _VERBS.get(call.method, call.method.lower())
    if verb == "get" and not name:
        verb = "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    if verb in {"get", "list"} and (watching or call.flag("watch")) and not subresource:
        verb = "watch"
    if verb in {"list", "watch", "deletecollection"}:
        name = name or _named(call.param("fieldSelector"))
    return Route(verb, path, group, version, plural, namespace, name, subresource, len(rest))


def _named(selector: str) -> str:
    """Return the name that a field selector asks for: authorization sees such a list as being about one object."""
    for part in selector.split(","):
        key, _, value = part.partition("=")
        if key == "metadata.name":
            return value.lstrip("=")
    return ""


@dataclass(frozen=True, slots=True)
class Media:
    """A media type the caller accepts and the server can write."""

    yaml: bool = False
    kind: str = ""
    """Table, PartialObjectMetadata, PartialObjectMetadataList, or nothing for the object itself."""


def media(call: Call) -> Media:
    """Choose how to answer from the Accept header; raises StatusError 406 where nothing fits."""
    accept = call.header("accept") or "*/*"
    for entry in accept.split(","):
        base, *options = (part.strip() for part in entry.split(";"))
        wanted = dict(option.partition("=")[::2] for option in options)
        if base not in {"application/json", "application/*", "*/*", "application/yaml"}:
            continue
        kind = wanted.get("as", "")
        if kind and (wanted.get("g") != "meta.k8s.io" or wanted.get("v") != "v1"):
            continue
        return Media(yaml=base == "application/yaml", kind=kind)
    raise StatusError(
        406,
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf",
        details={},
    )


def only(call: Call, kind: str) -> None:
    """Raise StatusError 406 unless the caller accepts the one form a path has."""
    accepted = {entry.partition(";")[0].strip() for entry in (call.header("accept") or "*/*").split(",")}
    if not accepted & {kind, "*/*", f"{kind.partition('/')[0]}/*"}:
        raise StatusError(406, f"406: Not Acceptable\n\nAvailable representations: {kind}", details={})


def both(first: Match | None, second: Match | None) -> Match | None:
    """Join two selectors."""
    if first is None or second is None:
        return first or second
    return lambda item: first(item) and second(item)
