import asyncio
import gzip
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import __version__
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import ExpiredCertificate, Hang, Refuse
from gateway.demo.identity import Authority
from gateway.kube.client import Answer, ApiServer
from gateway.kube.credential import BearerToken
from gateway.kube.errors import TooLarge, Unreachable
from gateway.kube.holding import Memory, NoRoom
from gateway.kube.request import JSON
from tests.kube.conftest import FRUGAL, Connect, Script, Scripted, Speak, ok, saying, silence

SECRET = "kJ8sd0-the-token-nobody-may-see"
TOKEN = BearerToken.of(SECRET)
WAY = "/api/v1/namespaces/demo/pods"


async def get(client: ApiServer, target: str = WAY, *, max_bytes: int = 1 << 20) -> Answer:
    """Send a GET."""
    return await client.send("GET", target, TOKEN, accept=JSON, max_bytes=max_bytes)


async def unreachable(client: ApiServer, method: str = "GET") -> Unreachable:
    """Send a request that must get no answer; nothing that could be printed of the failure may hold the token."""
    with pytest.raises(Unreachable) as caught:
        await client.send(method, WAY, TOKEN, accept=JSON, max_bytes=1 << 20)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(client)
    assert SECRET not in shown
    return caught.value


@contextmanager
def bait() -> Iterator[socket.socket]:
    """Listen where no connection must ever come."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


async def test_an_answer_is_handed_over_whatever_its_status(script: Script, connect: Connect) -> None:
    """The status decides nothing here; header names come in small letters."""
    server = await script(saying(ok(b'{"kind":"Status"}', "Audit-ID: 7", status="404 Not Found")))
    answer = await get(connect(server.url))
    assert (answer.status, answer.ok, answer.body) == (404, False, b'{"kind":"Status"}')
    assert answer.headers["audit-id"] == "7"


async def test_only_what_was_named_is_sent(script: Script, connect: Connect) -> None:
    """The request line is the target as it was escaped, and no header is added that nobody asked for."""
    server = await script(saying(ok()))
    await get(connect(server.url), "/api/v1/namespaces/a%20b/pods?fieldSelector=a%3Db&x=1+2")
    line, *fields = server.heads[0].strip().split("\r\n")
    assert line == "GET /api/v1/namespaces/a%20b/pods?fieldSelector=a%3Db&x=1+2 HTTP/1.1"
    assert sorted(fields) == [
        "Accept: application/json",
        f"Authorization: Bearer {SECRET}",
        f"Host: {server.url.removeprefix('https://')}",
        f"User-Agent: kube-mcp-gateway/{__version__}",
    ]


async def test_a_body_goes_as_it_is_under_its_type(script: Script, connect: Connect) -> None:
    """A manifest's bytes are not written anew on their way."""
    server = await script(saying(ok()))
    body = b'{"a": 1,\n "b": 2}'
    await connect(server.url).send(
        "PATCH", WAY, TOKEN, accept=JSON, max_bytes=100, body=body, content_type="application/apply-patch+yaml"
    )
    assert server.bodies == [body]
    assert "Content-Type: application/apply-patch+yaml\r\n" in server.heads[0]


async def test_a_warm_connection_is_used_again(script: Script, connect: Connect) -> None:
    """Calls one after another share one connection."""
    server = await script(saying(ok()))
    client = connect(server.url)
    for _ in range(10):
        await get(client)
    assert (server.connections, len(server.heads)) == (1, 10)


async def test_connections_are_bounded(script: Script, connect: Connect) -> None:
    """However many calls there are at once, only so many connections are open."""
    server = await script(saying(ok()))
    client = connect(server.url, connections=3)
    await asyncio.gather(*(get(client) for _ in range(30)))
    assert (server.connections, len(server.heads)) == (3, 30)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_redirect_is_followed(script: Script, connect: Connect, status: str, method: str) -> None:
    """The token goes to the listed address and nowhere an answer points to."""
    with bait() as elsewhere:
        location = f"Location: https://127.0.0.1:{elsewhere.getsockname()[1]}/"
        server = await script(saying(ok(b"", location, status=status)))
        client = connect(server.url)
        answer = await client.send(method, WAY, TOKEN, accept=JSON, max_bytes=100, body=b"{}", content_type=JSON)
        assert str(answer.status) == status[:3]
        assert len(server.heads) == 1


