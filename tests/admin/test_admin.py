import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from quart import Quart

from gateway.admin import AdminOptions, Readiness, admin_listener, bind, create_admin_app, url_of
from gateway.errors import GatewayError

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def app(readiness: Readiness | None = None, registry: CollectorRegistry | None = None) -> Quart:
    """Make the app, with nothing to show unless given."""
    return create_admin_app(readiness or Readiness(), registry or CollectorRegistry())


async def test_alive_as_long_as_it_answers() -> None:
    """`/healthz` says that the process answers, whatever else is going on."""
    answer = await app(Readiness(draining=True)).test_client().get("/healthz")
    assert (answer.status_code, await answer.get_data()) == (200, b"ok\n")


@pytest.mark.parametrize(
    ("readiness", "status", "word"),
    [
        (Readiness(), 503, b"starting\n"),
        (Readiness(ready=True), 200, b"ready\n"),
        (Readiness(ready=True, draining=True), 503, b"draining\n"),
        (Readiness(draining=True), 503, b"draining\n"),
    ],
)
async def test_ready_says_why_not(readiness: Readiness, status: int, word: bytes) -> None:
    """`/readyz` is 200 only while calls should be sent here, and else says in a word why not."""
    answer = await app(readiness).test_client().get("/readyz")
    assert (answer.status_code, await answer.get_data()) == (status, word)


async def test_readiness_is_read_when_it_is_asked_for() -> None:
    """A change shows at once."""
    readiness = Readiness()
    client = app(readiness).test_client()
    assert (await client.get("/readyz")).status_code == 503
    readiness.ready = True
    assert (await client.get("/readyz")).status_code == 200


async def test_metrics_in_both_formats() -> None:
    """`/metrics` is Prometheus' text, or OpenMetrics where that is asked for, of just the registry given."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc()
    client = app(registry=registry).test_client()
    text = await client.get("/metrics")
    assert text.headers["Content-Type"].startswith("text/plain; version=")
    assert b"\ncalls_total 1.0\n" in await text.get_data()
    assert b"python_info" not in await text.get_data()
    openmetrics = await client.get("/metrics", headers={"Accept": f"{OPENMETRICS},text/plain;q=0.5"})
    assert openmetrics.headers["Content-Type"].startswith(OPENMETRICS)
    assert (await openmetrics.get_data(as_text=True)).endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/mcp", "/health", "/metrics/", "/static/x", "/../etc/passwd"])
async def test_nothing_else_is_there(path: str) -> None:
    """Any other path is a plain 404."""
    answer = await app().test_client().get(path)
    assert (answer.status_code, await answer.get_data()) == (404, b"404 Not Found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_nothing_can_be_written() -> None:
    """Another method is refused in plain words too."""
    answer = await app().test_client().post("/metrics")
    assert (answer.status_code, await answer.get_data()) == (405, b"405 Method Not Allowed\n")
    assert "GET" in answer.headers["Allow"]


async def test_listener_serves_as_long_as_its_context() -> None:
    """The listener answers at the URL it gives, on a free port where that is asked for, and is gone afterwards."""
    async with (
        admin_listener(app(Readiness(ready=True)), AdminOptions(port=0)) as url,
        aiohttp.ClientSession() as client,
        client.get(f"{url}/readyz") as answer,
    ):
        assert answer.status == 200
        assert "Server" not in answer.headers
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"{url}/readyz")


async def test_listener_ends_with_what_failed_inside() -> None:
    """An error inside the context ends the listener and goes on."""
    with pytest.raises(ValueError, match="inside"):
        async with admin_listener(app(), AdminOptions(port=0)) as url:
            raise ValueError("inside")
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"{url}/readyz")


async def test_a_port_in_use_is_told() -> None:
    """A port that something else has is told in one line, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GatewayError) as raised:
            async with admin_listener(app(), AdminOptions(port=port)):
                pass
    assert raised.value.message == (
        f"port {port} on 127.0.0.1 is in use; end what listens there, or choose another with admin.port"
        " (KUBE_MCP_GATEWAY_ADMIN__PORT)"
    )


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("192.0.2.1", "can't listen on 192.0.2.1: this machine has no such address"),
        ("no-such-host.invalid", "can't listen on no-such-host.invalid: this machine knows no such name"),
    ],
)
def test_an_address_of_another_machine_is_told(host: str, says: str) -> None:
    """An address that is not this machine's is told."""
    with pytest.raises(GatewayError) as raised:
        bind(host, 0, otherwise="choose another")
    assert raised.value.message == says


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_unspecified_ipv6_address_takes_both() -> None:
    """`::` listens for IPv4 as well, as people who write it expect."""
    with bind("::", 0, otherwise="") as listening:
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()
