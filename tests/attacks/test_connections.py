import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.journeys.conftest import GatewayProcess, running_gateway


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Give a gateway whose only cluster is nowhere."""
    nowhere = {"name": "nowhere", "server": "https://127.0.0.1:1", "insecure": True}
    folder: Path = tmp_path_factory.mktemp("alone")
    with running_gateway(folder, [nowhere]) as running:
        yield running


@pytest.mark.parametrize("path", ["/health", "/mcp"])
@pytest.mark.parametrize("asks", [True, False], ids=["asks first", "says nothing"])
def test_a_client_that_has_gone_holds_no_connection(alone: GatewayProcess, path: str, *, asks: bool) -> None:
    """A connection is closed when its client leaves, and not when its idle time is over a minute later."""
    url = urlsplit(alone.url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as client:
        if asks:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 ")
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