async def test_proxies_and_netrc_of_the_environment_do_not_apply(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor another credential comes in from whatever surrounds the process."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login any password other\n")
    netrc.chmod(0o600)
    server = await script(saying(ok()))
    with bait() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("NO_PROXY", "")
        assert (await get(connect(server.url))).ok
    assert server.heads[0].count("Authorization:") == 1
    assert f"Authorization: Bearer {SECRET}\r\n" in server.heads[0]


async def test_cookies_are_not_kept(script: Script, connect: Connect) -> None:
    """One caller's answer leaves nothing on the connection that another's request would carry."""
    server = await script(saying(ok(b"{}", "Set-Cookie: session=of-another; Path=/")))
    # aiohttp's own jar takes no cookies from a mere address.
    client = connect(server.url.replace("127.0.0.1", "localhost"))
    await get(client)
    await get(client)
    assert "cookie" not in server.heads[1].lower()


async def test_a_server_under_another_ca_gets_no_token(script: Script, connect: Connect) -> None:
    """Who can't prove to be the listed API server sees no request at all."""
    server = await script(saying(ok()))
    error = await unreachable(connect(server.url, ca=Authority.new("other").pem()))
    assert (error.kind, error.sent) == ("tls", False)
    assert server.heads == []


async def test_the_certificate_must_have_the_listed_name(script: Script, connect: Connect) -> None:
    """With a TLS server name the certificate must bear that, whatever address is dialled."""
    server = await script(saying(ok()))
    assert (await get(connect(server.url, name="kubernetes.default.svc"))).ok
    error = await unreachable(connect(server.url, name="other.example"))
    assert (error.kind, error.sent) == ("tls", False)
    assert len(server.heads) == 1


async def test_an_expired_certificate_is_not_accepted(connect: Connect) -> None:
    """A certificate that ended yesterday proves nothing today."""
    async with EmbeddedCluster("east") as cluster:
        client = connect(cluster.server, ca=cluster.ca_pem)
        with cluster.fault(ExpiredCertificate()):
            error = await unreachable(client)
        assert (error.kind, error.sent) == ("tls", False)
        assert (await get(client, "/version")).status in {200, 401}


async def test_nobody_listens(connect: Connect) -> None:
    """A refused connection is told as such, at once."""
    async with EmbeddedCluster("east") as cluster:
        with cluster.fault(Refuse()):
            error = await unreachable(connect(cluster.server, ca=cluster.ca_pem))
    assert (error.kind, error.sent) == ("connect", False)
    assert cluster.server not in error.message


async def test_a_handshake_that_hangs_ends_with_the_connect_time_out(connect: Connect) -> None:
    """TCP and TLS together have the connect time-out; nothing was sent then."""
    async with EmbeddedCluster("east") as cluster:
        client = connect(cluster.server, ca=cluster.ca_pem, timeouts=replace(FRUGAL, connect=0.2))
        with cluster.fault(Hang("accept")):
            error = await unreachable(client)
    assert (error.kind, error.sent) == ("timeout", False)


