"""The boundary of an embedded cluster's state: objects by resource, one revision counter, and what changed since when.

Stands in for etcd and the watch cache. Stored objects are shared with readers and never changed in place.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.demo.wire import Obj

Key = tuple[str, str]
"""Group and plural."""

REMEMBERED = 1000
"""Changes kept per resource; a watch from before them is told that its revision is too old."""


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (now, unless given) as metav1.Time writes it: UTC to the second."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_of(namespace: str, name: str) -> str:
    """Return the key objects of a resource are kept and sorted by."""
    return f"{namespace}/{name}" if namespace else name


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what the object is now and was before."""

    revision: int
    kind: str
    """ADDED, MODIFIED or DELETED."""
    now: Obj
    before: Obj | None


@dataclass(slots=True)
class _Shelf:
    objects: dict[str, Obj] = field(default_factory=dict)
    order: list[str] | None = None
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    forgotten: int = 0
    """The newest revision no longer remembered."""
    touched: int = 0
    """The revision of the newest change."""
    bell: asyncio.Event | None = None


class Store:
    """Everything one cluster holds. `revision` counts writes, as etcd's does; not thread-safe, one event loop."""

    def __init__(self) -> None:
        self.revision = 1
        self._shelves: dict[Key, _Shelf] = {}

    def get(self, key: Key, namespace: str, name: str) -> Obj | None:
        """Return an object, or None."""
        shelf = self._shelves.get(key)
        return shelf.objects.get(path_of(namespace, name)) if shelf else None

    def paths(self, key: Key) -> list[str]:
        """Return the sorted paths of a resource's objects, the order lists come in."""
        shelf = self._shelves.get(key)
        if shelf is None:
            return []
        if shelf.order is None:
            shelf.order = sorted(shelf.objects)
        return shelf.order

    def at(self, key: Key, path: str) -> Obj:
        """Return the object at a path that `paths` gave."""
        return self._shelves[key].objects[path]

    def all(self, key: Key, namespace: str = "") -> list[Obj]:
        """Return a resource's objects in order, of one namespace or of all."""
        start = f"{namespace}/" if namespace else ""
        return [self.at(key, path) for path in self.paths(key) if path.startswith(start)]

    def resources(self) -> list[Key]:
        """Return the resources that ever had an object."""
        return list(self._shelves)

    def last_change(self, key: Key) -> int:
        """Return the revision of the newest change to a resource, zero if there was none."""
        shelf = self._shelves.get(key)
        return shelf.touched if shelf else 0

    def put(self, key: Key, item: Obj) -> Obj:
        """Store an object under a new revision; what it lacks of uid and creationTimestamp is given to it."""
        self.revision += 1
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(), **item["metadata"]}
        metadata["resourceVersion"] = str(self.revision)
        item = {**item, "metadata": metadata}
        shelf = self._shelves.setdefault(key, _Shelf())
        path = path_of(metadata.get("namespace", ""), metadata["name"])
        before = shelf.objects.get(path)
        shelf.objects[path] = item
        if before is None:
            shelf.order = None
        self._note(shelf, Change(self.revision, "MODIFIED" if before else "ADDED", item, before))
        return item

    def remove(self, key: Key, namespace: str, name: str) -> Obj | None:
        """Remove an object; return it as it last was, under the revision of its removal."""
        shelf = self._shelves.get(key)
        before = shelf.objects.pop(path_of(namespace, name), None) if shelf else None
        if shelf is None or before is None:
            return None
        self.revision += 1
        shelf.order = None
        gone = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.revision)}}
        self._note(shelf, Change(self.revision, "DELETED", gone, before))
        return gone

    def _note(self, shelf: _Shelf, change: Change) -> None:
        if len(shelf.changes) == REMEMBERED:
            shelf.forgotten = shelf.changes[0].revision
        shelf.changes.append(change)
        shelf.touched = change.revision
        if shelf.bell is not None:
            shelf.bell.set()
            shelf.bell = None

    def forget(self, key: Key) -> None:
        """Compact: drop the remembered changes of a resource, so that older revisions are gone."""
        shelf = self._shelves.setdefault(key, _Shelf())
        shelf.changes.clear()
        shelf.forgotten = self.revision

    def oldest(self, key: Key) -> int:
        """Return the oldest revision a watch of this resource may start from."""
        shelf = self._shelves.get(key)
        return shelf.forgotten if shelf else 0

    async def changes(self, key: Key, since: int) -> AsyncGenerator[Change, None]:
        """Yield every change after a revision, waiting for more for ever; ends with the task that reads it."""
        shelf = self._shelves.setdefault(key, _Shelf())
        while True:
            for change in [found for found in shelf.changes if found.revision > since]:
                since = change.revision
                yield change
            if shelf.changes and shelf.changes[-1].revision > since:
                continue
            if shelf.bell is None:
                shelf.bell = asyncio.Event()
            await shelf.bell.wait()
