"""The floor: hypercorn, the MCP SDK and one aiohttp GET, with no check of anything. What the gateway is measured by.

`python -m tests.bench.floor PORT API_SERVER CA_FILE PATH` serves until it is ended; the token comes in FLOOR_TOKEN.
"""

import asyncio
import os
import ssl
import sys
from typing import Any

import aiohttp
import mcp_types as types
from hypercorn.asyncio import serve
from hypercorn.config import Config
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from quart import Quart


def create_floor(api_server: str, ca_file: str, path: str, token: str) -> Quart:
    """Build an app whose one tool GETs `path` and returns it as text."""
    app = Quart("floor")
    held: dict[str, aiohttp.ClientSession] = {}
    schema = {"type": "object", "properties": {"resource": {"type": "string"}, "name": {"type": "string"}}}

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="resource_get", input_schema=schema)])

    async def call_tool(_context: Any, _params: types.CallToolRequestParams) -> types.CallToolResult:
        async with held["session"].get(api_server + path, headers={"Authorization": f"Bearer {token}"}) as response:
            text = (await response.read()).decode()
        return types.CallToolResult(content=[types.TextContent(text=text)])

    server: Server[Any] = Server(
        "floor", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _name: schema
    )
    server.middleware.clear()
    manager = StreamableHTTPSessionManager(server, json_response=True)
    inner = app.asgi_app

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await manager.handle_request(scope, receive, send)
        else:
            await inner(scope, receive, send)

    app.asgi_app = asgi  # type: ignore[method-assign]

    @app.while_serving
    async def serving() -> Any:
        tls = ssl.create_default_context(cafile=ca_file)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), trust_env=False) as session,
            manager.run(),
        ):
            held["session"] = session
            yield

    return app


async def _serve(port: str, api_server: str, ca_file: str, path: str) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_max_requests = 10**9
    config.errorlog = None
    await serve(create_floor(api_server, ca_file, path, os.environ["FLOOR_TOKEN"]), config)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(*sys.argv[1:]))
    else:
        uvloop.run(_serve(*sys.argv[1:]))
