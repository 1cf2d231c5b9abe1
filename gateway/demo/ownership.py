"""The boundary of who owns which field: managedFields, server-side apply and its conflicts.

After https://kubernetes.io/docs/reference/using-api/server-side-apply/ and sigs.k8s.io/structured-merge-diff. A set of
fields is a set of paths; a path is a tuple of FieldsV1 elements (f:name, k:{...}, v:...).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.demo.discovery import Resource
from gateway.demo.schema import Path, Type, fields, list_key, path_text, pieces
from gateway.demo.wire import Obj, StatusError

Fields = frozenset[Path]

_NOT_OWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
    }
)


@dataclass(frozen=True, slots=True)
class Manager:
    """One entry of managedFields without its fields: who, how, in which version."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def shown(self) -> str:
        """Return the manager as conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns, and since when it does."""

    fields: Fields
    time: str


Managers = Mapping[Manager, Owned]


def _from_v1(tree: Obj, path: Path = ()) -> Iterable[Path]:
    for element, below in tree.items():
        if element == ".":
            yield path
        elif below:
            yield from _from_v1(below, (*path, element))
        else:
            yield (*path, element)


def _to_v1(owned: Fields) -> Obj:
    tree: Obj = {}
    for path in sorted(owned):
        at = tree
        for element in path:
            at = at.setdefault(element, {})
        at["."] = {}
    return _without_lone_dots(tree)


def _without_lone_dots(tree: Obj) -> Obj:
    if set(tree) == {"."}:
        return {}
    return {element: below if element == "." else _without_lone_dots(below) for element, below in tree.items()}


def read_managers(item: Obj) -> dict[Manager, Owned]:
    """Return what an object's managedFields say."""
    found = {}
    for entry in item["metadata"].get("managedFields") or ():
        manager = Manager(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found[manager] = Owned(frozenset(_from_v1(entry.get("fieldsV1") or {})), entry.get("time", ""))
    return found


def write_managers(managers: Managers) -> list[Obj]:
    """Return managedFields in the server's order: applied ones first, then by time and name."""
    listed = []
    for manager, owned in sorted(
        managers.items(), key=lambda pair: (pair[0].operation, pair[1].time, pair[0].name, pair[0].subresource)
    ):
        if owned.fields:
            entry: Obj = {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": manager.api_version,
                "time": owned.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": _to_v1(owned.fields),
            }
            listed.append({**entry, "subresource": manager.subresource} if manager.subresource else entry)
    return listed


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


def _without(kind: Type, value: Any, path: Path, gone: set[Path]) -> Any:
    parts = pieces(kind, value)
    if parts is None:
        return value
    if isinstance(value, dict):
        return {
            element[2:]: _without(inner_kind, inner, (*path, element), gone)
            for element, inner_kind, inner in parts
            if (*path, element) not in gone
        }
    return [
        _without(inner_kind, inner, (*path, element), gone)
        for element, inner_kind, inner in parts
        if (*path, element) not in gone
    ]


def _given_up(last: Fields, kept: Iterable[Fields]) -> set[Path]:
    """Return what an applier no longer speaks of and nobody else owns anything of, structs they were in included."""
    owned: set[Path] = set()
    for held in kept:
        for path in held:
            owned.update(path[:end] for end in range(1, len(path) + 1))
    candidates = {path[:end] for path in last for end in range(1, len(path) + 1)}
    # A map or list item whose own membership was never applied is not this manager's to remove.
    listed = {path for path in candidates if path[-1].startswith("f:") or path in last}
    return {path for path in listed - owned if len(path) > 1}


def unmanaged(resource: Resource, kind: Type, live: Obj, now: str) -> dict[Manager, Owned]:
    """Return who owns an object that nobody was noted for: the first apply finds it owned by `before-first-apply`."""
    manager = Manager("before-first-apply", "Update", resource.api_version)
    return update(kind, skeleton(resource), live, {}, by=manager, now=now)


def apply(
    kind: Type, live: Obj, config: Obj, managers: Managers, *, by: Manager, force: bool, now: str
) -> tuple[Obj, dict[Manager, Owned]]:
    """Lay a configuration over a live object (an empty one to create); return the new object and who owns what.

    `managers` are the owners so far.

    Raises StatusError 409 with a FieldManagerConflict cause per field somebody else owns and has otherwise.
    """
    last = managers.get(by, Owned(frozenset(), now))
    mine = frozenset(fields_of(kind, config)) - _NOT_OWNED
    others = {who: owned for who, owned in managers.items() if who != by}
    result = merged(kind, live, config)
    gone = _given_up(last.fields, [mine, *(owned.fields for owned in others.values())])
    result = _without(kind, result, (), gone)
    change = compare(kind, live, result)
    touched = (change.modified | change.added) - _NOT_OWNED
    conflicts = {who: owned.fields & touched for who, owned in others.items() if owned.fields & touched}
    if conflicts and not force:
        raise _conflict(conflicts)
    for who, owned in others.items():
        left = owned.fields - conflicts.get(who, frozenset()) - change.removed
        others[who] = replace(owned, fields=left)
    time = last.time if mine == last.fields and last.time else now
    return result, {**others, by: Owned(mine, time)}


def _conflict(conflicts: Mapping[Manager, Fields]) -> StatusError:
    causes, lines = [], []
    total = sum(len(paths) for paths in conflicts.values())
    for who in sorted(conflicts, key=lambda found: found.name):
        texts = sorted(path_text(path) for path in conflicts[who])
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who.shown()}", "field": text}
            for text in texts
        ]
        lines += [f"conflicts with {who.shown()}:", *(f"- {text}" for text in texts)]
    first = causes[0]
    text = f"{first['message']}: {first['field']}" if total == 1 else "\n".join(lines)
    words = f"Apply failed with {total} conflict{'' if total == 1 else 's'}: {text}"
    return StatusError(409, words, details={"causes": causes})


def update(kind: Type, before: Obj, after: Obj, managers: Managers, *, by: Manager, now: str) -> dict[Manager, Owned]:
    """Return who owns what after an update: what was changed is the updater's, and no longer the others'."""
    change = compare(kind, before, after)
    changed = frozenset((change.added | change.modified) - _NOT_OWNED)
    if by.subresource == "status":
        changed = frozenset(path for path in changed if path[0] == "f:status")
    gone = change.removed
    after_all: dict[Manager, Owned] = {}
    for who, owned in managers.items():
        left = owned.fields - gone if who == by else owned.fields - gone - change.modified
        after_all[who] = replace(owned, fields=left)
    if changed:
        held = after_all.get(by, Owned(frozenset(), now)).fields
        after_all[by] = Owned(held | changed, now)
    return after_all


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
