"""The boundary between a real API server and gateway/demo/data: what an embedded cluster serves is taken from there.

`python -m tests.contract.documents` starts a real control plane and writes the files anew, after a change of version.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster.cluster import RealCluster
from tests.contract.conftest import AGGREGATED, TABLE, connect, until

DATA = Path(__file__).parents[2] / "gateway" / "demo" / "data"
ROLES = {
    "admin",
    "cluster-admin",
    "edit",
    "system:basic-user",
    "system:discovery",
    "system:monitoring",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
    "view",
}
_NOT_OBJECTS = {"APIGroup", "APIResourceList", "APIVersions", "DeleteOptions", "Status", "WatchEvent"}

Get = Callable[[str, str], Awaitable[Any]]
"""Reads a path in a form."""


async def take(get: Get) -> dict[str, Any]:
    """Return the content of every file of gateway/demo/data, by its name."""
    api, apis = [_built_in(await get(root, AGGREGATED)) for root in ("/api", "/apis")]
    rbac = "/apis/rbac.authorization.k8s.io/v1"

    async def roles_made() -> Any:
        roles = await get(f"{rbac}/clusterroles", "application/json")
        named = [role for role in roles["items"] if role["metadata"]["name"] in ROLES]
        return all(role["rules"] for role in named) and named  # a controller puts admin, edit and view together

    roles = await until(roles_made)
    bindings = await get(f"{rbac}/clusterrolebindings", "application/json")
    return {
        "api.json": api,
        "apis.json": apis,
        "roles.json": _roles(roles, bindings["items"]),
        "tables.json": _tables({path: await get(f"{path}?limit=1", TABLE) for path in _lists(api, apis)}),
        "schema.json": _schema((await get("/openapi/v2", "application/json"))["definitions"]),
    }


def _built_in(document: Any) -> Any:
    """Leave out what others defined: a custom resource names its own group."""
    items = [
        item
        for item in document["items"]
        if not any(
            resource["responseKind"]["group"]
            for version in item["versions"]
            for resource in version.get("resources", ())
        )
    ]
    return {**document, "items": items}


def _roles(roles: list[Any], bindings: list[Any]) -> Any:
    return {
        "roles": [
            {
                "name": role["metadata"]["name"],
                "labels": role["metadata"].get("labels", {}),
                "rules": role["rules"],
                "aggregationRule": role.get("aggregationRule"),
            }
            for role in roles
        ],
        "bindings": [
            {"name": found["metadata"]["name"], "roleRef": found["roleRef"], "subjects": found.get("subjects", [])}
            for found in bindings
            if found["metadata"]["name"] in ROLES
        ],
    }


def _lists(*documents: Any) -> Iterator[str]:
    for document in documents:
        for item in document["items"]:
            for version in item["versions"]:
                group = item["metadata"].get("name")
                base = f"/apis/{group}/{version['version']}" if group else f"/api/{version['version']}"
                for resource in version["resources"]:
                    if "list" in resource["verbs"]:
                        yield f"{base}/{resource['resource']}"


def _tables(tables: dict[str, Any]) -> Any:
    fields = ("name", "type", "format", "priority", "description")
    found = {
        path.removeprefix("/apis/").removeprefix("/api/"): [[column[field] for field in fields] for column in columns]
        for path, table in tables.items()
        if (columns := table.get("columnDefinitions"))
    }
    texts = sorted({json.dumps(column) for columns in found.values() for column in columns})
    return {
        "columns": [json.loads(text) for text in texts],
        "tables": {path: [texts.index(json.dumps(column)) for column in columns] for path, columns in found.items()},
    }


def _schema(definitions: Any) -> Any:
    """Return the types of gateway.demo.schema made of OpenAPI definitions."""
    made: dict[str, Any] = {}
    kinds = {}

    def visit(name: str) -> None:
        if name in made:
            return
        definition = definitions[name]
        made[name] = {}
        if definition.get("required"):
            made[name]["q"] = definition["required"]
        if definition.get("x-kubernetes-map-type") == "atomic":
            made[name]["a"] = 1
        properties = sorted(definition.get("properties", {}).items())
        made[name]["p"] = {field: _type(kind, definitions, visit) for field, kind in properties}

    for name, definition in definitions.items():
        for found in definition.get("x-kubernetes-group-version-kind", ()):
            object_like = "metadata" in definition.get("properties", {}) and not found["kind"].endswith("List")
            if object_like and found["kind"] not in _NOT_OBJECTS:
                kinds[f"{found['group']}/{found['version']}/{found['kind']}"] = name
                visit(name)
    numbers = {name: number for number, name in enumerate(sorted(made))}
    return {
        "kinds": {kind: numbers[name] for kind, name in sorted(kinds.items())},
        "types": [_numbered(made[name], numbers) for name in sorted(made)],
    }


def _numbered(found: Any, numbers: dict[str, int]) -> Any:
    if not isinstance(found, dict):
        return found
    return {
        key: numbers[value] if key == "r" and isinstance(value, str) else _numbered(value, numbers)
        for key, value in found.items()
    }


def _type(kind: Any, definitions: Any, visit: Callable[[str], None]) -> Any:
    atomic = {"a": 1} if kind.get("x-kubernetes-map-type") == "atomic" else {}
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        target = definitions[name]
        if "properties" in target or target.get("additionalProperties"):
            visit(name)
            own = {"a": 1} if target.get("x-kubernetes-map-type") == "atomic" else {}
            return {"r": name, **atomic, **own}
        kind = target
    if kind.get("format") == "int-or-string":
        return "x"
    match kind.get("type"):
        case "string":
            return {"byte": "b", "date-time": "d"}.get(kind.get("format", ""), "s")
        case "integer" | "number" | "boolean" as scalar:
            return {"integer": "i", "number": "n", "boolean": "t"}[scalar]
        case "array":
            return {"i": _type(kind["items"], definitions, visit), **_list_traits(kind)}
    if kind.get("additionalProperties"):
        return {"v": _type(kind["additionalProperties"], definitions, visit), **atomic}
    return "*"


def _list_traits(kind: Any) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    if kind.get("x-kubernetes-list-type") == "map":
        traits["k"] = kind["x-kubernetes-list-map-keys"]
    elif kind.get("x-kubernetes-list-type") == "set":
        traits["s"] = 1
    if kind.get("x-kubernetes-patch-merge-key"):
        traits["m"] = kind["x-kubernetes-patch-merge-key"]
    elif "merge" in kind.get("x-kubernetes-patch-strategy", ""):
        traits["m"] = ""
    return traits


def reader(request: Callable[..., Awaitable[Any]]) -> Get:
    """Return a reader on top of the contract's raw client."""

    async def get(path: str, accept: str) -> Any:
        return (await request("GET", path, accept=accept)).json

    return get


async def _write(cluster: RealCluster) -> None:
    async with connect(cluster) as http:
        for name, content in (await take(reader(http))).items():
            text = json.dumps(content, separators=(",", ":"))
            (DATA / name).write_text(f"{text}\n")


if __name__ == "__main__":
    real = RealCluster("documents")
    real.up()
    try:
        asyncio.run(_write(real))
    finally:
        real.down()
