"""The boundary of fields as sets of paths: what a configuration speaks of, how two states differ, how they merge.

After sigs.k8s.io/structured-merge-diff. A path is a tuple of FieldsV1 elements (f:name, k:{...}, v:...).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.demo.discovery import Resource
from gateway.demo.schema import Path, Type, fields, list_key, pieces
from gateway.demo.wire import Obj

Fields = frozenset[Path]


def fields_of(kind: Type, value: Any, path: Path = ()) -> set[Path]:
    """Return the fields a configuration speaks of."""
    parts = pieces(kind, value)
    if parts is None:
        return {path}
    named = fields(kind)
    found: set[Path] = set()
    for element, inner_kind, inner in parts:
        here = (*path, element)
        found |= fields_of(inner_kind, inner, here)
        whole = inner is None or inner == {} or named is None or element[2:] not in named
        if not element.startswith("f:") or whole:
            found.add(here)
    return found


_MISSING = object()


@dataclass(slots=True)
class Comparison:
    """How two states of an object differ, by path."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def compare(kind: Type, before: Any, after: Any) -> Comparison:
    """Compare two states of an object."""
    result = Comparison()
    _compare(kind, before, after, (), result)
    return result


def _compare(kind: Type, before: Any, after: Any, path: Path, result: Comparison) -> None:
    old, new = _parts(kind, before), _parts(kind, after)
    if old is None or new is None:
        if before is _MISSING:
            result.added.add(path)
        elif after is _MISSING:
            result.removed.add(path)
        elif before != after:
            result.modified.add(path)
        return
    for element in {**old, **new}:
        inner = (new.get(element) or old[element])[0]
        was, now = (side[element][1] if element in side else _MISSING for side in (old, new))
        _compare(inner, was, now, (*path, element), result)
    if before is _MISSING:
        result.added.add(path)
    elif after is _MISSING:
        result.removed.add(path)


def _parts(kind: Type, value: Any) -> dict[str, tuple[Type, Any]] | None:
    if value is _MISSING or value is None:
        return {}
    parts = pieces(kind, value)
    return None if parts is None else {element: (inner_kind, inner) for element, inner_kind, inner in parts}


def merged(kind: Type, live: Any, applied: Any) -> Any:
    """Return what is live with an applied configuration laid over it."""
    if live is None or applied is None or pieces(kind, live) is None or pieces(kind, applied) is None:
        return applied
    if isinstance(applied, dict) and isinstance(live, dict):
        kinds = {
            element[2:]: inner for element, inner, _ in [*(pieces(kind, live) or ()), *(pieces(kind, applied) or ())]
        }
        return {
            name: merged(kinds[name], live.get(name), applied[name]) if name in applied else live[name]
            for name in {**live, **applied}
        }
    if isinstance(applied, list) and isinstance(live, list) and isinstance(kind, dict):
        return _merged_list(kind, live, applied)
    return applied


def _merged_list(kind: dict[str, Any], live: list[Any], applied: list[Any]) -> list[Any]:
    old = {list_key(kind, item): item for item in live}
    new = {list_key(kind, item): item for item in applied}
    waiting, out = list(new), []
    for element, item in old.items():
        if element not in new:
            out.append(item)
            continue
        while waiting and element in waiting:
            first = waiting.pop(0)
            out.append(merged(kind["i"], old.get(first), new[first]))
    return [*out, *(new[element] for element in waiting)]


def without(kind: Type, value: Any, path: Path, gone: set[Path]) -> Any:
    """Return a value at a path without the fields that are gone."""
    parts = pieces(kind, value)
    if parts is None:
        return value
    if isinstance(value, dict):
        return {
            element[2:]: without(inner_kind, inner, (*path, element), gone)
            for element, inner_kind, inner in parts
            if (*path, element) not in gone
        }
    return [
        without(inner_kind, inner, (*path, element), gone)
        for element, inner_kind, inner in parts
        if (*path, element) not in gone
    ]


def given_up(last: Fields, kept: Iterable[Fields]) -> set[Path]:
    """Return what an applier no longer speaks of and nobody else owns anything of, structs they were in included."""
    owned: set[Path] = set()
    for held in kept:
        for path in held:
            owned.update(path[:end] for end in range(1, len(path) + 1))
    candidates = {path[:end] for path in last for end in range(1, len(path) + 1)}
    # A map or list item whose own membership was never applied is not this manager's to remove.
    listed = {path for path in candidates if path[-1].startswith("f:") or path in last}
    return {path for path in listed - owned if len(path) > 1}


def skeleton(resource: Resource) -> Obj:
    """Return an object as empty as a new one of its kind, against which a creation's fields are counted."""
    if resource.custom is not None:
        return {"metadata": {}}
    bare: Obj = {"metadata": {}, "spec": {}, "status": {}}
    template: Obj = {"metadata": {}, "spec": {"containers": None}}
    match resource.kind:
        case "Pod":
            bare["spec"] = {"containers": None}
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job":
            bare["spec"] = {"template": template, "strategy": {}, "updateStrategy": {}}
        case "CronJob":
            bare["spec"] = {"jobTemplate": {"metadata": {}, "spec": {"template": template}}}
        case "CustomResourceDefinition":
            bare["spec"] = {"names": {}}
    return bare
