"""The boundary between objects and meta.k8s.io/v1 Tables and PartialObjectMetadata.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from gateway.demo.discovery import Resource, data
from gateway.demo.durations import since
from gateway.demo.printers import PRINTERS
from gateway.demo.selectors import field_value
from gateway.demo.wire import Obj

_NAME = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_CREATED = "CreationTimestamp is a timestamp representing the server time when this object was created."


def _column(name: str, kind: str, shape: str, priority: int, description: str) -> Obj:
    return {"name": name, "type": kind, "format": shape, "description": description, "priority": priority}


@cache
def _shipped() -> dict[str, list[Obj]]:
    found = data("tables.json")
    columns = [_column(*column) for column in found["columns"]]
    return {path: [columns[index] for index in indexes] for path, indexes in found["tables"].items()}


def columns(resource: Resource) -> list[Obj]:
    """Return the column definitions of a resource's table."""
    if resource.group == "metrics.k8s.io":
        quantities = [_column(word, "string", "quantity", 0, "") for word in ("cpu", "memory")]
        return [
            _column("Name", "string", "name", 0, _NAME),
            *quantities,
            _column("Window", "string", "duration", 0, ""),
        ]
    known = _shipped().get(f"{resource.api_version}/{resource.plural}")
    if known is not None:
        return known
    name = _column("Name", "string", "name", 0, _NAME)
    printed = (resource.custom or {}).get("additionalPrinterColumns")
    if printed:
        more = [
            _column(c["name"], c["type"], c.get("format", ""), c.get("priority", 0), c.get("description", ""))
            for c in printed
        ]
        return [name, *more]
    words = f"{_CREATED} It is not guaranteed to be set in happens-before order across separate operations."
    return [name, _column("Age" if resource.custom else "Created At", "date", "", 0, words)]


def _custom_cell(column: Obj, item: Obj, now: datetime) -> Any:
    path = column["jsonPath"].removeprefix(".")
    value: Any = item
    if "[" in path:
        value = _filtered(item, path)
    else:
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return None
    if column["type"] == "date":
        return since(str(value), now)
    if column["type"] in {"integer", "number", "boolean"}:
        return value
    return field_value({"value": value}, "value")


def _filtered(item: Obj, path: str) -> Any:
    # The one filter people write: status.conditions[?(@.type=="Ready")].status
    head, _, rest = path.partition("[?(@.")
    key, _, tail = rest.partition("==")
    wanted, _, after = tail.partition(")]")
    value: Any = item
    for part in head.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    for entry in value or ():
        if entry.get(key.strip()) == wanted.strip().strip("\"'"):
            return entry.get(after.removeprefix("."))
    return None


def _cells(resource: Resource, item: Obj, now: datetime, width: int) -> list[Any]:
    if resource.group == "metrics.k8s.io":
        used = item["usage"] if "usage" in item else item["containers"][0]["usage"]
        return [item["metadata"]["name"], used["cpu"], used["memory"], item["window"]]
    printer = PRINTERS.get((resource.group, resource.plural))
    if printer is not None:
        return printer(item, now)
    name = item["metadata"]["name"]
    printed = (resource.custom or {}).get("additionalPrinterColumns")
    if printed:
        return [name, *(_custom_cell(column, item, now) for column in printed)]
    created = item["metadata"].get("creationTimestamp", "")
    cells: list[Any] = [name]
    known = {"Age": since(created, now), "Created At": created}
    return [*cells, *(known.get(column["name"], "") for column in columns(resource)[1:width])]


def partial(item: Obj) -> Obj:
    """Return an object's PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def table(
    resource: Resource, items: Iterable[Obj], metadata: Obj, include: str = "Metadata", *, headed: bool = True
) -> Obj:
    """Return a Table of these objects; `include` is None, Metadata or Object, as the includeObject parameter has it."""
    now = datetime.now(UTC)
    head = columns(resource)
    rows = []
    for item in items:
        row: Obj = {"cells": _cells(resource, item, now, len(head))}
        if include == "Metadata":
            row["object"] = partial(item)
        elif include == "Object":
            row["object"] = item
        else:
            row["object"] = None
        rows.append(row)
    found: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**found, "columnDefinitions": head if headed else [], "rows": rows}
