"""The boundary of what an embedded cluster serves: its resources, as aggregated and as legacy discovery documents.

The built-in documents were taken from a kube-apiserver 1.36.3 and are shared by all clusters of the process; a cluster
adds its own CRDs and aggregated services. Aggregated discovery is KEP-3352.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import orjson

from gateway.demo.wire import Obj

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@cache
def data(name: str) -> Any:
    """Return one of the documents taken from a real cluster; shared, never changed."""
    return orjson.loads(files("gateway.demo").joinpath("data", name).read_bytes())


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in one version, as the API paths name it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    subresources: Mapping[str, frozenset[str]]
    custom: Obj | None = field(default=None, compare=False)
    """The CRD's version entry, with its schema and printer columns, where the resource is a custom one."""

    @property
    def api_version(self) -> str:
        """Return "apps/v1", or "v1" for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        """Return where its objects are stored: one place for all versions, and one for both groups of events."""
        return ("", "events") if self.plural == "events" else (self.group, self.plural)


def _resource(group: str, version: str, entry: Obj) -> Resource:
    return Resource(
        group=group,
        version=version,
        plural=entry["resource"],
        kind=entry["responseKind"]["kind"],
        namespaced=entry["scope"] == "Namespaced",
        verbs=frozenset(entry.get("verbs", ())),
        subresources=MappingProxyType(
            {sub["subresource"]: frozenset(sub["verbs"]) for sub in entry.get("subresources", ())}
        ),
    )


@cache
def _built_in() -> Mapping[tuple[str, str, str], Resource]:
    found = {}
    for name in ("api.json", "apis.json"):
        for item in data(name)["items"]:
            group = item["metadata"].get("name", "")
            for version in item["versions"]:
                for entry in version["resources"]:
                    found[group, version["version"], entry["resource"]] = _resource(group, version["version"], entry)
    return MappingProxyType(found)


@dataclass(frozen=True, slots=True)
class Document:
    """A document with its ETag."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, content: Obj) -> "Document":
        """Serialize, and tag as the real server does: the SHA-512 in capitals, quoted."""
        body = orjson.dumps(content)
        return cls(body, f'"{hashlib.sha512(body).hexdigest().upper()}"')


@cache
def _core() -> Document:
    return Document.of(data("api.json"))


@cache
def _groups_only() -> Document:
    return Document.of(data("apis.json"))


