"""Boundary between a cluster's discovery documents and the rest: what a served resource type is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource such as `scale` and the verbs it serves."""

    name: str
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One resource type a cluster serves, in one version, under Kubernetes' own names.

    `group` is empty for the core group; `plural` is the name in paths.
    """

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    verbs: frozenset[str]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()

    @property
    def qualified(self) -> str:
        """`plural.group`, or just the plural in the core group: the name that policies and agents use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`group/version` as manifests spell it."""
        return f"{self.group}/{self.version}" if self.group else self.version
