import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.bearer import MAX_TOKEN, bearer_token
from gateway.errors import Unauthenticated


def header(value: bytes) -> list[tuple[bytes, bytes]]:
    """Return headers with one Authorization among them."""
    return [(b"host", b"a"), (b"authorization", value), (b"accept", b"*/*")]


@pytest.mark.parametrize("value", [b"Bearer abc.def-_~+/==", b"bearer abc.def-_~+/==", b"BEARER  abc.def-_~+/== "])
def test_a_token_is_what_follows_the_scheme(value: bytes) -> None:
    """The scheme is written in any letter case (RFC 9110, section 11.1)."""
    assert bearer_token(header(value)) == "abc.def-_~+/=="


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "missing"),
        ([(b"x-authorization", b"Bearer a")], "missing"),
        ([*header(b"Bearer a"), *header(b"Bearer a")], "header"),
        ([*header(b"Bearer a"), *header(b"Basic a")], "header"),
        (header(b""), "header"),
        (header(b"Bearer"), "header"),
        (header(b"Bearer "), "header"),
        (header(b"Basic YTpi"), "header"),
        (header(b"Token abc"), "header"),
        (header(b"Bearerabc"), "header"),
        (header(b"Bearer\tabc"), "header"),
        (header(b"Bearer a b"), "header"),
        (header(b"Bearer a,Bearer b"), "header"),
        (header(b"Bearer a\x00"), "header"),
        (header(b"Bearer \xff\xfe"), "header"),
        (header(b'Bearer "abc"'), "header"),
        (header(b"Bearer =abc"), "header"),
        (header(b"Bearer " + b"a" * (MAX_TOKEN + 1)), "too_large"),
    ],
)
def test_whatever_else_is_no_token(headers: list[tuple[bytes, bytes]], reason: str) -> None:
    """None, two, another scheme, or letters that no token has: each is refused by its own word."""
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(headers)
    assert caught.value.reason == reason


def test_the_longest_token_is_a_token() -> None:
    """16 KiB may come, and not a byte more."""
    assert len(bearer_token(header(b"Bearer " + b"a" * MAX_TOKEN))) == MAX_TOKEN


@given(value=st.binary(max_size=40))
def test_whatever_comes_is_a_token_or_refused(value: bytes) -> None:
    """No bytes raise anything else, and no refusal repeats what was sent."""
    try:
        token = bearer_token(header(value))
    except Unauthenticated as error:
        shown = error.message.encode()
        assert len(value) < 12 or value not in shown
    else:
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token
