from dataclasses import asdict
from hashlib import sha256

from gateway.kube.credential import BearerToken

SECRET = "eyJ-a-token-nobody-may-see"


def test_a_token_shows_only_its_digest() -> None:
    """However a token is formatted, what comes out can't be used to log in."""
    token = BearerToken.of(SECRET)
    shown = [repr(token), str(token), f"{token}", f"{token!r}", repr([token]), "%s" % token]  # noqa: UP031
    assert SECRET not in "".join(shown)
    assert str(token) == f"token {sha256(SECRET.encode()).hexdigest()[:12]}"


def test_a_token_is_known_by_its_digest_and_sent_by_its_value() -> None:
    """Equal tokens are equal values, and only the digest is a key for caches."""
    token = BearerToken.of(SECRET)
    assert token == BearerToken.of(SECRET)
    assert asdict(token) == {"value": SECRET, "digest": sha256(SECRET.encode()).hexdigest()}
