"""The boundary of who owns which field: managedFields, server-side apply and its conflicts.

After https://kubernetes.io/docs/reference/using-api/server-side-apply/ and sigs.k8s.io/structured-merge-diff. A set of
fields is a set of paths; a path is a tuple of FieldsV1 elements (f:name, k:{...}, v:...).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.demo.discovery import Resource
from gateway.demo.fieldsets import Fields, compare, fields_of, given_up, merged, skeleton, without
from gateway.demo.schema import Path, Type, of_resource, path_text
from gateway.demo.store import timestamp
from gateway.demo.wire import Obj, StatusError

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
    gone = given_up(last.fields, [mine, *(owned.fields for owned in others.values())])
    result = without(kind, result, (), gone)
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


def created_by(resource: Resource, item: Obj, owner: str) -> Obj:
    """Return an object with managedFields that say who created it, at its creation."""
    metadata = item["metadata"]
    manager = Manager(owner, "Update", resource.api_version)
    bare = {key: value for key, value in item.items() if key != "status"}
    made = metadata.get("creationTimestamp") or timestamp()
    kind, empty = of_resource(resource), skeleton(resource)
    owners = update(kind, empty, bare, {}, by=manager, now=made)
    # Manifests that are kept somewhere leave the number of replicas to whoever scales.
    fields = owners[manager].fields - {("f:spec", "f:replicas")}
    owners = {manager: Owned(fields, made)}
    return {**item, "metadata": {**metadata, "managedFields": write_managers(owners)}}
