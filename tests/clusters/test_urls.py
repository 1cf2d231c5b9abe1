"""The one spelling by which API servers are compared, and so the one gate to everything that may be dialled."""

import string
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clusters.urls import MAX_URL, canonical_url

LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
IPV6 = st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]")
SEGMENT = st.from_regex(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,8}", fullmatch=True)
PATH = st.lists(SEGMENT, max_size=3).map(lambda segments: "".join(f"/{segment}" for segment in segments))
PORT = st.one_of(st.none(), st.integers(1, 65535))


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("https://api.example", "https://api.example"),
        ("https://api.example/", "https://api.example"),
        ("https://api.example:443", "https://api.example"),
        ("https://api.example:443/", "https://api.example"),
        ("HTTPS://API.Example:6443", "https://api.example:6443"),
        ("https://127.0.0.1:6443", "https://127.0.0.1:6443"),
        ("https://rancher.example/k8s/clusters/c-m-abc123", "https://rancher.example/k8s/clusters/c-m-abc123"),
        ("https://rancher.example/k8s/clusters/c-m-abc123/", "https://rancher.example/k8s/clusters/c-m-abc123"),
        ("https://rancher.example/k8s/clusters/C-M", "https://rancher.example/k8s/clusters/C-M"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://kind_control_plane:6443", "https://kind_control_plane:6443"),
        ("https://[::1]:6443", "https://[::1]:6443"),
        ("https://[0:0:0:0:0:0:0:1]:443", "https://[::1]"),
        ("https://[2001:DB8::0:1]", "https://[2001:db8::1]"),
    ],
)
def test_every_spelling_of_a_plain_url_becomes_the_one(spelled: str, canonical: str) -> None:
    """Spellings that RFC 3986 calls equal compare equal."""
    assert canonical_url(spelled) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "https:///path",
        "https:api.example",
        "//api.example",
        "api.example:6443",
        "http://api.example",
        "ftp://api.example",
        "https+unix://api.example",
        "https://user@api.example",
        "https://user:secret@api.example",
        "https://api.example@evil.example",
        "https://@api.example",
        "https://api.example?x=1",
        "https://api.example/?",
        "https://api.example#f",
        "https://api.example/#",
        "https://api.example:",
        "https://api.example:/",
        "https://api.example:0",
        "https://api.example:00443",
        "https://api.example:65536",
        "https://api.example:99999999999999999999",
        "https://api.example:-1",
        "https://api.example:+443",
        "https://api.example:4 43",
        "https://api.example:443:443",
        "https://api.example:٤٤٣",
        "https://api.example.",
        "https://.example",
        "https://api..example",
        "https://-api.example",
        "https://api.example-",
        "https://bücher.example",
        "https://api。example",
        "https://\uff41pi.example",
        "https://api%2eexample",
        "https://api.example%00.evil.example",
        "https://api.example\\@evil.example",
        "https://api.example\\evil",
        "https://api.example/a\\b",
        "https:\\\\api.example",
        "https://api\t.example",
        "https://api.example\n",
        "\thttps://api.example",
        " https://api.example",
        "https://api.example ",
        "https://api.exam\x00ple",
        "https://api.example/\x7f",
        "https://[::1",
        "https://::1",
        "https://[::1]x:443",
        "https://x[::1]:443",
        "https://[::1]:",
        "https://[]",
        "https://[:]",
        "https://[1.2.3.4]",
        "https://[::1%25eth0]",
        "https://[fe80::1%eth0]",
        "https://[v1.x]",
        "https://api.example//",
        "https://api.example//x",
        "https://api.example/x//",
        "https://api.example/.",
        "https://api.example/..",
        "https://api.example/a/../b",
        "https://api.example/a/./b",
        "https://api.example/.hidden",
        "https://api.example/%2e%2e/x",
        "https://api.example/a%2fb",
        "https://api.example/a;b",
        "https://api.example/ü",
        "https://api.example/" + "a" * MAX_URL,
        "https://" + "a" * MAX_URL,
    ],
)
def test_anything_but_a_plain_https_url_is_refused(url: str) -> None:
    """What another reader could take for another host, or what no API server's URL needs, has no canonical spelling."""
    with pytest.raises(ValueError, match=r"https|not allowed|host and port|plain segments"):
        canonical_url(url)


@given(host=st.one_of(HOST, IPV6), port=PORT, path=PATH, slash=st.sampled_from(["", "/"]), capitals=st.booleans())
def test_a_url_made_of_good_parts_keeps_them(
    host: str, port: int | None, path: str, slash: str, *, capitals: bool
) -> None:
    """Nothing but the spelling changes: the host, the port and the path that are dialled are those that were named."""
    shown = f"https://{host}{'' if port is None else f':{port}'}"
    canonical = canonical_url((shown.upper() if capitals else shown) + path + slash)
    parts = urlsplit(canonical)
    if host.startswith("["):
        assert IPv6Address(parts.hostname or "") == IPv6Address(host[1:-1])
    else:
        assert parts.hostname == host.lower()
    assert (parts.port or 443) == (port or 443)
    assert parts.path == path
    assert canonical_url(canonical) == canonical


@given(
    url=st.one_of(
        st.text(max_size=60),
        st.text(alphabet=string.printable + "\u017f\u212a\u3002\uff0f\uff20", max_size=60).map("https://".__add__),
        st.text(alphabet="aA1.:/[]@%?#\\\t -_~", max_size=30).map("https://".__add__),
    )
)
@example("https://a\u212a")
def test_whatever_comes_gets_one_fixed_spelling_or_is_refused(url: str) -> None:
    """For any text: either ValueError, or a spelling that is its own, is ASCII, and names no one but a host."""
    try:
        canonical = canonical_url(url)
    except ValueError:
        return
    assert canonical_url(canonical) == canonical
    assert canonical.isascii()
    parts = urlsplit(canonical)
    assert parts.scheme == "https"
    assert parts.hostname
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert not canonical.endswith("/")
    assert canonical.lower().startswith("https://" + parts.netloc)
    assert parts.netloc in url.lower() or "[" in url or ":443" in url
