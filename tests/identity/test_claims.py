"""What is checked of a token before anything else is done with it."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unauthenticated
from gateway.identity.claims import (
    ALGORITHMS,
    MAX_TOKEN,
    UnverifiedToken,
    check_times,
    named_url,
    read_claims,
    third_fits,
)
from gateway.identity.options import IdentityOptions

NOW = 1_795_000_000
HEADER = {"alg": "RS256", "kid": "k1"}
CLAIMS = {
    "iss": "https://kubernetes.default.svc",
    "sub": "system:serviceaccount:demo:mcp",
    "aud": ["https://api.example:6443", "k-mcp", "https://kubernetes.default.svc"],
    "exp": NOW + 3600,
    "nbf": NOW,
    "jti": "8c2b",
}


def encoded(content: bytes) -> str:
    """Encode a segment (RFC 7515, section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def token_of(header: object = HEADER, claims: object = CLAIMS, signature: bytes = b"signature") -> str:
    """Put a token together; text and bytes go in as they are."""
    segments = [
        part if isinstance(part, bytes) else (part if isinstance(part, str) else json.dumps(part)).encode()
        for part in (header, claims)
    ]
    return ".".join([encoded(segments[0]), encoded(segments[1]), encoded(signature)])


def reason_for(token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(Unauthenticated) as caught:
        read_claims(token)
    return caught.value.reason


def read(**claims: Any) -> UnverifiedToken:
    """Read a good token with some claims changed."""
    return read_claims(token_of(claims={**CLAIMS, **claims}))


def test_a_good_token_is_read_as_it_says() -> None:
    """Header, claims, what was signed and the signature come out as they went in."""
    token = token_of()
    got = read_claims(token)
    assert (got.algorithm, got.key_id) == ("RS256", "k1")
    assert (got.issuer, got.subject, got.token_id) == (CLAIMS["iss"], CLAIMS["sub"], "8c2b")
    assert got.audiences == ("https://api.example:6443", "k-mcp", "https://kubernetes.default.svc")
    assert (got.expires_at, got.not_before) == (NOW + 3600, NOW)
    assert got.signed.decode() + "." + encoded(got.signature) == token


def test_what_may_be_left_out_may_be_left_out() -> None:
    """A token without kid, nbf and jti is read."""
    got = read_claims(token_of({"alg": "ES256"}, {k: v for k, v in CLAIMS.items() if k not in {"nbf", "jti"}}))
    assert (got.key_id, got.not_before, got.token_id) == (None, None, "")


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_each_asymmetric_algorithm_is_taken(algorithm: str) -> None:
    """All the usual ways to sign with a private key pass."""
    assert read_claims(token_of({"alg": algorithm})).algorithm == algorithm


@pytest.mark.parametrize(
    "algorithm",
    [
        *("none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "rs256", "RS256 ", "RS1", "ES256K", "dir"),
        *(None, 1, True, ["RS256"], {"alg": "RS256"}),
    ],
)
def test_any_other_algorithm_is_refused(algorithm: object) -> None:
    """No signature at all, a symmetric key, and everything unknown are refused by name (RFC 8725, section 3.1)."""
    assert reason_for(token_of({"alg": algorithm})) == "algorithm"


def test_a_header_without_algorithm_is_refused() -> None:
    """There is no default algorithm."""
    assert reason_for(token_of({"kid": "k1"})) == "algorithm"


@pytest.mark.parametrize("critical", [["exp"], [], ["b64"], "b64", None])
def test_a_critical_extension_is_refused(critical: object) -> None:
    """Whatever a header marks as critical is not understood here (RFC 7515, section 4.1.11)."""
    assert reason_for(token_of({**HEADER, "crit": critical, "b64": False})) == "malformed"


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "x5t", "typ", "cty", "zip", "b64"])
def test_a_header_that_brings_a_key_along_changes_nothing(name: str) -> None:
    """A key or an address of one that the token itself names is not even read (RFC 8725, section 3.10)."""
    assert read_claims(token_of({**HEADER, name: "https://evil.example/jwks"})).key_id == "k1"


@pytest.mark.parametrize("key_id", ["", 1, None, ["k1"], "k1\n", "k\x00", "k" * 3000, "\ud800"])
def test_a_key_id_that_is_no_plain_text_is_refused(key_id: object) -> None:
    """A kid is only ever compared, but it must be text that can be."""
    assert reason_for(token_of({"alg": "RS256", "kid": key_id})) == "claims"


@pytest.mark.parametrize("key_id", ["../../../../dev/null", "' OR 1=1 --", "https://evil.example/k", "|/bin/id"])
def test_a_key_id_is_never_more_than_a_name(key_id: str) -> None:
    """A path, a query or an address as kid is read as the plain text that it is."""
    assert read_claims(token_of({"alg": "RS256", "kid": key_id})).key_id == key_id


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c.d",
        "a.b.c.d.e",
        "..",
        "a..c",
        ".b.c",
        "a.b.",
        token_of() + "\n",
        token_of() + ".",
        " " + token_of(),
        token_of() + "=",
        token_of() + "==",
        token_of().replace(".", "..", 1),
        token_of().rpartition(".")[0] + ".",
        token_of().rpartition(".")[0],
        token_of()[: len(token_of()) // 2],
        token_of() + "\x00",
        "Bearer " + token_of(),
        token_of().replace("e", "\u0435"),
        "eyJ\u200bhbGciOiJSUzI1NiJ9.e30.c2ln",
        "\ud800.e30.c2ln",
        token_of() + "+/",
    ],
)
def test_anything_but_three_base64url_segments_is_refused(token: str) -> None:
    """Cut, lengthened, padded and foreign text is not a JWT."""
    assert reason_for(token) == "malformed"


