"""The boundary of watching: changes after a revision as a stream of JSON lines, with bookmarks and ERROR events.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import orjson

from gateway.demo.convert import present
from gateway.demo.discovery import Resource
from gateway.demo.reads import selector_of
from gateway.demo.route import Media, Route, media
from gateway.demo.selectors import Match
from gateway.demo.state import State
from gateway.demo.store import Change
from gateway.demo.tables import partial, table
from gateway.demo.wire import Answer, Call, Obj, StatusError, bad_request, expired

BOOKMARK_EVERY = 60.0
"""Seconds between bookmarks, and one comes shortly before a watch ends at its time limit."""

_LONGEST = 1800.0


@dataclass(slots=True)
class _Watch:
    resource: Resource
    namespace: str
    match: Match | None
    choice: Media
    include: str
    headed: bool = False

    def concerns(self, item: Obj | None) -> bool:
        """Say whether an object is in what is watched."""
        if item is None or (self.namespace and item["metadata"].get("namespace") != self.namespace):
            return False
        return self.match is None or self.match(item)

    def line(self, kind: str, item: Obj) -> bytes:
        """Return one event as it goes over the wire."""
        shown = present(self.resource, item)
        if self.choice.kind == "Table":
            metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
            shown = table(self.resource, [shown], metadata, self.include, headed=not self.headed)
            self.headed = True
        elif self.choice.kind.startswith("PartialObjectMetadata"):
            shown = partial(shown)
        return orjson.dumps({"type": kind, "object": shown}, option=orjson.OPT_APPEND_NEWLINE)

    def event(self, change: Change) -> bytes | None:
        """Return what a change is for somebody who sees only what matches, None where it is nothing to them."""
        now, before = self.concerns(change.now), self.concerns(change.before)
        if change.kind == "DELETED":
            return self.line("DELETED", change.now) if before else None
        if now:
            return self.line("MODIFIED" if before else "ADDED", change.now)
        if before and change.before is not None:
            metadata = {**change.before["metadata"], "resourceVersion": str(change.revision)}
            return self.line("DELETED", {**change.before, "metadata": metadata})
        return None

    def bookmark(self, revision: int, *, initial: bool = False) -> bytes:
        """Return a bookmark: nothing happened up to this revision."""
        metadata: Obj = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        item: Obj = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        if self.choice.kind == "Table":
            item = table(self.resource, [], {"resourceVersion": str(revision)}, self.include, headed=not self.headed)
        return orjson.dumps({"type": "BOOKMARK", "object": item}, option=orjson.OPT_APPEND_NEWLINE)


def _seconds(call: Call) -> float:
    text = call.param("timeoutSeconds")
    if not text:
        return _LONGEST
    if not text.isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return float(text) or _LONGEST


def watch(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    """Answer with a stream of changes; a revision that is too old is an ERROR event of an answer that is 200."""
    choice = media(call)
    version = call.param("resourceVersion")
    if version and not version.isdigit():
        text = f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise StatusError(500, f"resourceVersion: {text}", reason="")
    namespace = asked.namespace if resource.namespaced else ""
    seen = _Watch(resource, namespace, selector_of(resource, call), choice, call.param("includeObject", "Metadata"))
    return Answer(200, _stream(state, seen, call, _seconds(call)))


async def _stream(state: State, seen: _Watch, call: Call, seconds: float) -> AsyncGenerator[bytes, None]:
    text, store, key = call.param("resourceVersion"), state.store, seen.resource.key
    bookmarks, since = call.flag("allowWatchBookmarks"), store.revision
    if text in {"", "0"} or call.flag("sendInitialEvents"):
        for item in store.all(key, seen.namespace):
            if seen.concerns(item):
                yield seen.line("ADDED", item)
        if call.flag("sendInitialEvents") and bookmarks:
            yield seen.bookmark(since, initial=True)
    else:
        since = int(text)
        if since < max(state.compacted, store.oldest(key)):
            words = f"too old resource version: {text} ({max(state.compacted, store.oldest(key))})"
            yield _error(expired(words))
            return
    async with contextlib.aclosing(_changes(state, seen, since, seconds, bookmarks=bookmarks)) as lines:
        async for line in lines:
            yield line


async def _changes(
    state: State, seen: _Watch, since: int, seconds: float, *, bookmarks: bool
) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    end, bookmark = loop.time() + seconds, loop.time() + BOOKMARK_EVERY
    changes = state.store.changes(seen.resource.key, since)
    waiting: asyncio.Task[Change] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(changes))
            left = min(end, bookmark) - loop.time()
            done, _ = await asyncio.wait({waiting}, timeout=max(0.0, left))
            if done:
                line = seen.event(waiting.result())
                waiting = None
                if line is not None:
                    yield line
            elif loop.time() >= end:
                break
            else:
                bookmark += BOOKMARK_EVERY
                if bookmarks:
                    yield seen.bookmark(state.store.revision)
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        await changes.aclose()
    if bookmarks:
        yield seen.bookmark(state.store.revision)


def _error(error: StatusError) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": error.document()}, option=orjson.OPT_APPEND_NEWLINE)
