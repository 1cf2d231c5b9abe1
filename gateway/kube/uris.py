"""Boundary between `k8s://` URIs, in which MCP names objects, and their parts (RFC 3986, section 3.3)."""

from typing import Final
from urllib.parse import quote, unquote

NAMESPACED: Final = "k8s://namespaced/{namespace}/{group}/{version}/{resource}/{name}"
CLUSTERED: Final = "k8s://clustered/{group}/{version}/{resource}/{name}"
"""Templates (RFC 6570); the core group is `core` there."""

MAX_URI: Final = 2048
"""Characters of the longest URI that is looked at."""
_SCHEME: Final = "k8s://"


def joined(scope: str, *parts: str) -> str:
    """Spell a URI; each part is escaped."""
    return _SCHEME + "/".join((scope, *(quote(part, safe="") for part in parts)))


def split(uri: str) -> tuple[str, ...]:
    """Return scope and parts, unescaped; nothing where it is no such URI, or too long."""
    if not uri.startswith(_SCHEME) or len(uri) > MAX_URI:
        return ()
    return tuple(unquote(part) for part in uri.removeprefix(_SCHEME).split("/"))
