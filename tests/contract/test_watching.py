import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from gateway.demo import EmbeddedCluster
from tests.contract.conftest import MERGE, TABLE, Cluster, Http, config_map, connect


@pytest.fixture
def maps(space: str) -> str:
    """The path of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{space}/configmaps"


@asynccontextmanager
async def _watch(http: Http, path: str, accept: str = "application/json") -> AsyncIterator[AsyncIterator[Any]]:
    headers = {"Authorization": f"Bearer {http.token}", "Accept": accept}
    async with asyncio.timeout(15), http.session.get(f"{http.server}{path}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()

        async def events() -> AsyncIterator[Any]:
            async for line in answer.content:
                yield orjson.loads(line)

        yield events()


async def _now(http: Http, path: str) -> str:
    return str((await http.get(path)).json["metadata"]["resourceVersion"])


async def test_a_watch_tells_what_happens(http: Http, maps: str) -> None:
    """From a resourceVersion on every change comes as an event, in order."""
    since = await _now(http, maps)
    async with _watch(http, f"{maps}?watch=true&resourceVersion={since}&labelSelector=mine") as events:
        await http("POST", maps, config_map("a", labels={"mine": ""}))
        await http("PATCH", f"{maps}/a", {"data": {"k": "v"}}, content_type=MERGE)
        await http("DELETE", f"{maps}/a")
        seen = [await anext(events) for _ in range(3)]
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[1]["object"]["data"] == {"k": "v"}
    assert (seen[0]["object"]["kind"], seen[0]["object"]["apiVersion"]) == ("ConfigMap", "v1")


async def test_a_watch_of_one_name_ends_with_its_deletion_seen(http: Http, maps: str) -> None:
    """A watch by field selector sees just that object."""
    await http("POST", maps, config_map("a"))
    since = await _now(http, maps)
    async with _watch(http, f"{maps}?watch=1&resourceVersion={since}&fieldSelector=metadata.name%3Da") as events:
        await http("POST", maps, config_map("b"))
        await http("DELETE", f"{maps}/a")
        assert (await anext(events))["type"] == "DELETED"


async def test_leaving_a_selection_is_a_deletion(http: Http, maps: str) -> None:
    """An object that no longer matches a watch's selector comes as DELETED, one that begins to as ADDED."""
    await http("POST", maps, config_map("a", labels={"mine": "yes"}))
    since = await _now(http, maps)
    async with _watch(http, f"{maps}?watch=true&resourceVersion={since}&labelSelector=mine%3Dyes") as events:
        await http("PATCH", f"{maps}/a", {"metadata": {"labels": {"mine": "no"}}}, content_type=MERGE)
        await http("PATCH", f"{maps}/a", {"metadata": {"labels": {"mine": "yes"}}}, content_type=MERGE)
        assert [(await anext(events))["type"] for _ in range(2)] == ["DELETED", "ADDED"]


async def test_without_a_version_a_watch_begins_with_what_is_there(http: Http, maps: str) -> None:
    """A watch from nowhere sends synthetic ADDED events first."""
    await http("POST", maps, config_map("a", labels={"mine": ""}))
    async with _watch(http, f"{maps}?watch=true&labelSelector=mine") as events:
        first = await anext(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")


async def test_a_streamed_list_ends_with_a_bookmark(http: Http, maps: str) -> None:
    """With sendInitialEvents the end of what is there is a BOOKMARK with its annotation (KEP-3157)."""
    await http("POST", maps, config_map("a", labels={"mine": ""}))
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&labelSelector=mine"
    async with _watch(http, f"{maps}?{query}&allowWatchBookmarks=true") as events:
        seen = [await anext(events) for _ in range(2)]
    assert [event["type"] for event in seen] == ["ADDED", "BOOKMARK"]
    assert seen[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"


async def test_a_version_that_is_too_old_is_an_event(embedded: EmbeddedCluster) -> None:
    """A watch from before what is remembered is HTTP 200 and then an ERROR event with 410.

    A real API server forgets after minutes; the embedded one when it is told to.
    """
    embedded.compact()
    async with connect(embedded) as http, _watch(http, "/api/v1/namespaces?watch=true&resourceVersion=1") as events:
        event = await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


async def test_a_version_that_is_none_is_refused(http: Http, maps: str) -> None:
    """A watch from a resourceVersion that is no number is a 500 without a reason."""
    answer = await http.get(f"{maps}?watch=true&resourceVersion=abc")
    assert (answer.status, "reason" in answer.json) == (500, False)


async def test_a_watch_ends_at_its_time_limit(http: Http, maps: str) -> None:
    """A time limit, timeoutSeconds, ends a watch in good order."""
    since = await _now(http, maps)
    async with _watch(http, f"{maps}?watch=true&resourceVersion={since}&timeoutSeconds=1&labelSelector=none") as events:
        assert [event async for event in events] == []


async def test_a_watched_table_names_its_columns_once(http: Http, maps: str) -> None:
    """Only the first event of a watch on Tables has column definitions."""
    since = await _now(http, maps)
    async with _watch(http, f"{maps}?watch=true&resourceVersion={since}&labelSelector=mine", TABLE) as events:
        for name in ("a", "b"):
            await http("POST", maps, config_map(name, labels={"mine": ""}))
        seen = [(await anext(events))["object"] for _ in range(2)]
    assert [table["rows"][0]["cells"][0] for table in seen] == ["a", "b"]
    assert [bool(table["columnDefinitions"]) for table in seen] == [True, False]


async def test_watching_needs_its_own_verb(cluster: Cluster, http: Http) -> None:
    """A watch is authorized as the verb watch."""
    viewer = await cluster.token(service_account="demo/viewer")
    answer = await http.get("/api/v1/pods?watch=true", token=viewer)
    assert (answer.status, "cannot watch resource" in answer.message) == (403, True)
