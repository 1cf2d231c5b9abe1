"""Boundary between what a cluster serves and what callers may name there: the types, without the restricted ones.

A kind that is restricted, or that the cluster's policy does not offer, is dropped here, before anything is indexed: no
look-up, suggestion or count can tell it from one that does not exist (promise 7).
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import orjson

from gateway.discovery.documents import MAX_TYPES, ServedVersion
from gateway.kube.types import ResourceType
from gateway.policy.options import PolicyOptions
from gateway.policy.rules import is_restricted, kind_is_offered

Names = Mapping[str, tuple[ResourceType, ...]]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Catalog:
    """The resource types callers may name on a cluster, in every served version.

    They stand in the server's order: groups by its priorities, a group's preferred version first. `broken` lists
    the group/versions that are served but can't be read at the moment. `digest` is equal for equal catalogs.

    The indexes: `full_names` (plural, singular and kind) and `short_names` by lower-case name, each type once, in its
    best version; `versions` by (group, plural), best version first; `kinds` by (apiVersion, kind) as manifests spell
    them.
    """

    types: tuple[ResourceType, ...]
    broken: tuple[str, ...]
    digest: str
    full_names: Names = field(repr=False)
    short_names: Names = field(repr=False)
    versions: Mapping[tuple[str, str], tuple[ResourceType, ...]] = field(repr=False)
    kinds: Mapping[tuple[str, str], ResourceType] = field(repr=False)

    @property
    def preferred(self) -> tuple[ResourceType, ...]:
        """Each type once, in its best version, in the server's order."""
        return tuple(versions[0] for versions in self.versions.values())


def build(served: Iterable[ServedVersion], policy: PolicyOptions, previous: Catalog | None = None) -> Catalog:
    """Make the catalog of what a cluster serves, as far as its policy offers it.

    Of a version that can't be read at the moment, the types `previous` had are kept.
    """
    types: list[ResourceType] = []
    broken: list[str] = []
    for version in served:
        found = version.types
        if found is None:
            if _group_is_offered(policy, version.group):
                broken.append(version.api_version)
            kept = previous.types if previous is not None else ()
            found = tuple(t for t in kept if t.group == version.group and t.version == version.version)
        types += [t for t in found if _is_offered(policy, t)]
    return _indexed(tuple(types[:MAX_TYPES]), tuple(sorted(broken)))


def served_by(catalog: Catalog, *, core: bool) -> tuple[ServedVersion, ...]:
    """Turn what came from `/api` (`core`) or `/apis` back into served versions, for a document not modified."""
    versions: dict[tuple[str, str], list[ResourceType]] = {}
    for found in catalog.types:
        if bool(found.group) is not core:
            versions.setdefault((found.group, found.version), []).append(found)
    served = [
        ServedVersion(group, version, None if _api_version(group, version) in catalog.broken else tuple(types))
        for (group, version), types in versions.items()
    ]
    for name in catalog.broken:
        group, _, version = name.rpartition("/")
        if bool(group) is not core and (group, version) not in versions:
            served.append(ServedVersion(group, version, None))
    return tuple(served)


def _indexed(types: tuple[ResourceType, ...], broken: tuple[str, ...]) -> Catalog:
    versions: dict[tuple[str, str], list[ResourceType]] = {}
    kinds: dict[tuple[str, str], ResourceType] = {}
    for found in types:
        versions.setdefault((found.group, found.plural), []).append(found)
        kinds.setdefault((found.api_version, found.kind), found)
    best = [served[0] for served in versions.values()]
    return Catalog(
        types,
        broken,
        sha256(orjson.dumps((types, broken), default=sorted)).hexdigest(),
        _by_name((found, (found.plural, found.singular, found.kind)) for found in best),
        _by_name((found, found.short_names) for found in best),
        {key: tuple(served) for key, served in versions.items()},
        kinds,
    )


def _by_name(named: Iterable[tuple[ResourceType, tuple[str, ...]]]) -> Names:
    index: dict[str, list[ResourceType]] = {}
    for found, names in named:
        for name in {sys.intern(name.lower()) for name in names}:
            index.setdefault(name, []).append(found)
    return {name: tuple(found) for name, found in index.items()}


def _is_offered(policy: PolicyOptions, found: ResourceType) -> bool:
    return not is_restricted(policy, found.group, found.plural) and kind_is_offered(policy, found.group, found.plural)


def _group_is_offered(policy: PolicyOptions, group: str) -> bool:
    """Whether a group's name may be shown at all, as one that can't be read."""
    if is_restricted(policy, group, ""):
        return False
    allowed = policy.kinds.allow
    return not allowed or any(kind.partition(".")[2] == group for kind in allowed)


def _api_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version
