"""Boundary between API-server URLs as people and tokens spell them and the one spelling they are compared by."""

import re
from typing import Final
from urllib.parse import urlsplit

MAX_URL: Final = 2048
"""Characters in the longest URL that is looked at."""

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?").fullmatch
_IPV6: Final = re.compile(r"[0-9a-f:.]+").fullmatch
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*").fullmatch


def canonical_url(url: str) -> str:
    """Return the canonical spelling of an API server's https URL (RFC 3986, section 6.2).

    Scheme and host in small letters, `:443` left out, a path kept without its trailing slash.

    Raises:
        ValueError: It is not a plain https URL: other scheme, userinfo, query, fragment, odd characters, too long.
    """
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
        message = "not an https URL"
        raise ValueError(message)
    parts = urlsplit(url)
    if parts.scheme.lower() != "https":
        message = "the scheme must be https"
        raise ValueError(message)
    if "@" in parts.netloc or "?" in url or "#" in url:
        message = "userinfo, query and fragment are not allowed"
        raise ValueError(message)
    host = (parts.hostname or "").lower()
    port = parts.port  # raises ValueError itself for what is not a port
    if "[" in parts.netloc:
        host, valid = f"[{host}]", bool(_IPV6(host))
    else:
        valid = bool(_HOST(host))
    if not valid or port == 0 or parts.netloc.endswith(":"):
        message = "no valid host and port"
        raise ValueError(message)
    path = parts.path.rstrip("/")
    if not _PATH(path) or "/." in path:
        message = "the path may hold only plain segments"
        raise ValueError(message)
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{path}"
