import pytest

from gateway.edge.origins import origins_for


@pytest.mark.parametrize(
    ("listen", "hosts", "host", "allowed"),
    [
        ("127.0.0.1", (), "127.0.0.1:8080", True),
        ("127.0.0.1", (), "localhost", True),
        ("127.0.0.1", (), "LOCALHOST:1234", True),
        ("::1", (), "[::1]:8080", True),
        ("localhost", (), "[::1]", True),
        ("127.0.0.1", (), "evil.example", False),
        ("127.0.0.1", (), "evil.example:8080", False),
        ("127.0.0.1", (), "127.0.0.1.evil.example", False),
        ("127.0.0.1", (), "localhost.evil.example:80", False),
        ("127.0.0.1", (), "localhost:80:80", False),
        ("127.0.0.1", (), "", False),
        ("0.0.0.0", (), "anything.example", True),
        ("0.0.0.0", ("gateway.example",), "gateway.example", True),
        ("0.0.0.0", ("gateway.example",), "gateway.example:443", False),
        ("0.0.0.0", ("gateway.example:*",), "Gateway.Example:443", True),
        ("0.0.0.0", ("gateway.example:*",), "gateway.example", False),
        ("0.0.0.0", ("gateway.example:*",), "other.example:443", False),
        ("127.0.0.1", ("gateway.example",), "127.0.0.1", False),
    ],
)
def test_a_host_is_served_if_it_is_listed(listen: str, hosts: tuple[str, ...], host: str, *, allowed: bool) -> None:
    """On loopback, where nothing is configured, only loopback's names are: others come by DNS rebinding."""
    assert origins_for(listen, hosts, ()).host_is_allowed(host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("", True),
        ("https://console.example", True),
        ("HTTPS://Console.Example", True),
        ("https://console.example:8443", False),
        ("http://console.example", False),
        ("https://console.example.evil.example", False),
        ("null", False),
        ("https://evil.example", False),
    ],
)
def test_a_web_page_may_call_if_it_is_listed(origin: str, *, allowed: bool) -> None:
    """Who sends no Origin is no web page."""
    assert origins_for("127.0.0.1", (), ("https://console.example/",)).origin_is_allowed(origin) is allowed
