"""Boundary between the `policy` section of a cluster's settings and the rules."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.options import Options

NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Kind = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9.-]+)?$", max_length=253)]
Group = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]


class NamespaceRules(Options):
    """Namespaces by name. An empty `allow` allows all; `deny` wins."""

    allow: frozenset[NamespaceName] = frozenset()
    deny: frozenset[NamespaceName] = frozenset()


class KindRules(Options):
    """Kinds as `plural.group` (core: just the plural). An empty `allow` allows all; `deny` wins."""

    allow: frozenset[Kind] = frozenset()
    deny: frozenset[Kind] = frozenset()


class PolicyOptions(Options):
    """What callers may do on one cluster, within their RBAC: read-only unless it says otherwise."""

    writes: frozenset[Literal["apply", "post", "delete"]] = frozenset()
    subresources: frozenset[Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[a-z]+$")]] = frozenset()
    confirmation: Literal["person", "plan", "none"] = "person"
    namespaces: NamespaceRules = NamespaceRules()
    kinds: KindRules = KindRules()
    restricted_groups: frozenset[Group] = frozenset()
    force: bool = False
