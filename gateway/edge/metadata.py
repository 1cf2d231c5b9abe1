"""Boundary to OAuth 2.0 Protected Resource Metadata (RFC 9728): who issues the tokens that are taken here.

Served only where an authorization server is configured. Without one there is no such document and no word of one in a
challenge, because clients would start a registration that leads nowhere.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson
from quart import Quart, Response

from gateway.edge.options import ProtectedResourceOptions

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_RESOURCE: Final = re.compile(r"(?:/mcp(?:/[a-z0-9-]{1,63})?)?/?")
"""What is behind the public URL: all of it, the endpoint, or one cluster's entry, listed or not: it must not tell."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The endpoint as it is known from outside: `url` without its path's last slash, and its authorization servers."""

    url: str
    authorization_servers: tuple[str, ...]

    def metadata_url(self, path: str) -> str:
        """Return where the metadata of what is served at this path is (section 3.1)."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}{path.rstrip('/')}"

    def document(self, inserted: str) -> bytes | None:
        """Return the metadata of what stands after the well-known path, None where nothing does (section 3.2)."""
        prefix = urlsplit(self.url).path
        path = inserted.removeprefix(prefix)
        if not inserted.startswith(prefix) or not _RESOURCE.fullmatch(path):
            return None
        return orjson.dumps(
            {
                "resource": self.url + path.rstrip("/"),
                "authorization_servers": self.authorization_servers,
                "bearer_methods_supported": ["header"],
                "resource_name": "kube-mcp-gateway",
            }
        )


def serve_metadata(app: Quart, options: ProtectedResourceOptions | None) -> ProtectedResource | None:
    """Serve the metadata at its well-known paths, where it is configured; to web pages too, as it is no secret."""
    if options is None:
        return None
    resource = ProtectedResource(options.url.rstrip("/"), options.authorization_servers)

    @app.get(WELL_KNOWN, defaults={"inserted": ""})
    @app.get(f"{WELL_KNOWN}/<path:inserted>")
    async def metadata(inserted: str) -> Response:
        document = resource.document(f"/{inserted}" if inserted else "")
        if document is None:
            return Response("404 Not Found\n", 404, content_type="text/plain")
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=3600"}
        return Response(document, 200, headers, content_type="application/json")

    return resource
