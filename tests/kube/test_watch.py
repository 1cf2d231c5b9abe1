"""Watches: bounded, ended for a reason, and never behind without saying so."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest

from gateway.errors import ClusterUnavailable, GatewayError
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Expired, Forbidden, ServerFault, TooLarge, Unreachable
from gateway.kube.watch import Event, Events, Listed, follow, opened
from tests.kube.conftest import Connect, Script, ok, saying

TOKEN = BearerToken.of("a.b.c")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAudit-Id: 1-2-3\r\nConnection: close\r\n\r\n"


def _item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


def _line(kind: str, item: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": item}) + b"\n"


def _gone() -> bytes:
    return _line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


async def _all(connect: Connect, script: Script, *parts: bytes) -> list[Event]:
    server = await script(saying(*parts, close=True))
    async with opened(connect(server.url), "/watch", TOKEN, accept="application/json") as found:
        assert found.audit_id == "1-2-3"
        return [event async for event in found.events]


async def test_events_come_however_they_are_cut(connect: Connect, script: Script) -> None:
    """A line may come in pieces and several at once; each is one event."""
    whole = _line("ADDED", _item("a", 1)) + b"\n" + _line("BOOKMARK", _item("", 2)) + _line("DELETED", _item("a", 3))
    events = await _all(connect, script, HEAD, whole[:9], whole[9:20], whole[20:])
    assert [(event.kind, event.uid, event.version) for event in events] == [
        ("ADDED", "a", "1"),
        ("BOOKMARK", "", "2"),
        ("DELETED", "a", "3"),
    ]


async def test_an_error_event_is_its_status(connect: Connect, script: Script) -> None:
    """What is wrong comes in an answer that is 200, and must be the error that its status says."""
    with pytest.raises(Expired):
        await _all(connect, script, HEAD, _gone())
    with pytest.raises(ServerFault):
        await _all(connect, script, HEAD, _line("ERROR", {"kind": "Status", "message": "no code"}))


async def test_a_refusal_is_its_status(connect: Connect, script: Script) -> None:
    """Before a watch is open, a refusal must be the error it is everywhere."""
    status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "may not watch"}
    with pytest.raises(Forbidden, match="may not watch"):
        await _all(connect, script, ok(orjson.dumps(status), status="403 Forbidden"))


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": 1}\n'])
async def test_what_is_no_watch_is_a_broken_connection(connect: Connect, script: Script, line: bytes) -> None:
    """Whatever else is sent must not be taken for an event."""
    with pytest.raises(Unreachable):
        await _all(connect, script, HEAD, line)


async def test_an_endless_line_is_abandoned(connect: Connect, script: Script) -> None:
    """No event may fill the memory."""
    with pytest.raises(TooLarge):
        await _all(connect, script, HEAD, *([b"x" * 1024 * 1024] * 6))


async def test_a_silent_watch_is_taken_for_dead(connect: Connect, script: Script) -> None:
    """Where not even bookmarks come, the connection must be given up."""
    server = await script(saying(HEAD))
    with pytest.raises(Unreachable):
        async with opened(connect(server.url), "/watch", TOKEN, accept="application/json", idle=0.05) as found:
            assert [event async for event in found.events] == []


Script_ = list[list[Event | GatewayError]]


def _event(kind: str, name: str, version: int) -> Event:
    return Event(kind, name, str(version), _item(name, version))


class _Source:
    """Lists and watches that were written down: an error among a watch's events is raised there."""

    def __init__(self, lists: list[Listed | GatewayError], watches: Script_) -> None:
        self.lists = lists
        self.watches = watches
        self.since: list[str] = []

    async def listed(self) -> Listed:
        found = self.lists.pop(0)
        if isinstance(found, GatewayError):
            raise found
        return found

    def watched(self, version: str) -> AbstractAsyncContextManager[Events]:
        self.since.append(version)

        async def events(script: list[Event | GatewayError]) -> AsyncIterator[Event]:
            for event in script:
                if isinstance(event, GatewayError):
                    raise event
                yield event

        @asynccontextmanager
        async def manager() -> AsyncIterator[Events]:
            yield events(self.watches.pop(0))

        return manager()


async def _views(source: _Source, count: int) -> list[tuple[dict[str, str], str]]:
    seen = []
    async with aclosing(follow(source.listed, source.watched, lambda item: item["metadata"]["name"])) as views:
        async for view in views:
            seen.append((dict(view.objects), view.trouble))
            if len(seen) == count:
                break
    return seen


async def test_what_there_is_follows_the_events() -> None:
    """After a watch that ends by itself the next must begin where it ended, bookmarks included."""
    source = _Source(
        [Listed([_item("a", 1)], "5")],
        [
            [_event("ADDED", "b", 6), _event("BOOKMARK", "", 9)],
            [_event("DELETED", "a", 10)],
        ],
    )
    assert await _views(source, 3) == [({"a": "a"}, ""), ({"a": "a", "b": "b"}, ""), ({"b": "b"}, "")]
    assert source.since == ["5", "9"]


async def test_a_watch_too_far_behind_is_made_up_by_a_list() -> None:
    """What happened in a forgotten time must be seen in a new list."""
    source = _Source([Listed([_item("a", 1)], "5"), Listed([_item("c", 8)], "8")], [[Expired(410, "", "", (), "")], []])
    assert await _views(source, 2) == [({"a": "a"}, ""), ({"c": "c"}, "")]
    assert source.since == ["5"]


async def test_trouble_is_said_and_outlived() -> None:
    """While a cluster is away that must be said; when it is back, all must be read anew."""
    away = ClusterUnavailable("away")
    source = _Source([Listed([], "5"), Listed([_item("a", 7)], "7")], [[away]])
    assert await _views(source, 3) == [({}, ""), ({}, "away"), ({"a": "a"}, "")]


@pytest.mark.parametrize(
    ("lists", "watches"),
    [
        ([ClusterUnavailable("never there")], []),
        ([Listed([], "1")], [[Forbidden(403, "", "may not watch", ())]]),
    ],
)
async def test_what_trying_again_can_not_mend_is_raised(lists: Any, watches: Any) -> None:
    """A cluster never reached, and a refusal, must come out."""
    with pytest.raises(GatewayError):
        await _views(_Source(lists, watches), 9)
