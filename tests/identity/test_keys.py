"""Which published keys count, and what they say of a token."""

from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from gateway.clusters.pool import ClusterKey
from gateway.identity.claims import read_claims
from gateway.identity.keys import KeyRing, SigningKey, signing_key

ISSUER = "https://kubernetes.default.svc"
CLAIMS = {"iss": ISSUER, "sub": "me", "aud": ["https://api.example", "k-mcp", "x"], "exp": 4_000_000_000}


@cache
def rsa_key(bits: int = 2048, *, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Make an RSA key, once."""
    return rsa.generate_private_key(exponent, bits)


def public(private: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    """Return the public half as a member of a key set (RFC 7517)."""
    made: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    made.pop("key_ops", None)
    made = {**made, "use": "sig", "alg": algorithm, "kid": "k1", **members}
    return {name: value for name, value in made.items() if value is not None}


def ring_of(*members: dict[str, Any], issuer: str = ISSUER) -> KeyRing:
    """Return the keys of a cluster that publishes these."""
    keys = tuple(key for key in map(signing_key, members) if key is not None)
    return KeyRing(ClusterKey("https://api.example", "digest", ""), issuer, keys, 0.0)


def token_by(private: Any, algorithm: str, kid: str | None = "k1", **claims: Any) -> str:
    """Sign a token."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({**CLAIMS, **claims}, private, algorithm, headers=headers)


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        *((name, rsa_key()) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("ES512", ec.generate_private_key(ec.SECP521R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["alg named", "alg left out"])
def test_each_kind_of_key_verifies_what_it_signed(algorithm: str, private: Any, *, named: bool) -> None:
    """A key verifies its own tokens, whether or not it says for which algorithm it is, and nobody else's."""
    ring = ring_of(public(private, algorithm, alg=algorithm if named else None))
    token = token_by(private, algorithm)
    assert ring.finding(read_claims(token)) == "verified"
    head, _, signature = token.rpartition(".")
    other = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert ring.finding(read_claims(f"{head}.{other}")) == "forged"
    assert ring.finding(read_claims(token_by(private, algorithm, "k2"))) == "unsettled"


def test_a_key_is_used_only_as_it_says() -> None:
    """A key for RS256 does not verify PS256, nor any other kind, though the mathematics would do."""
    ring = ring_of(public(rsa_key(), "RS256"))
    assert ring.finding(read_claims(token_by(rsa_key(), "PS256"))) == "forged"
    assert ring.finding(read_claims(token_by(ec.generate_private_key(ec.SECP256R1()), "ES256"))) == "forged"


def test_key_ids_may_repeat() -> None:
    """Of several keys with one id, any may have signed; and there may be others of another kind among them."""
    old, new = rsa_key(), ec.generate_private_key(ec.SECP256R1())
    third = ec.generate_private_key(ec.SECP256R1())
    ring = ring_of(public(old, "RS256"), public(new, "ES256"), public(third, "ES256"))
    for private, algorithm in ((old, "RS256"), (new, "ES256"), (third, "ES256")):
        assert ring.finding(read_claims(token_by(private, algorithm))) == "verified"


def test_a_token_may_lack_a_key_id() -> None:
    """All keys of its kind are tried; where none fits, that tells nothing, for the key may be another issuer's."""
    first, second = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ring = ring_of(public(first, "ES256"), public(second, "ES256", kid=None))
    for private in (first, second):
        assert ring.finding(read_claims(token_by(private, "ES256", None))) == "verified"
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert ring.finding(read_claims(token_by(stranger, "ES256", None))) == "unsettled"


def test_only_some_keys_are_tried() -> None:
    """A key set with many keys of one id costs no more than a few verifications, and then the cluster decides."""
    privates = [ec.generate_private_key(ec.SECP256R1()) for _ in range(12)]
    ring = ring_of(*(public(private, "ES256") for private in privates))
    findings = [ring.finding(read_claims(token_by(private, "ES256"))) for private in privates]
    assert findings == ["verified"] * 8 + ["unsettled"] * 4


def test_keys_say_nothing_of_another_issuers_token() -> None:
    """Clusters may share a signing key; the issuer is part of what a signature says (RFC 8725, section 3.8)."""
    ring = ring_of(public(rsa_key(), "RS256"))
    assert ring.finding(read_claims(token_by(rsa_key(), "RS256", iss="https://other.example"))) == "unsettled"
    assert ring_of(issuer=ISSUER).finding(read_claims(token_by(rsa_key(), "RS256"))) == "unsettled"


@pytest.mark.parametrize(
    "member",
    [
        None,
        "key",
        [],
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k1"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        public(rsa_key(), "RS256", use="enc"),
        public(rsa_key(), "RS256", use=["sig"]),
        public(rsa_key(), "RS256", key_ops=["encrypt"]),
        public(rsa_key(), "RS256", key_ops="verify"),
        public(rsa_key(), "RS256", alg="ES256"),
        public(rsa_key(), "RS256", alg="RSA-OAEP"),
        public(rsa_key(), "RS256", alg="none"),
        public(rsa_key(), "RS256", alg="HS256"),
        public(rsa_key(), "RS256", alg=["RS256"]),
        public(rsa_key(), "RS256", kid=7),
        public(rsa_key(), "RS256", n=None),
        public(rsa_key(), "RS256", n=""),
        public(rsa_key(), "RS256", n="!!!"),
        public(rsa_key(), "RS256", n=12),
        public(rsa_key(), "RS256", e="AA"),
        public(rsa_key(), "RS256", e="A" * 342),
        public(rsa_key(), "RS256", n="_" * 4000),
        public(rsa_key(1024), "RS256"),
        public(ec.generate_private_key(ec.SECP256K1()), "ES256K"),
        public(ec.generate_private_key(ec.SECP256R1()), "ES256", crv="P-384"),
        public(ec.generate_private_key(ec.SECP256R1()), "ES256", crv=None),
        public(ec.generate_private_key(ec.SECP256R1()), "ES256", x="AAAA", y="AAAA"),
        public(ec.generate_private_key(ec.SECP256R1()), "ES256", y="A" * 43),
        public(ed448.Ed448PrivateKey.generate(), "EdDSA"),
        public(ed25519.Ed25519PrivateKey.generate(), "EdDSA", x="AAAA"),
    ],
)
def test_what_no_token_may_be_signed_by_is_left_out(member: Any) -> None:
    """Symmetric, weak, costly, broken and foreign keys, and keys for anything but signatures, do not count."""
    assert signing_key(member) is None


def test_a_key_whose_exponent_costs_too_much_is_left_out() -> None:
    """Verification takes time in proportion to the exponent, which is the cluster's choice."""
    big = jwt.utils.to_base64url_uint((1 << 33) + 1).decode()
    assert signing_key(public(rsa_key(), "RS256", e=big)) is None
    assert isinstance(signing_key(public(rsa_key(), "RS256")), SigningKey)


def test_private_members_are_not_read() -> None:
    """A cluster that publishes a whole key pair by mistake is read like any other."""
    private = ec.generate_private_key(ec.SECP256R1())
    member = jwt.get_algorithm_by_name("ES256").to_jwk(private, as_dict=True)
    assert "d" in member
    key = signing_key({**member, "kid": "k1", "key_ops": ["sign", "verify"]})
    assert key is not None
    assert isinstance(key.public, ec.EllipticCurvePublicKey)


def test_a_key_shows_no_more_than_its_name() -> None:
    """Keys are public, but a log is no place for them."""
    key = signing_key(public(rsa_key(), "RS256"))
    assert repr(key) == "SigningKey(key_id='k1', algorithms=frozenset({'RS256'}))"
