"""The boundary of custom resources: definitions become served resources, their schemas' rules hold."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.demo.discovery import Resource
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.validation import Cause
from gateway.demo.wire import Obj, invalid

KEY = ("apiextensions.k8s.io", "customresourcedefinitions")
_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


def complete(definition: Obj) -> None:
    """Fill in a definition's defaults, in place."""
    spec = definition["spec"]
    names = spec.setdefault("names", {})
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = [version["name"] for version in spec.get("versions") or () if version.get("storage")]
    nameless = {"plural": "", "kind": ""}
    definition.setdefault("status", {"conditions": None, "acceptedNames": nameless, "storedVersions": stored})
    for version in spec.get("versions") or ():
        for column in version.get("additionalPrinterColumns") or ():
            column.setdefault("description", "")
            if not column["description"]:
                del column["description"]


def established(definition: Obj) -> Obj:
    """Return a definition with the status it has once it is served."""
    now = timestamp()
    conditions = [
        {
            "type": kind,
            "status": "True",
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    stored = [version["name"] for version in definition["spec"]["versions"] if version.get("storage")]
    status = {"conditions": conditions, "acceptedNames": definition["spec"]["names"], "storedVersions": stored}
    return {**definition, "status": status}


def check(definition: Obj) -> None:
    """Raise StatusError 422 for a definition that could not be served."""
    spec = definition["spec"]
    causes: list[Cause] = []
    if not spec.get("group"):
        causes.append(("FieldValueRequired", "spec.group", "Required value"))
    if not spec.get("versions"):
        words = "Invalid value: null: must have exactly one version marked as storage version"
        causes.append(("FieldValueInvalid", "spec.versions", words))
    if not spec["names"].get("plural"):
        causes.append(("FieldValueRequired", "spec.names.plural", "Required value"))
    if not spec["names"].get("kind"):
        causes.append(("FieldValueRequired", "spec.names.kind", "Required value"))
    wanted = f"{spec['names'].get('plural', '')}.{spec.get('group', '')}"
    name = definition["metadata"]["name"]
    if not causes and name != wanted:
        words = f'Invalid value: {orjson.dumps(name).decode()}: must be spec.names.plural+"."+spec.group'
        causes.append(("FieldValueInvalid", "metadata.name", words))
    if causes:
        raise invalid(definition["kind"], "apiextensions.k8s.io", name, causes)


def serve(state: State) -> None:
    """Make the cluster serve just the custom resources that are defined in it."""
    known = state.discovery
    for group in state.served_definitions:
        known = known.without(group)
    definitions = state.store.all(KEY)
    state.served_definitions = {definition["spec"]["group"] for definition in definitions}
    for definition in definitions:
        known = known.with_group(*_announced(definition))
    state.discovery = known


def _announced(definition: Obj) -> tuple[Obj, dict[str, Obj]]:
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    versions, customs = [], {}
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        kind = {"group": group, "version": version["name"], "kind": names["kind"]}
        entry: Obj = {
            "resource": names["plural"],
            "responseKind": kind,
            "scope": spec["scope"],
            "singularResource": names["singular"],
            "verbs": _VERBS,
            **{name: names[name] for name in ("shortNames", "categories") if names.get(name)},
        }
        subs = version.get("subresources") or {}
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        found = [
            {"subresource": name, "responseKind": shown, "verbs": ["get", "patch", "update"]}
            for name, shown in (("status", kind), ("scale", scale))
            if name in subs
        ]
        versions.append(
            {
                "version": version["name"],
                "resources": [{**entry, "subresources": found} if found else entry],
                "freshness": "Current",
            }
        )
        columns = [_column(column) for column in version.get("additionalPrinterColumns") or ()]
        customs[version["name"]] = {**version, "additionalPrinterColumns": columns}
    return {"metadata": {"name": group}, "versions": versions}, customs


def _column(column: Obj) -> Obj:
    words = f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    return {**column, "description": column.get("description") or words}


def schema_of(resource: Resource) -> Obj:
    """Return a custom resource's OpenAPI schema."""
    schema: Obj = ((resource.custom or {}).get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def fill(schema: Obj, value: Any) -> Any:
    """Return a value with the schema's defaults filled in."""
    if isinstance(value, dict):
        result = dict(value)
        for name, inner in (schema.get("properties") or {}).items():
            if name not in result and "default" in inner:
                result[name] = copy.deepcopy(inner["default"])
            if name in result:
                result[name] = fill(inner, result[name])
        return result
    if isinstance(value, list):
        return [fill(schema.get("items") or {}, inner) for inner in value]
    return value


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def causes_of(schema: Obj, value: Any, path: str = "") -> Iterator[Cause]:
    """Yield what a value breaks of the schema: types, required fields, enums, bounds, patterns."""
    kind = schema.get("type")
    wanted = _TYPES.get(str(kind))
    if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and kind in {"integer", "number"})):
        name = next((name for name, types in _TYPES.items() if isinstance(value, types)), "null")
        yield "FieldValueTypeInvalid", path, f'Invalid value: "{name}": {path} in body must be of type {kind}: "{name}"'
        return
    if isinstance(value, dict):
        for name in schema.get("required") or ():
            if name not in value:
                yield "FieldValueRequired", f"{path}.{name}" if path else name, "Required value"
        for name, inner in (schema.get("properties") or {}).items():
            if name in value and name not in {"metadata", "apiVersion", "kind"}:
                yield from causes_of(inner, value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from causes_of(schema.get("items") or {}, item, f"{path}[{index}]")
    else:
        yield from _scalar(schema, value, path)


def _scalar(schema: Obj, value: Any, path: str) -> Iterator[Cause]:
    shown = orjson.dumps(value).decode()
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(orjson.dumps(item).decode() for item in schema["enum"])
        yield "FieldValueNotSupported", path, f"Unsupported value: {shown}: supported values: {allowed}"
    if "minimum" in schema and value < schema["minimum"]:
        words = f"{path} in body should be greater than or equal to {schema['minimum']}"
        yield "FieldValueInvalid", path, f"Invalid value: {shown}: {words}"
    if "maximum" in schema and value > schema["maximum"]:
        words = f"{path} in body should be less than or equal to {schema['maximum']}"
        yield "FieldValueInvalid", path, f"Invalid value: {shown}: {words}"


def validate(resource: Resource, item: Obj) -> None:
    """Raise StatusError 422 unless a custom resource fits its schema."""
    causes = list(causes_of(schema_of(resource), item))
    if causes:
        raise invalid(resource.kind, resource.group, item["metadata"].get("name", ""), causes)
