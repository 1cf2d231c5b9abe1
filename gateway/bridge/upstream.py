"""Boundary to one cluster behind the gateway: MCP of the stateless generation, in which no session can be lost."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import CallOptions, Dispatcher, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.version import LATEST_MODERN_VERSION

from gateway import __version__
from gateway.bridge.http import BROKEN, GatewayClient
from gateway.bridge.tokens import Tokens

NAME: Final = "kube-mcp-gateway"
VERSION: Final = LATEST_MODERN_VERSION
OWN_META: Final[Mapping[str, Any]] = {
    types.PROTOCOL_VERSION_META_KEY: VERSION,
    types.CLIENT_INFO_META_KEY: {"name": f"{NAME}-connect", "version": __version__},
    types.CLIENT_CAPABILITIES_META_KEY: {},
}
"""What stands in `_meta` of the requests that are the bridge's own."""


_BROKEN: Final = frozenset({types.CONNECTION_CLOSED, types.PARSE_ERROR})
"""What the SDK says of an answer of which only a part came."""


class Upstream:
    """One cluster, as its token shows it."""

    def __init__(self, cluster: str, dispatcher: Dispatcher[Any], session: ClientSession) -> None:
        """Send through this dispatcher; the session is for streams of changes."""
        self.cluster = cluster
        self.session = session
        self._dispatcher = dispatcher

    async def request(
        self, method: str, params: Mapping[str, Any], on_progress: ProgressFnT | None = None
    ) -> dict[str, Any]:
        """Return the result as it came. Whoever cancels this cancels it in the gateway too.

        Raises:
            MCPError: The gateway refused or failed, or could not be reached; the message is for the agent.
        """
        headers = {MCP_PROTOCOL_VERSION_HEADER: VERSION, MCP_METHOD_HEADER: method}
        name = params.get(NAME_BEARING_METHODS.get(method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        options: CallOptions = {"headers": headers}
        if on_progress is not None:
            options["on_progress"] = on_progress
        try:
            return await self._dispatcher.send_raw_request(method, {"_meta": OWN_META, **params}, options)
        except MCPError as error:
            if error.code in _BROKEN:
                raise MCPError(code=types.INTERNAL_ERROR, message=BROKEN) from error
            raise


@asynccontextmanager
async def open_upstream(cluster: str, url: str, tokens: Tokens, tls: ssl.SSLContext) -> AsyncIterator[Upstream]:
    """Be ready to send. Nothing is sent before the first request."""
    async with (
        GatewayClient(cluster, url, tokens, tls) as http,
        # How large an answer may be is the gateway's to say.
        streamable_http_client(url, http_client=http, max_sse_event_size=None) as (reading, writing),
    ):
        dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(reading, writing)
        info = types.Implementation.model_validate(OWN_META[types.CLIENT_INFO_META_KEY])
        async with ClientSession(dispatcher=dispatcher, client_info=info) as session:
            session.adopt(types.DiscoverResult(supported_versions=[VERSION], capabilities=types.ServerCapabilities()))
            try:
                yield Upstream(cluster, dispatcher, session)
            finally:
                await tokens.close()
