"""Boundary between the name of a kind as people type it and the type it means: pure look-ups in a catalog.

What is understood, in any letter case: a kind, plural, singular or short name; the same with a group
(`deployments.apps`) or with version and group (`deployments.v1.apps`, `pods.v1`); and `apps/v1/Deployment`, `v1/Pod`,
`apps/v1/deployments`, `apps/deployments`. `core/v1/Pod`, as URIs have it, is `v1/Pod`.

Several types may have the name. It is settled in this order, which is kubectl's as far as it does not guess:

1. A full name (plural, singular, kind) goes before a short name.
2. Versions of one type are one match: the best version, unless one was typed.
3. A type of Kubernetes' own groups goes before others' types, the first in the server's order before the rest, because
   there the same name is an alias (events, ingresses) or a companion (pods of metrics.k8s.io). Its own groups are core,
   those without a dot, and those with one word before `.k8s.io`; gateway.networking.k8s.io is installed, so it is not.
4. What is left, such as the `clusters` of two operators, is a choice only the caller can make.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Final

from gateway.discovery.catalog import Catalog
from gateway.kube.types import ResourceType

MAX_TYPED: Final = 400
"""Characters of the longest name that is looked up: a plural and a group of the longest that exist fit."""
MAX_NEAREST: Final = 5
"""Types that are suggested at most."""
_MAX_COMPARED: Final = 500
"""Names that a mistyped one is compared with at most; the comparison is what takes long."""
_MIN_PREFIX: Final = 3
"""Characters with which a name's beginning says something."""

_VERSION: Final = re.compile(r"v[0-9]+((alpha|beta)[0-9]+)?").fullmatch
_OWN_GROUP: Final = re.compile(r"[a-z0-9-]*(\.k8s\.io)?").fullmatch


@dataclass(frozen=True, slots=True)
class One:
    """The name means just this type."""

    type: ResourceType


@dataclass(frozen=True, slots=True)
class Several:
    """The name means any of these types, in the server's order; their `qualified` names tell them apart."""

    candidates: tuple[ResourceType, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """No type has the name; `nearest` have names like it, the likeliest first, and may be empty."""

    nearest: tuple[ResourceType, ...]


Match = One | Several | Unknown


def resolve(catalog: Catalog, typed: str) -> Match:
    """Find the type that `typed` means by the rule above; never raises."""
    wanted = typed.strip().lower()
    if not wanted or len(wanted) > MAX_TYPED:
        return Unknown(())
    name, group, version = _parts(wanted)
    for index in (catalog.full_names, catalog.short_names):
        found = _served(catalog, index.get(name, ()), group, version)
        if found:
            return One(found[0]) if len(found) == 1 else Several(found)
    return Unknown(_nearest(catalog, wanted))


def by_api_version(catalog: Catalog, api_version: str, kind: str) -> ResourceType | None:
    """Find the type of a manifest's `apiVersion` and `kind`, spelled exactly."""
    return catalog.kinds.get((api_version, kind))


def by_resource(catalog: Catalog, group: str, version: str, plural: str) -> ResourceType | None:
    """Find a type by its names in paths, spelled exactly; the core group is the empty string."""
    versions = catalog.versions.get((group, plural), ())
    return next((served for served in versions if served.version == version), None)


def _parts(wanted: str) -> tuple[str, str | None, str | None]:
    """Split into name, group and version, each of the last two None where it was not typed."""
    if "/" in wanted:
        group, _, name = wanted.rpartition("/")
        group, slash, version = group.partition("/")
        if slash:
            return name, "" if group == "core" else group, version
        return (name, "", group) if _VERSION(group) else (name, group, None)
    name, dot, rest = wanted.partition(".")
    if not dot:
        return name, None, None
    version, dot, group = rest.partition(".")
    # `pods.v1` and kubectl's `pods.v1.` are of the core group; no group is named like a version.
    if _VERSION(version):
        return name, group, version
    return name, rest, None


def _served(
    catalog: Catalog, named: tuple[ResourceType, ...], group: str | None, version: str | None
) -> tuple[ResourceType, ...]:
    if group is None and version is None and len(named) <= 1:
        return named
    if group is not None:
        named = tuple(found for found in named if found.group == group)
    if version is not None:
        found = (by_resource(catalog, found.group, version, found.plural) for found in named)
        named = tuple(served for served in found if served is not None)
    own = next((found for found in named if _OWN_GROUP(found.group)), None)
    return (own,) if own is not None else named


def _nearest(catalog: Catalog, wanted: str) -> tuple[ResourceType, ...]:
    """Suggest types of just this name (in other groups or versions), then of longer names, then of similar ones."""
    # In `pods/web` and `pods/log` the first part is the kind.
    parts = wanted.split("/")
    words = dict.fromkeys(part.partition(".")[0] for part in (parts[-1], parts[0]))
    found = [close for word in words if word for close in _exact(catalog, word)]
    found += [close for word in words if word for close in _similar(catalog, word)]
    return tuple(dict.fromkeys(found))[:MAX_NEAREST]


def _exact(catalog: Catalog, word: str) -> tuple[ResourceType, ...]:
    return (*catalog.full_names.get(word, ()), *catalog.short_names.get(word, ()))


def _similar(catalog: Catalog, word: str) -> list[ResourceType]:
    names = catalog.full_names
    longer = [name for name in names if len(word) >= _MIN_PREFIX and name.startswith(word)]
    # Most mistyped names have their first letter right.
    likely = sorted(names, key=lambda name: name[0] != word[0])[:_MAX_COMPARED]
    close = [*longer[:MAX_NEAREST], *difflib.get_close_matches(word, likely, MAX_NEAREST)]
    return [found for name in close for found in names[name]]
