"""No name may reach another path than the one it was checked for."""

from dataclasses import astuple
from string import printable
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.demo.route import route
from gateway.demo.wire import Call
from gateway.errors import BadArgument
from gateway.kube.paths import MAX_SEGMENT, Attributes, attributes_of, resource_path, segment

ODD = (
    *("", ".", "..", "...", "one/log", "one%2Flog", "one%2flog", "%2e%2e", "..%2f", "a/../b", "a\\b", "a?b=c", "a#b"),
    *("a;b", "a b", "a\tb", "a\nb", "a\r\nHost: x", "a\x00", "a\x7f", "a\x85", "\uff0f", "\uff0e\uff0e", "é", "\ud800"),
    *("watch", "proxy", "namespaces", "status", "finalize", "x" * 253, "x" * 254, "é" * 127),
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=printable + "%/\\.", max_size=20),
    st.sampled_from(ODD),
)
TARGETS = st.builds(
    Attributes,
    verb=st.just("get"),
    group=st.one_of(st.just(""), st.just("apps"), HOSTILE),
    version=st.one_of(st.just("v1"), HOSTILE),
    resource=st.one_of(st.sampled_from(["pods", "namespaces", "watch", "proxy", "secrets"]), HOSTILE),
    subresource=st.one_of(st.just(""), st.sampled_from(["log", "status"]), HOSTILE),
    namespace=st.one_of(st.just(""), NAMES, HOSTILE),
    name=st.one_of(st.just(""), NAMES, HOSTILE),
)


def as_the_api_server_reads(path: str) -> Attributes:
    """Read a path as k8s.io/apiserver's RequestInfo does, as the embedded cluster wrote it down independently."""
    read = route(Call("GET", path))
    return Attributes("get", read.group, read.version, read.plural, read.subresource, read.namespace, read.name)


@given(NAMES)
def test_ordinary_names_go_out_as_they_are(name: str) -> None:
    """A name Kubernetes allows is not changed by escaping."""
    assume(name not in {".", ".."})

    assert segment(name, "name") == name


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "a/b", "a%2Fb", "%", "a\\b", "a\nb", "a\x00", "a\x7f", "a\x9f", "x" * 254, "é" * 127],
)
def test_dangerous_segments_are_refused(value: str) -> None:
    """What an API server would read as something else than one name is refused, and the argument is named."""
    with pytest.raises(BadArgument, match=r"^name "):
        segment(value, "name")


@pytest.mark.parametrize(
    ("value", "escaped"),
    [("a b", "a%20b"), ("a?b", "a%3Fb"), ("a#b", "a%23b"), ("system:node", "system:node"), ("é", "%C3%A9")],
)
def test_other_characters_are_escaped(value: str, escaped: str) -> None:
    """Characters with a meaning in URLs lose it (RFC 3986, section 3.3)."""
    assert segment(value, "name") == escaped


def test_longest_name_is_253_bytes() -> None:
    """The limit counts bytes as they are before escaping, and the longest name passes."""
    assert segment("x" * MAX_SEGMENT, "name") == "x" * MAX_SEGMENT
    assert unquote(segment("é" * 126, "name")) == "é" * 126


@given(HOSTILE)
def test_segment_stays_one_segment(value: str) -> None:
    """Whatever passes is one segment to a server that decodes and cleans paths, and decodes to what was typed."""
    try:
        escaped = segment(value, "name")
    except BadArgument:
        return

    assert escaped.isascii()
    assert not set(escaped) & set("/?#%\\ ") - {"%"}
    decoded = unquote(escaped, errors="surrogatepass")
    assert decoded == value
    assert "/" not in decoded
    assert decoded not in {"", ".", ".."}


@pytest.mark.parametrize(
    ("path", "attributes"),
    [
        ("/api/v1/pods", Attributes("get", "", "v1", "pods", "", "", "")),
        ("/api/v1/namespaces/demo/pods/web/log", Attributes("get", "", "v1", "pods", "log", "demo", "web")),
        ("/api/v1/namespaces", Attributes("get", "", "v1", "namespaces", "", "", "")),
        ("/api/v1/namespaces/demo", Attributes("get", "", "v1", "namespaces", "", "demo", "demo")),
        ("/api/v1/namespaces/demo/status", Attributes("get", "", "v1", "namespaces", "status", "demo", "demo")),
        ("/api/v1/namespaces/demo/finalize", Attributes("get", "", "v1", "namespaces", "finalize", "demo", "demo")),
        ("/apis/apps/v1/namespaces/a/deployments/b", Attributes("get", "apps", "v1", "deployments", "", "a", "b")),
        ("/apis/storage.k8s.io/v1/csinodes/a", Attributes("get", "storage.k8s.io", "v1", "csinodes", "", "", "a")),
    ],
)
def test_paths_are_read_as_the_api_server_reads_them(path: str, attributes: Attributes) -> None:
    """A path gives the attributes that RBAC is asked about."""
    assert attributes_of("get", path) == attributes
    assert as_the_api_server_reads(path) == attributes


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/api", "/api/v1", "/api/v1/", "/api/v1//pods", "/apis/apps/v1", "/version", "api/v1/pods"),
        *("/api/v1/namespaces/demo/pods/web/log/more", "/api/v1/nodes/one/proxy/run"),
        *("/api/v1/watch/secrets", "/api/v1/watch/namespaces/demo/pods", "/api/v1/proxy/namespaces/demo/pods/web"),
    ],
)
def test_other_paths_are_not_resource_requests(path: str) -> None:
    """A path that is not just a resource, or that starts a verb of its own, has no attributes to judge."""
    with pytest.raises(BadArgument):
        attributes_of("get", path)


@given(TARGETS)
@example(Attributes("get", "", "v1", "watch", "", "", "secrets"))
@example(Attributes("get", "", "v1", "namespaces", "secrets", "", "demo"))
@example(Attributes("get", "", "v1", "status", "", "demo", ""))
@example(Attributes("get", "", "namespaces", "pods", "", "", ""))
def test_what_goes_out_is_what_is_judged(target: Attributes) -> None:
    """For every request that can be built, the attributes read back are those the API server will read."""
    try:
        path = resource_path(target)
        judged = attributes_of("get", path)
    except BadArgument:
        return

    assert as_the_api_server_reads(path) == Attributes("get", *(unquote(value) for value in astuple(judged)[1:]))


@given(TARGETS)
def test_kind_is_never_exchanged(target: Attributes) -> None:
    """Group and resource, by which kinds are restricted, come back as they were meant, or nothing is built.

    Paths of namespace objects are apart: `namespaces/x/pods` is about pods, and is judged so.
    """
    assume(target.resource not in {"namespaces", "status", "finalize"})
    try:
        judged = attributes_of("get", resource_path(target))
    except BadArgument:
        return

    assert unquote(judged.group, errors="surrogatepass") == target.group
    assert unquote(judged.resource, errors="surrogatepass") == target.resource