def test_bits_left_over_in_base64_are_refused() -> None:
    """One token has one text: nobody may make others of it that decode to the same (RFC 4648, section 3.5)."""
    good = token_of(signature=b"s")
    assert good.endswith(".cw")
    assert read_claims(good).signature == b"s"
    assert reason_for(good[:-1] + "x") == "malformed"
    assert reason_for(good[:-1]) == "malformed"


@pytest.mark.parametrize(
    "claims",
    [
        "",
        "null",
        "[]",
        '"text"',
        "12",
        "{",
        "{}}",
        "{} {}",
        "\ufeff{}",
        b"\xff\xfe{}",
        b'{"iss": "\xc3\x28"}',
        json.dumps(CLAIMS).encode("utf-16"),
        '{"iss": "a", "iss": "b"}',
        '{"iss": "a", "\\u0069ss": "b"}',
        '{"x": {"y": 1, "y": 2}}',
        '{"exp": NaN}',
        '{"exp": Infinity}',
        '{"exp": -Infinity}',
        '{"exp": ' + "9" * 21 + "}",
        '{"exp": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * 17 + "]" * 17 + "}",
        '{"x": ' + '{"x":' * 17 + "1" + "}" * 17 + "}",
        "[" * 6000,
        '{"x":' * 2000,
    ],
)
def test_what_is_not_one_sober_json_object_is_refused(claims: object) -> None:
    """No JSON, two of it, names given twice, numbers that are none or huge, and deep nesting are refused."""
    assert reason_for(token_of(claims=claims)) == "malformed"
    if isinstance(claims, str) and claims not in {"null", ""}:
        assert reason_for(token_of(header=claims)) == "malformed"


@pytest.mark.parametrize("name", ["iss", "sub"])
@pytest.mark.parametrize("value", [None, "", 1, True, ["a"], {}, "a\nb", "a\x1b[31m", "\ud800", "a\u200bb", "x" * 2049])
def test_issuer_and_subject_are_plain_texts(name: str, value: object) -> None:
    """Both are there, and hold nothing that could forge a log line or can't be encoded."""
    assert reason_for(token_of(claims={**CLAIMS, name: value})) == "claims"
    assert reason_for(token_of(claims={k: v for k, v in CLAIMS.items() if k != name})) == "claims"


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize(
    "value", ["1795000000", "1e999", True, False, None, [1], {}, -1, 253_402_300_800, 1e300, 10**19]
)
def test_times_are_finite_numbers(name: str, value: object) -> None:
    """A time is a number of seconds within the calendar, never a text or a truth value."""
    assert reason_for(token_of(claims={**CLAIMS, name: value})) == "claims"


