"""Boundary to where a request comes from: its connection's other end, or whom a trusted proxy says it forwards for.

Headers are believed only as far as they were written by trusted proxies: read from the right, the first address that
is none of theirs is the source, and whatever stands left of it is the client's own claim.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Final

import structlog

from gateway.edge.options import Network
from gateway.edge.responses import Scope

_MOST_HOPS: Final = 16
_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that name a network: who has one, has all of its addresses (RFC 4291, section 2.5.4)."""

_FOR: Final = re.compile(r"(?:^|;)\s*for\s*=\s*\"?([^\";]*)\"?", re.IGNORECASE)
_PORT: Final = re.compile(r"(?P<v4>[0-9.]+):[0-9]+|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]+)?").fullmatch

_log = structlog.get_logger(__name__)

Address = IPv4Address | IPv6Address


class Sources:
    """Tells where requests come from; `trusted` are the networks of proxies whose headers are believed."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        """Believe these."""
        self._trusted = tuple(trusted)
        self._warned = False

    def of(self, scope: Scope) -> str:
        """Return the source of a request: an IPv4 address, the /64 of an IPv6 one, or "" where there is neither."""
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None:
            return ""
        headers = scope["headers"]
        chains = [_plain(value) for value in _joined(headers, b"x-forwarded-for")]
        chains += [_rfc7239(value) for value in _joined(headers, b"forwarded")]
        if not self._trusts(peer):
            if chains and not self._warned:
                self._warned = True
                _log.warning("unlisted_proxy", address=str(peer), advice="see listen.trustedProxies")
            return _grouped(peer)
        found = {self._first_untrusted(peer, chain) for chain in chains}
        # Where two headers disagree, one of them may be the client's own.
        return _grouped(found.pop() if len(found) == 1 else peer)

    def _first_untrusted(self, peer: Address, chain: Iterable[str]) -> Address:
        last = peer
        for hop in islice(chain, _MOST_HOPS):
            address = _address(hop)
            if address is None:
                break
            last = address
            if not self._trusts(address):
                break
        return last

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the header's one value, of however many lines (RFC 9110, section 5.3); nothing where it is absent."""
    value = b",".join(value for header, value in headers if header == name)
    return [value.decode("latin-1")] if value else []


def _plain(header: str) -> Iterator[str]:
    """Go through X-Forwarded-For from the right."""
    return reversed(header.rsplit(",", _MOST_HOPS))


def _rfc7239(header: str) -> Iterator[str]:
    """Go through the `for` of each element of Forwarded (RFC 7239, section 4) from the right."""
    for element in reversed(header.rsplit(",", _MOST_HOPS)):
        found = _FOR.search(element)
        yield found[1] if found else ""


def _address(text: str) -> Address | None:
    text = text.strip()
    if with_port := _PORT(text):
        text = with_port["v4"] or with_port["v6"]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _grouped(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    host_bits = 128 - _IPV6_PREFIX
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{_IPV6_PREFIX}"