@dataclass(frozen=True, slots=True)
class Discovery:
    """What one cluster serves; adding to it makes another one."""

    extra: tuple[Obj, ...] = ()
    """APIGroupDiscovery documents beside the built-in ones, one version each, as they came."""
    resources: Mapping[tuple[str, str, str], Resource] = field(default_factory=_built_in)
    _made: dict[str, Document] = field(default_factory=dict, init=False, compare=False, repr=False)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource a path names."""
        return self.resources.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource whose objects have this apiVersion and kind."""
        group, _, version = api_version.rpartition("/")
        for resource in self.resources.values():
            if resource.kind == kind and resource.version == version and resource.group == group:
                return resource
        return None

    def is_built_in(self, group: str) -> bool:
        """Say whether a group belongs to the API server itself."""
        return any(key[0] == group for key in _built_in())

    def is_stale(self, group: str, version: str) -> bool:
        """Say whether a version is announced by a service that does not answer."""
        return any(
            document["metadata"]["name"] == group and entry["version"] == version and entry["freshness"] == "Stale"
            for document in self.extra
            for entry in document["versions"]
        )

    def with_group(self, document: Obj, customs: Mapping[str, Obj] | None = None) -> "Discovery":
        """Add a group's versions; `customs` gives CRD version entries by version name."""
        group = document["metadata"]["name"]
        added = {}
        for version in document["versions"]:
            for entry in version.get("resources", ()):
                resource = _resource(group, version["version"], entry)
                added[group, version["version"], resource.plural] = replace(
                    resource, custom=(customs or {}).get(version["version"])
                )
        return Discovery((*self.extra, document), MappingProxyType({**self.resources, **added}))

    def without(self, group: str) -> "Discovery":
        """Take an added group away."""
        extra = tuple(document for document in self.extra if document["metadata"]["name"] != group)
        added = {document["metadata"]["name"] for document in self.extra}
        resources = {key: found for key, found in self.resources.items() if key[0] != group or group not in added}
        return Discovery(extra, MappingProxyType(resources))

    def aggregated(self, root: str) -> Document:
        """Return the aggregated v2 document for `/api` or `/apis`."""
        if root == "/api":
            return _core()
        if not self.extra:
            return _groups_only()
        if root not in self._made:
            self._made[root] = Document.of({**data("apis.json"), "items": self._groups()})
        return self._made[root]

    def _groups(self) -> list[Obj]:
        groups: dict[str, Obj] = {item["metadata"]["name"]: item for item in data("apis.json")["items"]}
        for document in self.extra:
            name = document["metadata"]["name"]
            merged = groups.get(name, {"metadata": document["metadata"], "versions": []})
            groups[name] = {**merged, "versions": _merge(merged["versions"], document["versions"])}
        return list(groups.values())

    def api_versions(self, address: str) -> Obj:
        """Return the legacy `/api` document."""
        cidrs = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidrs}

    def group_list(self) -> Obj:
        """Return the legacy `/apis` document."""
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_api_group(item) for item in self._groups()]}

    def group(self, name: str) -> Obj | None:
        """Return the legacy `/apis/{group}` document, or None where the group is unknown."""
        for item in self._groups():
            if item["metadata"]["name"] == name:
                return {"kind": "APIGroup", "apiVersion": "v1", **_api_group(item)}
        return None

    def resource_list(self, group: str, version: str) -> Obj | None:
        """Return the legacy document of one group and version, or None where it is unknown."""
        items = data("api.json")["items"] if not group else self._groups()
        for item in items:
            if item["metadata"].get("name", "") != group:
                continue
            for entry in item["versions"]:
                if entry["version"] == version:
                    name = f"{group}/{version}" if group else version
                    resources = [
                        line for found in entry.get("resources", ()) for line in _legacy(found, group, version)
                    ]
                    version_field = {"apiVersion": "v1"} if group else {}
                    return {"kind": "APIResourceList", **version_field, "groupVersion": name, "resources": resources}
        return None


def _merge(before: Iterable[Obj], more: Iterable[Obj]) -> list[Obj]:
    versions = {entry["version"]: entry for entry in before}
    for entry in more:
        known = versions.get(entry["version"])
        if known is None:
            versions[entry["version"]] = entry
        else:
            versions[entry["version"]] = {**known, "resources": [*known["resources"], *entry["resources"]]}
    return list(versions.values())


def _api_group(item: Obj) -> Obj:
    name = item["metadata"]["name"]
    versions = [
        {"groupVersion": f"{name}/{entry['version']}", "version": entry["version"]} for entry in item["versions"]
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _legacy(entry: Obj, group: str, version: str) -> list[Obj]:
    namespaced = entry["scope"] == "Namespaced"
    lines: list[Obj] = [
        {
            "name": entry["resource"],
            "singularName": entry["singularResource"],
            "namespaced": namespaced,
            "kind": entry["responseKind"]["kind"],
            "verbs": entry["verbs"],
            **{name: entry[name] for name in ("shortNames", "categories") if name in entry},
        }
    ]
    for sub in entry.get("subresources", ()):
        kind = sub["responseKind"]
        foreign = (kind.get("group"), kind.get("version")) not in {("", ""), (group, version), (None, None)}
        lines.append(
            {
                "name": f"{entry['resource']}/{sub['subresource']}",
                "singularName": "",
                "namespaced": namespaced,
                **({"group": kind["group"], "version": kind["version"]} if foreign else {}),
                "kind": kind["kind"],
                "verbs": sub["verbs"],
            }
        )
    return lines


def broken_service(group: str, version: str) -> Obj:
    """Return what aggregated discovery shows of an API service that does not answer: stale, and without resources."""
    return {
        "metadata": {"name": group, "creationTimestamp": None},
        "versions": [{"version": version, "freshness": "Stale"}],
    }