def test_a_number_that_overflows_is_no_time() -> None:
    """1e999 is infinite without being written so."""
    claims = json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), "1e999")
    assert reason_for(token_of(claims=claims)) == "claims"


def test_a_token_without_expiry_is_refused() -> None:
    """`exp` is required."""
    assert reason_for(token_of(claims={k: v for k, v in CLAIMS.items() if k != "exp"})) == "claims"


@pytest.mark.parametrize("jti", ["", 1, None, "a\nb"])
def test_a_token_id_is_a_plain_text(jti: object) -> None:
    """It goes into audit records, so it is judged like the subject."""
    assert reason_for(token_of(claims={**CLAIMS, "jti": jti})) == "claims"


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "https://api.example:6443",
        "a,b,c",
        [],
        ["https://api.example:6443", "k-mcp"],
        ["https://api.example:6443", "k-mcp", "x", "y"],
        ["https://api.example:6443", "k-mcp", 1],
        ["https://api.example:6443", "k-mcp", None],
        ["https://api.example:6443", "k-mcp", ["x"]],
        ["https://api.example:6443", "k-mcp", ""],
        ["", "k-mcp", "x"],
        ["https://api.example:6443", "k-mcp", "x" * 2049],
        {"0": "https://api.example:6443", "1": "k-mcp", "2": "x"},
    ],
)
def test_anything_but_three_audiences_is_refused(aud: object) -> None:
    """`aud` is a list of exactly three texts; a single text is not one, whatever RFC 7519 allows elsewhere."""
    assert reason_for(token_of(claims={**CLAIMS, "aud": aud})) == "audience"
    assert reason_for(token_of(claims={k: v for k, v in CLAIMS.items() if k != "aud"})) == "audience"


