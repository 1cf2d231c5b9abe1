"""Each byte from outside has a limit: what is not held beside the code that has it is held here, at the edge."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from tests.attacks.limits import DOCUMENT, with_table
from tests.edge.conftest import Edge, edge, make_edge  # noqa: F401  # fixtures
from tests.journeys.conftest import GatewayProcess, running_gateway

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def test_the_page_shows_the_limits_as_they_are() -> None:
    """docs/security.md is what the code does; `make docs` writes it."""
    page = DOCUMENT.read_text()
    assert with_table(page) == page


@pytest.mark.parametrize("depth", [50, 199, 300, 1100, 20_000, 200_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
@pytest.mark.parametrize("era", ["handshake", "2025-06-18", "2026-07-28"])
async def test_deep_json_is_refused_before_it_costs_anything(
    edge: Edge,  # noqa: F811  # the fixture
    depth: int,
    brackets: str,
    era: str,
) -> None:
    """However deep, as a message, as arguments of a tool or beside them: an answer in JSON-RPC, and never a failure."""
    deep = f"{brackets[:-1] * depth}1{brackets[-1] * depth}"
    more = [] if era == "handshake" else [("MCP-Protocol-Version", era), ("MCP-Method", "tools/call")]
    shapes = [deep, f'{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{deep}}}}}']
    for tool, name in (("resource_list", "labelSelector"), ("resource_get", "parameters"), ("none", "x")):
        arguments = f'{{"resource":"pods","name":"a","{name}":{deep}}}'
        meta = f',"_meta":{orjson.dumps(MODERN).decode()}' if era == "2026-07-28" else ""
        params = f'{{"name":"{tool}","arguments":{arguments}{meta}}}'
        shapes.append(f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}')
    for shape in shapes:
        named = [*more, ("MCP-Name", "resource_get")] if era == "2026-07-28" else more
        response = await edge.send(headers=edge.headers(*named), body=shape.encode())
        assert response.status in {200, 400}
        assert response.status == 400 or depth <= 1024
        message = response.json()
        assert "error" in message or message["result"].get("isError") or "tools" in message["result"]
        assert "request id" not in response.body.decode()
        assert len(response.body) < 50_000


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Give a gateway whose only cluster is nowhere."""
    nowhere = {"name": "nowhere", "server": "https://127.0.0.1:1", "insecure": True}
    folder: Path = tmp_path_factory.mktemp("alone")
    with running_gateway(folder, [nowhere]) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"X-Large: " + b"a" * 60_000 + b"\r\n", b"401"),
        (b"X-Large: " + b"a" * 70_000 + b"\r\n", b"4"),
        (b"X-Many: a\r\n" * 5_000, b"401"),
        (b"X-Many: a\r\n" * 50_000, b"4"),
        (b"X-Endless: " + b"a" * 1_000_000, b"4"),
        (b"X-Folded: a\r\n b\r\n", b"4"),
        (b"X-Null: a\0b\r\n", b"4"),
        (b"X Space: a\r\n", b"4"),
        (b"Content-Length: -1\r\n", b"4"),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", b"4"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"4"),
        (b"Transfer-Encoding: gzip\r\n", b"501"),
        (b"Host: again.example\r\n", b"4"),
    ],
)
def test_headers_are_bounded_and_read_one_way_only(alone: GatewayProcess, headers: bytes, status: bytes) -> None:
    """Too large, too many, doubled lengths or folded lines: refused or cut off, and the next client is served."""
    url = urlsplit(alone.url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as client:
        try:
            client.sendall(f"POST /mcp HTTP/1.1\r\nHost: {url.netloc}\r\n".encode() + headers + b"\r\n")
            answer = client.recv(65536)
        except ConnectionError:
            answer = b""
    assert not answer or answer.split(b" ")[1].startswith(status), answer
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert not [line for line in alone.lines if "Traceback" in line or '"level":"error"' in line]
