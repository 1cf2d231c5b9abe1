"""Boundary between API-server URLs as people and tokens spell them and the one spelling they are compared by."""

import re
from ipaddress import IPv6Address
from typing import Final

MAX_URL: Final = 2048
"""Characters in the longest URL that is looked at."""

_PARTS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\\]*)(?P<path>[^?#\\]*)(?P<rest>.*)",
    re.ASCII | re.DOTALL,
).fullmatch
_AUTHORITY: Final = re.compile(
    r"(?P<host>[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*|\[(?P<ipv6>[0-9a-f:.]+)\])"
    r"(:(?P<port>[1-9][0-9]{0,4}))?"
).fullmatch
_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*").fullmatch
_LAST_PORT: Final = 65535


def canonical_url(url: str) -> str:
    """Return the canonical spelling of an API server's https URL (RFC 3986, section 6.2; RFC 5952 for IPv6).

    Scheme and host in small letters, `:443` left out, a path kept without its trailing slash. Read by one strict
    grammar instead of a lenient parser, so that no two readers of a URL can disagree about its host.

    Raises:
        ValueError: It is not a plain https URL: other scheme, userinfo, query, fragment, odd characters, too long.
    """
    parts = _PARTS(url) if len(url) <= MAX_URL else None
    if parts is None:
        message = "not an https URL"
        raise ValueError(message)
    if parts["scheme"].lower() != "https":
        message = "the scheme must be https"
        raise ValueError(message)
    if "@" in parts["authority"] or parts["rest"]:
        message = "userinfo, query, fragment and backslashes are not allowed"
        raise ValueError(message)
    authority = _AUTHORITY(parts["authority"].lower()) if parts["authority"].isascii() else None
    if authority is None or int(authority["port"] or 0) > _LAST_PORT:
        message = "no valid host and port"
        raise ValueError(message)
    path = parts["path"].removesuffix("/")
    if not _PATH(path):
        message = "the path may hold only plain segments"
        raise ValueError(message)
    host = f"[{_ipv6(authority['ipv6'])}]" if authority["ipv6"] else authority["host"]
    port = authority["port"] or "443"
    return f"https://{host}{'' if port == '443' else f':{port}'}{path}"


def _ipv6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError as error:
        message = "no valid host and port"
        raise ValueError(message) from error
