"""Boundary to discovery documents as API servers write them: aggregated (KEP-3352) and legacy, read without trust.

Whatever stands in a document, what comes out is only what could be asked for: names that fit a path, within bounds.
What can't be used is skipped, because one odd aggregated API must not take the others' away.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from gateway.kube.types import ResourceType, Subresource

MAX_TYPES: Final = 20_000
"""Resource types, counted in each version, that are taken from one document."""
MAX_VERSIONS: Final = 2_000
"""Group/versions that are taken from one document."""
_MAX_WORDS: Final = 64
"""Verbs, short names, categories and subresources that are taken for one type."""

_GROUP: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*").fullmatch
_VERSION: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
_PLURAL: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,252}").fullmatch
"""Small letters only: the rules of the policy compare exactly, and no capital may lead around them."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}").fullmatch
_WORD: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.*-]{0,62}").fullmatch


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One group in one version; `types` is None where it is listed but can't be read at the moment."""

    group: str
    version: str
    types: tuple[ResourceType, ...] | None

    @property
    def api_version(self) -> str:
        """`group/version` as manifests spell it."""
        return f"{self.group}/{self.version}" if self.group else self.version


def is_aggregated(document: object) -> bool:
    """Whether the answer is an APIGroupDiscoveryList; v2 and v2beta1 are alike in all that is read here."""
    match document:
        case {"kind": "APIGroupDiscoveryList", "apiVersion": str(version)}:
            return version.startswith("apidiscovery.k8s.io/")
        case _:
            return False


def from_aggregated(document: object, *, core: bool) -> tuple[ServedVersion, ...]:
    """Read an APIGroupDiscoveryList: groups in the server's order, versions with the preferred one first.

    `core` says that it came from `/api`, where the group has no name, and not from `/apis`, where each has one.
    """
    memo = _Memo()
    served: dict[tuple[str, str], ServedVersion] = {}
    for item in _dicts(_get(document, "items")):
        name = _get(_get(item, "metadata"), "name")
        group = "" if name is None else name
        if not isinstance(group, str) or bool(group) is core or not (core or _GROUP(group)):
            continue
        for entry in _dicts(_get(item, "versions")):
            version = entry.get("version")
            if not _is(version, _VERSION) or (group, version) in served or len(served) >= MAX_VERSIONS:
                continue
            broken = entry.get("freshness") == "Stale" and "resources" not in entry
            types = None if broken else memo.types(group, version, _aggregated(entry.get("resources")))
            served[group, version] = ServedVersion(sys.intern(group), sys.intern(version), types)
    return tuple(served.values())


def core_versions(document: object) -> tuple[tuple[str, str], ...]:
    """Read the legacy APIVersions document of `/api`: (empty group, version) in the server's order."""
    versions = [version for version in _list(_get(document, "versions")) if _is(version, _VERSION)]
    return tuple(dict.fromkeys(("", version) for version in versions))[:MAX_VERSIONS]


def group_versions(document: object) -> tuple[tuple[str, str], ...]:
    """Read the legacy APIGroupList document of `/apis`: (group, version) with each group's preferred version first."""
    found: dict[tuple[str, str], None] = {}
    for item in _dicts(_get(document, "groups")):
        group = item.get("name")
        if not _is(group, _GROUP):
            continue
        preferred = _get(item.get("preferredVersion"), "version")
        versions = [entry.get("version") for entry in _dicts(item.get("versions"))]
        for version in ([preferred] if preferred in versions else []) + versions:
            if _is(version, _VERSION):
                found[group, version] = None
    return tuple(found)[:MAX_VERSIONS]


def from_legacy(group: str, version: str, document: object) -> ServedVersion:
    """Read the legacy APIResourceList of one group and version, where `pods/log` stands beside `pods`."""
    broken = _get(document, "kind") != "APIResourceList"
    types = None if broken else _Memo().types(group, version, _legacy(_get(document, "resources")))
    return ServedVersion(sys.intern(group), sys.intern(version), types)


def _aggregated(resources: object) -> Iterator[dict[str, Any]]:
    """Yield the entries in one shape for both kinds of documents: that of the legacy one, with nested subresources."""
    for entry in _dicts(resources):
        yield {
            "name": entry.get("resource"),
            "kind": _get(entry.get("responseKind"), "kind"),
            "singularName": entry.get("singularResource"),
            "namespaced": _namespaced(entry.get("scope")),
            "verbs": entry.get("verbs"),
            "shortNames": entry.get("shortNames"),
            "categories": entry.get("categories"),
            "subresources": [(sub.get("subresource"), sub.get("verbs")) for sub in _dicts(entry.get("subresources"))],
        }


def _legacy(resources: object) -> Iterator[dict[str, Any]]:
    entries = _dicts(resources)
    nested: dict[str, list[tuple[object, object]]] = {}
    named = [(name, entry) for entry in entries if isinstance(name := entry.get("name"), str)]
    for name, entry in named:
        parent, slash, subresource = name.partition("/")
        if slash:
            nested.setdefault(parent, []).append((subresource, entry.get("verbs")))
    for name, entry in named:
        yield {**entry, "subresources": nested.get(name, [])}


def _namespaced(scope: object) -> bool | None:
    return scope == "Namespaced" if scope in ("Namespaced", "Cluster") else None


class _Memo:
    """Makes types of one document, with equal verbs and words held once, and counts them."""

    def __init__(self) -> None:
        self._left = MAX_TYPES
        self._verbs: dict[tuple[str, ...], frozenset[str]] = {}

    def types(self, group: str, version: str, entries: Iterator[dict[str, Any]]) -> tuple[ResourceType, ...]:
        found: dict[str, ResourceType] = {}
        for entry in entries:
            if self._left <= 0:
                break
            made = self._type(group, version, entry)
            if made is not None and made.plural not in found:
                found[made.plural] = made
                self._left -= 1
        return tuple(found.values())

    def _type(self, group: str, version: str, entry: dict[str, Any]) -> ResourceType | None:
        plural, kind, namespaced = entry.get("name"), entry.get("kind"), entry.get("namespaced")
        if not (_is(plural, _PLURAL) and _is(kind, _NAME) and isinstance(namespaced, bool)):
            return None
        singular = entry.get("singularName")
        return ResourceType(
            group=sys.intern(group),
            version=sys.intern(version),
            plural=sys.intern(plural),
            kind=sys.intern(kind),
            # Aggregated APIs, and API servers before 1.27, may leave it empty.
            singular=sys.intern(singular if _is(singular, _NAME) else kind.lower()),
            namespaced=namespaced,
            verbs=self._verb_set(entry.get("verbs")),
            short_names=_words(entry.get("shortNames")),
            categories=_words(entry.get("categories")),
            subresources=self._subresources(entry["subresources"]),
        )

    def _subresources(self, entries: list[tuple[object, object]]) -> tuple[Subresource, ...]:
        named = {name: verbs for name, verbs in entries[:_MAX_WORDS] if isinstance(name, str) and _NAME(name)}
        return tuple(Subresource(sys.intern(name), self._verb_set(verbs)) for name, verbs in named.items())

    def _verb_set(self, verbs: object) -> frozenset[str]:
        words = _words(verbs)
        return self._verbs.setdefault(words, frozenset(words))


def _words(value: object) -> tuple[str, ...]:
    words = (word for word in _list(value)[:_MAX_WORDS] if isinstance(word, str) and _WORD(word))
    return tuple(sys.intern(word) for word in words)


def _is(value: object, pattern: Callable[[str], object]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern(value) is not None


def _get(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]
