from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.edge.sources import Sources

TRUSTED = Sources([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def request(peer: str | None, **headers: str | list[str]) -> dict[str, Any]:
    """Return a scope of a request by this peer; a header may come in several lines."""
    lines = [
        (name.replace("_", "-").encode(), value.encode())
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return {"client": (peer, 50000) if peer is not None else None, "headers": lines}


@pytest.mark.parametrize(
    ("peer", "headers", "source"),
    [
        ("192.0.2.7", {}, "192.0.2.7"),
        ("::ffff:192.0.2.7", {}, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", {}, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", {}, "fe80::/64"),
        (None, {}, ""),
        ("/run/socket", {}, ""),
        ("192.0.2.7", {"x_forwarded_for": "198.51.100.9"}, "192.0.2.7"),
        ("10.1.1.1", {"x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        ("10.1.1.1", {"x_forwarded_for": "1.1.1.1, 198.51.100.9"}, "198.51.100.9"),
        ("10.1.1.1", {"x_forwarded_for": "1.1.1.1, 198.51.100.9, 10.2.2.2"}, "198.51.100.9"),
        ("10.1.1.1", {"x_forwarded_for": ["1.1.1.1", "198.51.100.9", "10.2.2.2"]}, "198.51.100.9"),
        ("10.1.1.1", {"x_forwarded_for": "198.51.100.9:4711"}, "198.51.100.9"),
        ("fd00::1", {"x_forwarded_for": "[2001:db8::9]:4711"}, "2001:db8::/64"),
        ("10.1.1.1", {"x_forwarded_for": "10.3.3.3, 10.2.2.2"}, "10.3.3.3"),
        ("10.1.1.1", {"x_forwarded_for": "1.1.1.1, unknown"}, "10.1.1.1"),
        ("10.1.1.1", {"x_forwarded_for": "1.1.1.1, unknown, 10.2.2.2"}, "10.2.2.2"),
        ("10.1.1.1", {"x_forwarded_for": ""}, "10.1.1.1"),
        ("10.1.1.1", {"forwarded": 'for=1.1.1.1, for="198.51.100.9:4711";proto=https'}, "198.51.100.9"),
        ("10.1.1.1", {"forwarded": 'proto=https; For="[2001:db8::9]"'}, "2001:db8::/64"),
        ("10.1.1.1", {"forwarded": "for=_hidden"}, "10.1.1.1"),
        ("10.1.1.1", {"forwarded": "by=1.1.1.1"}, "10.1.1.1"),
        ("10.1.1.1", {"forwarded": "for=198.51.100.9", "x_forwarded_for": "198.51.100.9"}, "198.51.100.9"),
        ("10.1.1.1", {"forwarded": "for=1.1.1.1", "x_forwarded_for": "198.51.100.9"}, "10.1.1.1"),
        ("10.1.1.1", {"x_forwarded_for": "1.1.1.1," + "10.0.0.1," * 5000 + "10.0.0.2"}, "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_say_who_is_behind_them(
    peer: str | None, headers: dict[str, str | list[str]], source: str
) -> None:
    """The rightmost address that no trusted proxy has is the source; what a client claims itself changes nothing."""
    assert TRUSTED.of(request(peer, **headers)) == source


def test_a_proxy_that_is_not_listed_is_told_once() -> None:
    """An operator who forgot to list the proxy, and so has one source for all its clients, finds it in the log."""
    sources = Sources([])
    with capture_logs() as logs:
        for _ in range(3):
            assert sources.of(request("192.0.2.7", forwarded="for=1.1.1.1")) == "192.0.2.7"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("unlisted_proxy", "warning")]
