"""Boundary against other people's web pages: which Host and Origin a request may have (DNS rebinding, CORS)."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Origins:
    """What is allowed. No hosts: any Host; a name without a port allows every port."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def host_is_allowed(self, host: str) -> bool:
        """Whether a Host header's value is."""
        if not self.hosts:
            return True
        host = host.lower()
        return host in self.hosts or host.rsplit(":", 1)[0] in self.hosts

    def origin_is_allowed(self, origin: str) -> bool:
        """Whether an Origin header's value is; a request without one does not come from a web page."""
        return not origin or origin.lower() in self.origins


def is_loopback(host: str) -> bool:
    """Whether an address that is listened on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def origins_for(listen_host: str, hosts: Iterable[str], origins: Iterable[str]) -> Origins:
    """Return what is configured; a gateway on loopback that has nothing configured takes only loopback's names."""
    named = frozenset(host.lower() for host in hosts)
    if not named and is_loopback(listen_host):
        named = frozenset(_LOOPBACK)
    return Origins(named, frozenset(origin.lower().rstrip("/") for origin in origins))
