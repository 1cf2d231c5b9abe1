"""Boundary between `--cluster URL` and a cluster as settings list it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

READ_WRITE = {"writes": ["apply", "post"], "subresources": ["pods/exec", "pods/eviction"]}
"""What `--read-write` allows: all but deleting."""


def listed(
    urls: Iterable[str],
    certificate_authority: Path | None,
    tls_server_name: str | None,
    *,
    insecure: bool,
    read_write: bool = False,
) -> list[dict[str, Any]]:
    """Return the clusters of these URLs in the shape of the settings, all with the same trust and policy."""
    trust = {
        "certificateAuthority": str(certificate_authority) if certificate_authority else None,
        "tlsServerName": tls_server_name,
        "insecure": insecure or None,
    }
    policy = {"policy": READ_WRITE} if read_write else {}
    return [{"name": name, "server": url, **trust, **policy} for name, url in _named(urls)]


def _named(urls: Iterable[str]) -> list[tuple[str, str]]:
    """Name each URL after its host; after its port too, then with a number, where that name is taken."""
    named: dict[str, str] = {}
    for url in urls:
        host, port = _address(url)
        name = _label(host)
        if name in named and port:
            name = _label(f"{host}-{port}")
        free, count = name, 1
        while free in named:
            count += 1
            free = _label(name, f"-{count}")
        named[free] = url
    return list(named.items())


def _address(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The settings say what is wrong with it.
        return "", None
    return parts.hostname or "", port


def _label(text: str, end: str = "") -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "cluster"
    return plain[: 63 - len(end)].strip("-") + end
