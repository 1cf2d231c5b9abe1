import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve

from gateway.admin import bind
from gateway.cli.connection import ListenerConfig, install
from gateway.edge.certificate import ServerCertificate
from gateway.edge.options import ListenOptions, TlsOptions
from tests.cluster.pki import new_authority

Message = MutableMapping[str, Any]


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer with the length of the Authorization header; take part in the lifespan."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    credential = dict(scope["headers"]).get(b"authorization", b"")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"%05d" % len(credential)})


@asynccontextmanager
async def listening(listen: ListenOptions) -> AsyncIterator[int]:
    """Serve the echo as the gateway is served, on a free port."""
    sock = bind(listen.host, 0, otherwise="")
    port: int = sock.getsockname()[1]
    config = ListenerConfig(listen, ServerCertificate(listen.tls).context if listen.tls else None)
    install()
    config.bind = [f"fd://{sock.detach()}"]
    opened, end = asyncio.Event(), asyncio.Event()

    async def until_end() -> None:
        opened.set()
        await end.wait()

    serving = asyncio.create_task(serve(echo, config, shutdown_trigger=until_end))  # type: ignore[arg-type]
    await opened.wait()
    try:
        yield port
    finally:
        end.set()
        await serving


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, credential: str) -> tuple[str, str]:
    """Send a request on an open HTTP/1.1 connection, and return the answer's head and body."""
    writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    return head, (await reader.readexactly(5)).decode() if "content-length: 5" in head else ""


async def test_a_long_token_reaches_the_gateway() -> None:
    """A header of more than 16 KiB is the gateway's to refuse, with its own words, not hypercorn's."""
    async with listening(ListenOptions()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, body = await exchange(reader, writer, "Bearer " + "t" * 20_000)
        writer.close()
        await writer.wait_closed()
    assert head.startswith("http/1.1 200")
    assert body == "20007"
    assert "\r\nserver:" not in head
    # A network may deliver it in pieces, and then hypercorn's own limit counts.
    assert ListenerConfig(ListenOptions()).h11_max_incomplete_size >= 64 * 1024


async def test_headers_without_end_are_refused() -> None:
    """What is far larger than any token is refused before it is all in memory."""
    async with listening(ListenOptions()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"t" * 200_000)
        assert (await reader.read(16)).startswith(b"HTTP/1.1 4")
        writer.transport.abort()


async def test_a_connection_is_kept() -> None:
    """A thousand calls and more go over one connection, and it stays while an agent thinks."""
    async with listening(ListenOptions()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(1_100):
            head, _body = await exchange(reader, writer, "Bearer t")
            assert head.startswith("http/1.1 200")
            assert "connection: close" not in head
        writer.close()
        await writer.wait_closed()
    assert ListenerConfig(ListenOptions()).keep_alive_timeout == 75


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_tls_with_either_http(tmp_path: Path, protocol: str) -> None:
    """With a certificate the endpoint speaks TLS, and HTTP/2 or HTTP/1.1 as the client prefers."""
    authority = new_authority("test")
    pair = authority.serving("gateway", ["127.0.0.1"])
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    tls = TlsOptions(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols([protocol])
    async with listening(ListenOptions(tls=tls)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
        if protocol == "http/1.1":
            head, _ = await exchange(reader, writer, "Bearer t")
            assert head.startswith("http/1.1 200")
        writer.transport.abort()


@pytest.mark.parametrize(
    ("host", "bound"), [("127.0.0.1", "127.0.0.1:8080"), ("::1", "[::1]:8080"), ("localhost", "localhost:8080")]
)
def test_configuration_stands_alone(host: str, bound: str) -> None:
    """The configuration also names address, port and limits for a server that opens the port itself."""
    config = ListenerConfig(ListenOptions(host=host, drain_seconds=12))
    assert config.bind == [bound]
    assert config.graceful_timeout == 12
    assert config.backlog == 1024
    assert config.accesslog is None
    assert config.errorlog is logging.getLogger("hypercorn.error")
    assert not config.ssl_enabled
