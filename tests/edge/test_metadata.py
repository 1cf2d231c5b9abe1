from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    handle_protected_resource_response,
)
from mcp.shared.auth_utils import check_resource_allowed

from gateway.app import create_app
from gateway.clusters.options import ClusterOptions
from gateway.edge.options import ListenOptions, ProtectedResourceOptions
from gateway.settings import Settings

ISSUER = "https://login.example/realms/agents"


@asynccontextmanager
async def asking(url: str | None) -> AsyncIterator[httpx2.AsyncClient]:
    """Ask the gateway's app as clients from outside do; without a URL no authorization server is configured."""
    resource = ProtectedResourceOptions(url=url, authorization_servers=(ISSUER,)) if url else None
    listen = ListenOptions(protected_resource=resource, allowed_hosts=("gateway.example",))
    cluster = ClusterOptions(name="east", server="https://east.example:6443")
    app = create_app(Settings(listen=listen, clusters=(cluster,)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:  # type: ignore[arg-type]  # Quart types its own messages
        yield client


@pytest.mark.parametrize("public", ["https://gateway.example", "https://gateway.example/tools/k8s/"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/east", "/mcp/unlisted"])
async def test_the_official_client_finds_the_authorization_server(public: str, path: str) -> None:
    """From a challenge the client comes to the metadata, which is of the URL it called, listed cluster or not."""
    called = public.rstrip("/") + path
    async with asking(public) as client:
        challenged = await client.post(f"https://gateway.example{path}")
        assert challenged.status_code == 401
        url = extract_resource_metadata_from_www_auth(challenged)
        metadata = await handle_protected_resource_response(await client.get(url or ""))
    assert metadata
    assert str(metadata.resource) == called
    assert [str(server) for server in metadata.authorization_servers] == [ISSUER]
    assert url == build_protected_resource_metadata_discovery_urls(None, called)[0]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/east"])
async def test_a_client_without_a_challenge_finds_it_too(path: str) -> None:
    """Every place that the client tries by itself has a document that it may use for what it called."""
    called = f"https://gateway.example{path}"
    async with asking("https://gateway.example") as client:
        for url in build_protected_resource_metadata_discovery_urls(None, called):
            metadata = await handle_protected_resource_response(await client.get(url))
            assert metadata
            assert check_resource_allowed(called, str(metadata.resource))


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eA=="}])
async def test_every_challenge_names_it(header: dict[str, str]) -> None:
    """Whether a token is missing, unreadable or wrong, the client learns where to get one."""
    async with asking("https://gateway.example") as client:
        challenged = await client.post("https://gateway.example/mcp", headers=header)
    assert 'resource_metadata="https://gateway.example/.well-known/' in challenged.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/other", "/mcp/a/b", "/mcp/<script>", "/mcpx", "/mcp/" + "a" * 64])
async def test_nothing_else_has_metadata(path: str) -> None:
    """What is not served has none, and nothing that was asked comes back in the answer."""
    async with asking("https://gateway.example") as client:
        answer = await client.get(f"https://gateway.example/.well-known/oauth-protected-resource{path}")
    assert answer.status_code == 404
    assert path not in answer.text


async def test_without_an_authorization_server_nothing_is_said() -> None:
    """Plain 404s, and challenges without a word of metadata: clients would start a registration that leads nowhere."""
    async with asking(None) as client:
        for suffix in ("", "/mcp", "/mcp/east"):
            url = f"https://gateway.example/.well-known/oauth-protected-resource{suffix}"
            assert (await client.get(url)).status_code == 404
        challenged = await client.post("https://gateway.example/mcp")
    assert extract_resource_metadata_from_www_auth(challenged) is None
    assert "resource_metadata" not in challenged.headers["www-authenticate"]


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example",
        "https://",
        "gateway.example",
        "https://a b",
        'https://a"',
        "https://u@a",
        "https://a?b",
    ],
)
def test_urls_that_mislead_are_refused(url: str) -> None:
    """An address that goes into headers and documents is https, and holds nothing that could mean something else."""
    with pytest.raises(ValueError, match="url"):
        ProtectedResourceOptions(url=url, authorization_servers=(ISSUER,))