async def test_a_packet_that_is_never_answered_ends_with_the_connect_time_out(connect: Connect) -> None:
    """A full accept queue, like a firewall that drops, is given up after the connect time-out."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"https://127.0.0.1:{full.getsockname()[1]}"
        error = await unreachable(connect(url, timeouts=replace(FRUGAL, connect=0.2)))
    assert (error.kind, error.sent) == ("timeout", False)


async def test_an_answer_that_does_not_begin_ends_with_the_first_byte_time_out(
    script: Script, connect: Connect
) -> None:
    """The request may have been carried out, which the error says."""
    server = await script(silence)
    error = await unreachable(connect(server.url, timeouts=replace(FRUGAL, first_byte=0.2)))
    assert (error.kind, error.sent) == ("timeout", True)


async def test_an_answer_that_stops_midway_ends_with_the_first_byte_time_out(script: Script, connect: Connect) -> None:
    """Half a body is no answer."""
    server = await script(saying(ok(b"x" * 100)[:-50]))
    error = await unreachable(connect(server.url, timeouts=replace(FRUGAL, first_byte=0.2)))
    assert (error.kind, error.sent) == ("timeout", True)


async def test_an_answer_that_drips_ends_with_the_time_out_of_the_call(script: Script, connect: Connect) -> None:
    """Bytes that keep coming can't hold a call for longer than a call may take."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b"x" * 1000)[:-1000])
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    server = await script(drip)
    error = await unreachable(connect(server.url, timeouts=replace(FRUGAL, first_byte=0.5, call=0.3)))
    assert (error.kind, error.sent) == ("timeout", True)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="before the status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="in a header"),
        pytest.param(ok(b"x" * 100)[:-50], id="in the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="in a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhel", id="no chunk at all"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", id="a header without end"),
        pytest.param(ok(b"no gzip", "Content-Encoding: gzip"), id="not what it is encoded as"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_breaks_is_told_as_such(
    script: Script, connect: Connect, said: bytes, method: str
) -> None:
    """Half an answer or none that HTTP knows is no answer, and the request may have been carried out."""
    server = await script(saying(said, close=True))
    error = await unreachable(connect(server.url), method)
    assert (error.kind, error.sent) == ("reset", True)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_write_is_sent_once(script: Script, connect: Connect, method: str, *, warm: bool) -> None:
    """A write whose connection broke is not repeated, because it may have been carried out; not by aiohttp either."""
    server = await script(saying(ok()))
    client = connect(server.url)
    if warm:
        await get(client)
    server.speak = saying(b"", close=True)
    error = await unreachable(client, method)
    assert (error.kind, error.sent) == ("reset", True)
    assert [head.split()[0] for head in server.heads] == ["GET"] * warm + [method]


async def test_a_read_is_sent_once_more_where_the_connection_died_before_an_answer(
    script: Script, connect: Connect
) -> None:
    """An API server may close an idle connection just when it is used again; that is nobody's failed call."""
    answers = iter([saying(ok()), saying(b"", close=True), saying(ok(b"again")), *[saying(b"", close=True)] * 9])

    async def speak(writer: asyncio.StreamWriter) -> None:
        await next(answers)(writer)

    server = await script(speak)
    client = connect(server.url)
    await get(client)
    assert (await get(client)).body == b"again"
    assert len(server.heads) == 3
    await unreachable(client)
    assert len(server.heads) == 5


async def test_what_changes_nothing_is_sent_once_more_too(script: Script, connect: Connect) -> None:
    """A review of a token is a POST by its method alone."""
    answers = iter([saying(b"", close=True), saying(ok(b"again"))])

    async def speak(writer: asyncio.StreamWriter) -> None:
        await next(answers)(writer)

    server = await script(speak)
    client = connect(server.url)
    answer = await client.send(
        "POST", WAY, TOKEN, accept=JSON, max_bytes=100, body=b"{}", content_type=JSON, changes_nothing=True
    )
    assert (answer.body, server.bodies) == (b"again", [b"{}", b"{}"])


@pytest.mark.parametrize("speak", [saying(ok(b"x" * 100)[:-50], close=True), silence])
async def test_a_read_whose_answer_had_begun_or_whose_time_is_up_is_sent_once(
    script: Script, connect: Connect, speak: Speak
) -> None:
    """A second wait, or a second half answer, is not what a caller gains anything by."""
    server = await script(speak)
    await unreachable(connect(server.url, timeouts=replace(FRUGAL, first_byte=0.1)))
    assert len(server.heads) == 1


async def test_all_that_comes_before_a_request_is_bounded_by_the_connect_time_out(
    script: Script, connect: Connect
) -> None:
    """Finding the address and a free connection take no longer than connecting, however long a call may."""
    server = await script(silence)
    client = connect(server.url, connections=1, timeouts=replace(FRUGAL, connect=0.1))
    first = asyncio.create_task(get(client))
    await server.came.wait()
    error = await unreachable(client)
    assert (error.kind, error.sent) == ("timeout", False)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_large_answer_is_counted_until_it_is_let_go(script: Script, connect: Connect) -> None:
    """Small answers cost no counting; a large one is counted as it comes, and kept where somebody holds it."""
    server = await script(saying(ok(b"x" * (16 << 10))))
    memory = Memory(1 << 20)
    client = connect(server.url, memory=memory)
    holding = client.holding()
    ask = partial(client.send, "GET", WAY, TOKEN, accept=JSON, max_bytes=1 << 20)
    await ask(holding=holding)
    assert memory.held == 0
    server.speak = saying(ok(b"x" * (100 << 10)))
    await ask(holding=holding)
    await ask()
    assert memory.held == 100 << 10
    holding.release()
    assert memory.held == 0


async def test_an_answer_that_finds_no_room_is_given_up(script: Script, connect: Connect) -> None:
    """What was counted of it is free again, and its connection with it."""
    server = await script(saying(ok(b"x" * (300 << 10))))
    memory = Memory(500 << 10)
    client = connect(server.url, memory=memory, connections=1)
    with pytest.raises(NoRoom):
        await get(client)
    assert memory.held == 0
    server.speak = saying(ok(b"small"))
    assert (await get(client)).body == b"small"


async def test_a_large_answer_is_abandoned_by_its_announced_length(script: Script, connect: Connect) -> None:
    """A length over the limit is enough: nothing of the body is waited for, and the connection ends."""
    server = await script(saying(ok(b"x" * 3000)[:-1000]))
    with pytest.raises(TooLarge) as caught:
        await get(connect(server.url), max_bytes=2048)
    assert caught.value.limit == 2048
    assert caught.value.message == "The answer is larger than 2 KB and was not read to the end."
    await asyncio.wait_for(server.hung_up.wait(), 5)


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_large_answer_is_abandoned_while_it_is_read(
    script: Script, connect: Connect, *, compressed: bool
) -> None:
    """A body of unknown length is read up to the limit and no further, however small it is on the wire."""
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        encoding = b"Content-Encoding: gzip\r\n" if compressed else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = gzip.compress(bytes(1 << 20)) if compressed else bytes(1 << 16)
        while sent < 1 << 30 and not writer.is_closing():
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            # Over TLS, asyncio's `drain` may not let anybody else run, not even the news that the client has left.
            await asyncio.sleep(0)
            sent += len(chunk)

    server = await script(flood)
    with pytest.raises(TooLarge):
        await get(connect(server.url), max_bytes=1 << 20)
    await asyncio.wait_for(server.hung_up.wait(), 5)
    assert sent < 16 << 20


async def test_an_answer_of_just_the_limit_is_read(script: Script, connect: Connect) -> None:
    """The limit is what may come, not what is too much."""
    server = await script(saying(ok(b"x" * 2048)))
    assert len((await get(connect(server.url), max_bytes=2048)).body) == 2048


async def test_closing_ends_calls_in_flight_as_unreachable(script: Script, connect: Connect) -> None:
    """Whoever still waits when the client ends gets an error it knows, and so does whoever comes after."""
    server = await script(silence)
    client = connect(server.url)
    call = asyncio.create_task(unreachable(client))
    await server.came.wait()
    await client.close()
    assert (await call).kind == "reset"
    assert (await unreachable(client)).kind == "reset"


async def test_a_cancelled_call_gives_its_connection_up(script: Script, connect: Connect) -> None:
    """What nobody waits for any more is not read by the next caller."""
    server = await script(silence)
    client = connect(server.url, connections=1)
    call = asyncio.create_task(get(client))
    await server.came.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.speak = saying(ok(b"second"))
    assert (await get(client)).body == b"second"
    assert server.connections == 2


_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 101 Switching\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 999 ?\r\n",
        b"HTTP/2 200\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Content-Encoding: br\r\n",
        b"Location: //\xff\r\n",
        b"Set-Cookie: \x00=\r\n",
        b"Content-Type: \xff\xfe;=\r\n",
        b"Connection: upgrade\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"hello",
    ]
)


@pytest.fixture
async def babbling(script: Script) -> Scripted:
    """Give one server for all examples."""
    return await script(silence)


@given(parts=st.lists(st.one_of(_LINES, st.binary(max_size=20)), max_size=8), method=st.sampled_from(["GET", "POST"]))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_a_server_says_is_an_answer_or_a_failure_with_a_name(
    babbling: Scripted, connect: Connect, parts: list[bytes], method: str
) -> None:
    """No bytes on the wire make anything else than an answer, a broken connection, or one that is too large."""
    babbling.speak = saying(*parts, close=True)
    client = connect(babbling.url)
    with suppress(Unreachable, TooLarge):
        answer = await client.send(method, WAY, TOKEN, accept=JSON, max_bytes=64)
        assert len(answer.body) <= 64
    await client.close()
