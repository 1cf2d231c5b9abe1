"""Boundary to the gateway's HTTP: a valid token on each request, and each failure as the JSON-RPC error it means.

The SDK's transport ends when a request raises, and reads a JSON-RPC error from an answer of any status; so what goes
wrong below MCP is put into words here and handed up as such an answer.
"""

import json
import ssl
from typing import Any, Final

import httpx2
from mcp_types import INTERNAL_ERROR

from gateway.bridge.tokens import Tokens
from gateway.errors import GatewayError

_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0, read=300.0)
"""Seconds; an open stream is silent for a quarter of a minute at most."""
BROKEN: Final = (
    "The connection to the gateway broke. Whether the call was carried out is not known: if it writes, look before you "
    "repeat it."
)
NO_TOKEN: Final = "no_token"  # noqa: S105  # a word, and no token
"""The data of an error that was none of the gateway's: there was no token to ask it with."""
_REFUSED: Final = frozenset({401, 403})


class GatewayClient(httpx2.AsyncClient):
    """An HTTP client for one cluster: its token goes with each request, and to this gateway alone."""

    def __init__(self, cluster: str, url: str, tokens: Tokens, tls: ssl.SSLContext) -> None:
        """Speak for this cluster's tokens; `tls` says whom to believe that it is the gateway."""
        super().__init__(verify=tls, timeout=_TIMEOUT)
        self._cluster = cluster
        self._origin = httpx2.URL(url)
        self._tokens = tokens

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send with a token; where that is refused, once more with another: the gateway has not looked at the rest."""
        try:
            token = await self._tokens.valid()
            response = await self._sent(request, token, options)
            if response.status_code == httpx2.codes.UNAUTHORIZED:
                another = await self._tokens.instead_of(token)
                if another is not None:
                    await response.aclose()
                    response = await self._sent(request, another, options)
            if response.headers.get("content-type", "").startswith("application/json") or response.is_error:
                await response.aread()
        except GatewayError as error:
            return _failure(request, error.message, NO_TOKEN)
        except httpx2.TransportError as error:
            return _failure(request, self._unreachable(error))
        if response.is_error and not _is_json_rpc(response):
            return _failure(request, self._refusal(response))
        return response

    async def _sent(self, request: httpx2.Request, token: str, options: dict[str, Any]) -> httpx2.Response:
        request.headers["Authorization"] = f"Bearer {token}"
        return await super().send(request, **options)

    def _unreachable(self, error: httpx2.TransportError) -> str:
        at = f"{self._origin.scheme}://{self._origin.netloc.decode()}"
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            why = f" ({error})" if str(error) else ""
            return f"The gateway at {at} can't be reached{why}. Nothing was sent; try again in a minute."
        return BROKEN

    def _refusal(self, response: httpx2.Response) -> str:
        said = _description(response)
        if response.status_code in _REFUSED:
            return f"The gateway refuses the token for cluster {self._cluster} (HTTP {response.status_code}). {said}"
        if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE and said:
            return said
        if response.status_code in (httpx2.codes.NOT_FOUND, httpx2.codes.METHOD_NOT_ALLOWED):
            return f"There is no MCP at {self._origin} (HTTP {response.status_code}): its path is commonly /mcp."
        return f"The gateway answered HTTP {response.status_code}. {said}".strip()


def _description(response: httpx2.Response) -> str:
    """Return what the gateway says about it (RFC 6750, section 3), if it does."""
    try:
        body = response.json()
    except ValueError:
        return ""
    said = body.get("error_description") if isinstance(body, dict) else None
    return said if isinstance(said, str) else ""


def _is_json_rpc(response: httpx2.Response) -> bool:
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "jsonrpc" in body


def _failure(request: httpx2.Request, message: str, data: str | None = None) -> httpx2.Response:
    error = {"code": INTERNAL_ERROR, "message": message} | ({"data": data} if data else {})
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    headers = {"content-type": "application/json"}
    return httpx2.Response(502, headers=headers, content=json.dumps(body).encode(), request=request)
