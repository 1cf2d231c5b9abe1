import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gateway.admin import AdminOptions, Readiness, create_admin_app
from gateway.admin.live import MOST, Live
from tests.admin.conftest import MakeHouse, housed


class Counted:
    """A state that says how often it was made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> dict[str, Any]:
        """Make the next."""
        self.made += 1
        return {"made": self.made}


async def test_the_state_is_made_once_for_all_who_watch() -> None:
    """A second person who watches costs next to nothing, and each sees the state at once."""
    state = Counted()
    live = Live(state, every=0.01)
    async with aclosing(live.events()) as first, aclosing(live.events()) as second:
        assert await anext(first) == b'data: {"made":1}\n\n'
        assert await anext(second) == b'data: {"made":1}\n\n'
        both = set(await asyncio.gather(anext(first), anext(second)))
        assert both == {b'data: {"made":2}\n\n'}


async def test_nothing_is_made_while_nobody_watches() -> None:
    """A page that was closed leaves no task behind."""
    state = Counted()
    live = Live(state, every=0.01)
    async with aclosing(live.events()) as events:
        await anext(events)
    assert live.listeners == 0
    await asyncio.sleep(0)  # in which what was cancelled ends
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "admin-live"]


async def test_a_stream_ends_by_itself() -> None:
    """A browser that is forgotten open does not hold its connection for ever; it asks again."""
    live = Live(Counted(), every=0.01, longest=0.05)
    seen = [event async for event in live.events()]
    assert 1 < len(seen) < 20


async def test_ending_cuts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A page that is open when the gateway ends hears the end of its stream, and nothing is told as an error."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(housed("east"))
        async with aiohttp.ClientSession() as client, client.get(f"{running.url}/events") as stream:
            assert (await stream.content.readline()).startswith(b"data: {")
            _, rest = await asyncio.gather(stack.aclose(), stream.content.read())
    assert rest.endswith(b"\n")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_streams_are_bounded(house: MakeHouse) -> None:
    """Whoever opens too many is refused with when to come back; the others go on."""
    running = await house("east")
    async with aiohttp.ClientSession() as client:
        opened = [await client.get(f"{running.url}/events") for _ in range(MOST)]
        for stream in opened:
            assert (await stream.content.readline()).startswith(b"data: {")
        refused = await client.get(f"{running.url}/events")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
        for stream in opened:
            stream.close()


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/icon.svg", "/events"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.", ""])
async def test_a_web_page_elsewhere_can_t_read_it(house: MakeHouse, path: str, host: str) -> None:
    """A name that somebody let resolve to this machine is refused, because nothing else keeps others out."""
    running = await house("east")
    async with aiohttp.ClientSession() as client, client.get(running.url + path, headers={"Host": host}) as answer:
        assert answer.status == 403
        assert "admin.allowedHosts" in await answer.text()
        assert "Content-Security-Policy" not in answer.headers


async def test_probes_and_scrapes_have_any_name(house: MakeHouse) -> None:
    """A kubelet and a Prometheus come by address; nothing in what they read names a person."""
    running = await house("east")
    async with aiohttp.ClientSession() as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with client.get(running.url + path, headers={"Host": "10.0.0.7:9464"}) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9464", "127.0.0.1", "[::1]:9464", "admin.example:1"])
async def test_names_that_are_allowed_get_it_guarded(house: MakeHouse, host: str) -> None:
    """Nothing but its own files may run or be framed on it."""
    running = await house("east", allowed_hosts=("admin.example",))
    async with aiohttp.ClientSession() as client, client.get(f"{running.url}/", headers={"Host": host}) as answer:
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("options", "has_page"),
    [
        (AdminOptions(), True),
        (AdminOptions(host="::1"), True),
        (AdminOptions(host="0.0.0.0"), False),
        (AdminOptions(host="0.0.0.0", page=True), True),
        (AdminOptions(page=False), False),
    ],
)
def test_beyond_loopback_it_is_switched_on(options: AdminOptions, *, has_page: bool) -> None:
    """It has no login, so nobody gets it onto a network by accident."""
    assert options.has_page is has_page


async def test_switched_off_it_does_not_exist(house: MakeHouse) -> None:
    """There is no page, no file of it and no stream."""
    running = await house("east", page=False)
    async with aiohttp.ClientSession() as client:
        for path in ("/", "/page.js", "/events"):
            async with client.get(running.url + path) as answer:
                assert (answer.status, await answer.text()) == (404, "404 Not Found\n")


async def test_without_anything_to_watch_there_is_none() -> None:
    """Health and metrics need nothing else."""
    client = create_admin_app(Readiness(), CollectorRegistry()).test_client()
    assert (await client.get("/")).status_code == 404
