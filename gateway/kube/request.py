"""Boundary between a tool's intent and the wire: one Kubernetes request as a frozen value."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

from gateway.errors import BadArgument
from gateway.kube.paths import Attributes, resource_path, segment

Verb = Literal["get", "list", "watch", "create", "patch", "delete"]

JSON: Final = "application/json"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
"""A server-side Table, and plain JSON from servers of aggregated APIs that make none."""
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"

DRY_RUN: Final = ("dryRun", "All")
"""The parameter with which a write is tried on the server and not kept."""

_METHODS: Final = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}

_SELECTS: Final = frozenset(",=!<>()*\\ ")
"""Characters that would make more of a field selector than a name."""


def by_name(name: str) -> tuple[str, str]:
    """Return the parameter that narrows a list or a watch to one name.

    Raises:
        BadArgument: No object has such a name.
    """
    segment(name, "name")
    if not _SELECTS.isdisjoint(name):
        message = "name holds characters that no Kubernetes name has; give just the name."
        raise BadArgument(message)
    return "fieldSelector", f"metadata.name={name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the API server, named by what it is about and never by a URL.

    Verbs are those of RBAC. `query` holds parameters in order; `body` is sent as it is.
    """

    verb: Verb
    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: tuple[tuple[str, str], ...] = ()
    accept: str = JSON
    body: bytes | None = None
    content_type: str = JSON

    @property
    def method(self) -> str:
        """The HTTP method of the verb."""
        return _METHODS[self.verb]

    @property
    def attributes(self) -> Attributes:
        """What it is about, as it was typed."""
        return Attributes(
            self.verb, self.group, self.version, self.resource, self.subresource, self.namespace, self.name
        )

    def path(self) -> str:
        """Return the escaped path.

        Raises:
            BadArgument: A segment that can't be sent.
        """
        return resource_path(self.attributes)

    def target(self, path: str) -> str:
        """Return the path with its query, as the request line has it."""
        return f"{path}?{urlencode(self.query)}" if self.query else path