def test_a_token_over_16_kib_is_refused_before_it_is_read() -> None:
    """The limit counts the whole text; what is just below is read."""
    # A segment's length is never one more than a multiple of four.
    room = MAX_TOKEN - len(token_of(signature=b"")) - 1
    below = token_of(signature=b"s" * (room * 3 // 4))
    assert MAX_TOKEN - 2 <= len(below) <= MAX_TOKEN
    assert len(read_claims(below).signature) == room * 3 // 4
    assert reason_for("x" * (MAX_TOKEN + 1)) == "too_large"
    assert reason_for(token_of(signature=b"s" * MAX_TOKEN)) == "too_large"


def test_no_token_is_its_own_reason() -> None:
    """An empty Bearer is no credential; Kubernetes would take it for an anonymous caller."""
    assert reason_for("") == "missing"


@pytest.mark.parametrize(
    ("claims", "now", "reason"),
    [
        ({"exp": NOW, "nbf": 0}, NOW - 0.001, None),
        ({"exp": NOW, "nbf": 0}, NOW, "expired"),
        ({"exp": NOW, "nbf": 0}, NOW + 1e6, "expired"),
        ({"nbf": NOW}, NOW, None),
        ({"nbf": NOW}, NOW - 10, None),
        ({"nbf": NOW}, NOW - 10.001, "not_yet_valid"),
        ({"nbf": NOW + 0.5}, NOW - 10, "not_yet_valid"),
    ],
)
def test_a_token_is_good_between_its_times(claims: dict[str, Any], now: float, reason: str | None) -> None:
    """No leeway on `exp`, ten seconds on `nbf`."""
    if reason is None:
        check_times(read(**claims), now, IdentityOptions())
    else:
        with pytest.raises(Unauthenticated) as caught:
            check_times(read(**claims), now, IdentityOptions())
        assert caught.value.reason == reason
        assert "T" in caught.value.message
        assert "Z" in caught.value.message


def test_leeway_can_be_set() -> None:
    """Both leeways are the operator's choice, within a minute."""
    options = IdentityOptions(nbf_leeway_seconds=0, exp_leeway_seconds=5)
    check_times(read(exp=NOW, nbf=NOW), NOW + 4.9, options)
    with pytest.raises(Unauthenticated, match=r"expired at 2026-11-18T"):
        check_times(read(exp=NOW, nbf=NOW), NOW + 5, options)
    with pytest.raises(Unauthenticated, match="not valid before"):
        check_times(read(exp=NOW, nbf=NOW), NOW - 0.1, options)
    with pytest.raises(ValueError, match="60"):
        IdentityOptions(exp_leeway_seconds=61)


def test_the_first_audience_names_a_cluster_in_any_spelling() -> None:
    """Capitals, the implied port and a trailing slash name the same API server."""
    for url in ("https://API.example:443/", "HTTPS://api.example", "https://api.example"):
        assert named_url(read(aud=[url, "k-mcp", "x"]), "k-mcp") == "https://api.example"


@pytest.mark.parametrize(
    "aud",
    [
        ["https://api.example", "other", "x"],
        ["https://api.example", "K-MCP", "x"],
        ["https://api.example", "k-mcp ", "x"],
        ["k-mcp", "https://api.example", "x"],
        ["https://api.example", "x", "k-mcp"],
        ["k-mcp", "k-mcp", "k-mcp"],
        ["http://api.example", "k-mcp", "x"],
        ["https://user@api.example", "k-mcp", "x"],
        ["https://api.example?x", "k-mcp", "x"],
        ["https://api.example/../..", "k-mcp", "x"],
        ["https://api.example\\x", "k-mcp", "x"],
        ["api.example", "k-mcp", "x"],
        ["\ud800", "k-mcp", "x"],
    ],
)
def test_reordered_or_foreign_audiences_are_refused(aud: list[str]) -> None:
    """The order is the routing: the second is this gateway's, the first a plain https URL."""
    with pytest.raises(Unauthenticated) as caught:
        named_url(read(aud=aud), "k-mcp")
    assert caught.value.reason == "audience"


def test_an_audience_that_is_a_url_can_not_be_the_first_as_well() -> None:
    """Where the gateway's audience is a URL itself, a token still names two different things."""
    with pytest.raises(Unauthenticated):
        named_url(read(aud=["https://gw.example", "https://gw.example", "x"]), "https://gw.example")


@pytest.mark.parametrize(
    ("third", "default", "fits"),
    [
        ("https://kubernetes.default.svc", None, True),
        ("anything", None, True),
        ("k-mcp", None, False),
        ("https://api.example", None, False),
        ("https://kubernetes.default.svc", "https://kubernetes.default.svc", True),
        ("https://kubernetes.default.svc/", "https://kubernetes.default.svc", False),
        ("anything", "https://kubernetes.default.svc", False),
        ("https://api.example", "https://api.example", True),
        ("k-mcp", "k-mcp", True),
        ("k-mcp", "https://api.example", False),
    ],
)
def test_the_third_audience_is_the_clusters_default_one(third: str, default: str | None, *, fits: bool) -> None:
    """Any third string where the default is not known; a repeated one only where the operator says it is meant."""
    assert third_fits(read(aud=["https://api.example", "k-mcp", third]), default) is fits


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(lambda parts: ".".join(map(encoded, parts))),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
            max_leaves=12,
        ).map(lambda claims: token_of(claims=claims)),
        st.dictionaries(
            st.sampled_from(sorted(CLAIMS)),
            st.none()
            | st.booleans()
            | st.floats()
            | st.integers()
            | st.text(max_size=9)
            | st.lists(st.text(max_size=9)),
        ).map(lambda claims: token_of(claims={**CLAIMS, **claims})),
    )
)
def test_whatever_comes_is_read_or_refused(token: str) -> None:
    """For any text there is an answer, never another exception, and a refusal quotes nothing of the token."""
    try:
        got = read_claims(token)
    except Unauthenticated as error:
        message = error.message
    else:
        message = ""
        assert got.algorithm in ALGORITHMS
        assert len(got.audiences) == 3
    assert len(message) < 120


@given(st.integers(0, len(token_of()) - 1), st.characters(codec="ascii"))
def test_a_changed_character_never_reads_as_the_same_token(index: int, character: str) -> None:
    """Every change is either refused or shows in what was signed or in the signature."""
    good = token_of()
    changed = good[:index] + character + good[index + 1 :]
    try:
        got = read_claims(changed)
    except Unauthenticated:
        return
    before = read_claims(good)
    assert changed == good or (got.signed, got.signature) != (before.signed, before.signature)
