"""Boundary against other people's web pages: which Host and Origin a request may have (DNS rebinding, CORS)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.options import is_loopback

_LOOPBACK: Final = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "[::1]", "[::1]:*")


@dataclass(frozen=True, slots=True)
class Origins:
    """What is allowed, in small letters. No hosts: any Host. `name:*` stands for every port."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def host_is_allowed(self, host: str) -> bool:
        """Whether a Host header's value is."""
        if not self.hosts:
            return True
        host = host.lower()
        name, colon, _ = host.rpartition(":")
        return host in self.hosts or (bool(colon) and f"{name}:*" in self.hosts)

    def origin_is_allowed(self, origin: str) -> bool:
        """Whether an Origin header's value is; a request without one does not come from a web page."""
        return not origin or origin.lower() in self.origins


def origins_for(listen_host: str, hosts: Iterable[str], origins: Iterable[str]) -> Origins:
    """Return what is configured; a gateway on loopback that has nothing configured takes only loopback's names."""
    named = frozenset(host.lower() for host in hosts)
    if not named and is_loopback(listen_host):
        named = frozenset(_LOOPBACK)
    return Origins(named, frozenset(origin.lower().rstrip("/") for origin in origins))
