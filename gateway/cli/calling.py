"""Boundary between a command and one call through a gateway, made with the official MCP client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from gateway.errors import GatewayError


@asynccontextmanager
async def connected(url: str, token: str) -> AsyncIterator[Client]:
    """Connect with a Bearer token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def called(url: str, token: str, tool: str, arguments: Mapping[str, Any]) -> str:
    """Call a tool once and return its text.

    Raises:
        GatewayError: The tool, or the gateway, refused it, in its words.
    """
    try:
        async with connected(url, token) as client:
            try:
                answer = await client.call_tool(tool, dict(arguments))
                text, failed = text_of(answer), answer.is_error
            except MCPError as error:
                # Raised inside, it would come out in the groups of the client's tasks.
                text, failed = error.message, True
    except ExceptionGroup as group:
        first: Exception = group
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise GatewayError(str(first) or type(first).__name__) from group
    except (MCPError, httpx2.HTTPError) as error:
        raise GatewayError(str(error) or type(error).__name__) from error
    if failed:
        raise GatewayError(text)
    return text


def text_of(answer: Any) -> str:
    """Return the text of a tool's answer."""
    return "\n".join(part.text for part in answer.content if part.type == "text")
