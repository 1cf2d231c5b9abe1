"""Attacks on JSON Web Tokens, from RFC 8725 and the public catalogues, as bearer tokens to present.

Each is made for a cluster by who knows all that is public about it, and, where the attack is in the claims, even has
the cluster's own signature: what is wrong with such a token is just the one thing.
"""

# A lambda that keeps a loop's value as a default is more than mypy can infer.
# mypy: disable-error-code="misc"

import hmac
import json
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.demo import EmbeddedCluster
from gateway.demo.identity import TokenKey

ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:demo:mcp"
P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group of P-256."""


def b64(data: bytes | str) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def compact(value: Any) -> str:
    """Return JSON text."""
    return json.dumps(value, separators=(",", ":"))


def sealed(header: bytes | str, payload: bytes | str, algorithm: str, key: Any) -> str:
    """Return a token of this header and payload, signed."""
    signing = f"{b64(header)}.{b64(payload)}"
    return f"{signing}.{b64(jwt.get_algorithm_by_name(algorithm).sign(signing.encode(), key))}"


@dataclass(frozen=True)
class Forge:
    """What an attacker has: the cluster's public key, an audience to name, keys of their own, and a listener.

    `server` stands in the first audience; `bait` is an http URL that nobody must ever ask for. `key` is the cluster's
    own private key, for tokens that are signed well and bad in another way.
    """

    key: TokenKey
    server: str
    bait: str
    other: EmbeddedCluster
    mine: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return good claims but for what is changed; None leaves one out."""
        now = int(time.time())
        good = {
            "aud": [self.server, "k-mcp", ISSUER],
            "exp": now + 600,
            "iat": now,
            "iss": ISSUER,
            "jti": "5a0c3f6e",
            "nbf": now - 5,
            "sub": SUBJECT,
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def header(self, **changed: Any) -> dict[str, Any]:
        """Return the header of a good token but for what is changed."""
        good = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "JWT"}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def signed(self, header: bytes | str | None = None, payload: bytes | str | None = None) -> str:
        """Return a token that the cluster's own key signed, whatever is in it."""
        head = compact(self.header()) if header is None else header
        return sealed(
            head, compact(self.claims()) if payload is None else payload, self.key.algorithm, self.key.private
        )

    def claiming(self, **changed: Any) -> str:
        """Return a token with the cluster's signature under changed claims."""
        return self.signed(payload=compact(self.claims(**changed)))

    def with_signature(self, signature: bytes | str, **header: Any) -> str:
        """Return good claims under a header with an invented signature."""
        return f"{b64(compact(self.header(**header)))}.{b64(compact(self.claims()))}.{b64(signature)}"

    def by_me(self, issuer: str = ISSUER, **header: Any) -> str:
        """Return good claims that the attacker's key signed."""
        claims, head = self.claims(iss=issuer), self.header(**{"alg": "ES256", **header})
        return sealed(compact(head), compact(claims), "ES256", self.mine)

    def by_hmac(self, secret: bytes, **header: Any) -> str:
        """Return good claims under a MAC."""
        signing = f"{b64(compact(self.header(alg='HS256', **header)))}.{b64(compact(self.claims()))}"
        return f"{signing}.{b64(hmac.digest(secret, signing.encode(), 'sha256'))}"

    def public(self, encoding: Encoding, form: PublicFormat) -> bytes:
        """Return the cluster's public key."""
        return self.key.private.public_key().public_bytes(encoding, form)

    def jwk(self) -> dict[str, Any]:
        """Return the attacker's public key as a token brings it along."""
        made: dict[str, Any] = jwt.get_algorithm_by_name("ES256").to_jwk(self.mine.public_key(), as_dict=True)
        return {**made, "kid": self.key.kid}

    def certificate(self) -> str:
        """Return a certificate that the attacker issued, as `x5c` holds it."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        start = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.mine.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=1))
            .sign(self.mine, SHA256())
        )
        return urlsafe_b64encode(made.public_bytes(Encoding.DER)).decode()


Attack = Callable[[Forge], str]


def attacks() -> Mapping[str, Attack]:
    """Return every attack by name. Whatever is presented is a text of latin-1, as headers are."""
    found: dict[str, Attack] = {}
    for family in (
        _no_signature,
        _confusion,
        _invented,
        _key_ids,
        _brought_along,
        _headers,
        _claims,
        _audiences,
        _texts,
    ):
        for name, attack in family():
            assert name not in found, name
            found[name] = attack
    return found


def _no_signature() -> Iterator[tuple[str, Attack]]:
    """No signature is asked for (RFC 8725, section 2.1)."""
    for word in ("none", "None", "NONE", "nOnE", "none ", "\u00a0none", "", "null"):
        for signature in ("", "AAAA"):
            yield (
                f"alg {word!r} with {signature or 'no'} signature",
                lambda f, w=word, s=signature: f"{b64(compact(f.header(alg=w)))}.{b64(compact(f.claims()))}.{s}",
            )
    for odd in (0, True, [], ["RS256"], {}, {"RS256": 1}):
        yield f"alg {odd!r}", lambda f, o=odd: f.signed(compact(f.header(alg=o)))
    yield "no alg", lambda f: f.signed(compact(f.header(alg=None)))
    yield "no kid and no signature", lambda f: f.with_signature(b"", kid=None)


def _confusion() -> Iterator[tuple[str, Attack]]:
    """A public key is taken for a secret, or a key for another kind's (RFC 8725, sections 2.1 and 3.1)."""
    spki, pkcs1 = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
    secrets: dict[str, Callable[[Forge], bytes]] = {
        "PEM": lambda f: f.public(Encoding.PEM, spki),
        "PEM without its last line break": lambda f: f.public(Encoding.PEM, spki).strip(),
        "DER": lambda f: f.public(Encoding.DER, spki),
        "PKCS 1": lambda f: f.public(Encoding.PEM, pkcs1 if f.key.algorithm == "RS256" else spki),
        "JWK": lambda f: compact(f.key.jwk()).encode(),
        "modulus": lambda f: str(f.key.jwk().get("n", f.key.jwk().get("x"))).encode(),
        "key id": lambda f: f.key.kid.encode(),
        "empty": lambda _: b"",
        "null byte": lambda _: b"\0",
        "secret": lambda _: b"secret",
    }
    for name, secret in secrets.items():
        yield f"HS256 with the secret {name}", lambda f, s=secret: f.by_hmac(s(f))
        yield f"HS256 without kid, secret {name}", lambda f, s=secret: f.by_hmac(s(f), kid=None)
    for other in ("RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "HS512"):
        yield (
            f"the cluster's signature under the name {other}",
            lambda f, o=other: _renamed(f, o if o != f.key.algorithm else "RS1"),
        )
    for lower in ("rs256", "es256", "Rs256", "RSA1_5", "RSA-OAEP", "dir", "A128KW", "RS256\0", "SHA256withRSA"):
        yield f"alg {lower!r} under the cluster's signature", lambda f, w=lower: f.signed(compact(f.header(alg=w)))
    yield (
        "another curve's key under ES384",
        lambda f: _by(f, "ES384", ec.generate_private_key(ec.SECP384R1())),
    )
    yield "an Ed25519 key", lambda f: _by(f, "EdDSA", ed25519.Ed25519PrivateKey.generate())


def _by(forge: Forge, algorithm: str, key: Any) -> str:
    return sealed(compact(forge.header(alg=algorithm)), compact(forge.claims()), algorithm, key)


def _renamed(forge: Forge, algorithm: str) -> str:
    _, body, signature = forge.signed().split(".")
    return f"{b64(compact(forge.header(alg=algorithm)))}.{body}.{signature}"


def _invented() -> Iterator[tuple[str, Attack]]:
    """Signatures that a careless verification takes (CVE-2022-21449 and its like)."""
    zero, one, order = bytes(32), (1).to_bytes(32), P256.to_bytes(32)
    invented = {
        "nothing": b"",
        "r and s of zero": zero + zero,
        "r of zero": zero + one,
        "s of zero": one + zero,
        "r and s of one": one + one,
        "r and s of the order": order + order,
        "r of the order and s of zero": order + zero,
        "all ones": b"\xff" * 64,
        "an empty DER sequence": b"\x30\x00",
        "DER of two zeros": b"\x30\x06\x02\x01\x00\x02\x01\x00",
        "DER with a length of 2**31": b"\x30\x84\x7f\xff\xff\xff",
        "256 zero bytes": bytes(256),
        "256 bytes of ones": b"\xff" * 256,
        "the integer one in 256 bytes": (1).to_bytes(256),
        "8 KiB": b"x" * 8192,
    }
    for name, signature in invented.items():
        yield f"a signature of {name}", lambda f, s=signature: f.with_signature(s)
        yield f"a signature of {name} for ES256", lambda f, s=signature: f.with_signature(s, alg="ES256")
        yield f"a signature of {name} without kid", lambda f, s=signature: f.with_signature(s, kid=None)
    yield "the digest instead of a signature", lambda f: f.with_signature(sha256(compact(f.claims()).encode()).digest())
    yield "a signature of other claims", lambda f: f"{f.claiming(sub='x').rpartition('.')[0]}.{_last(f.signed())}"
    yield "a signature of another header", lambda f: f"{b64(compact(f.header(typ='X')))}.{f.signed().partition('.')[2]}"
    yield "the other cluster's signature", lambda f: f.other.sign(f.claims())
    yield "the other cluster's signature and this key id", lambda f: f.other.sign(f.claims(), {"kid": f.key.kid})
    yield "the other cluster's signature without kid", lambda f: f.other.sign(f.claims(), {})
    yield "an RSA key of 1024 bits", lambda f: _by(f, "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505  # weak on purpose
    yield "another RSA key", lambda f: _by(f, "RS256", rsa.generate_private_key(65537, 2048))


def _last(token: str) -> str:
    return token.rpartition(".")[2]


def _key_ids() -> Iterator[tuple[str, Attack]]:
    """A key id is a path, a query, an address or a command (RFC 8725, section 3.10)."""
    for kid in (
        "../../../../dev/null",
        "/dev/null",
        "/proc/self/environ",
        "..\\..\\windows\\win.ini",
        "file:///etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "'; DROP TABLE keys; --",
        "$(id)",
        "`id`",
        "| id",
        "; sleep 10",
        "{{7*7}}",
        "${jndi:ldap://127.0.0.1/x}",
        "\0",
        "a\0b",
        "a\r\nSet-Cookie: a=b",
        "*",
        ".*",
        "__proto__",
        "constructor",
        "\u202egnp.exe",
        "\ud800",
        "k" * 2048,
        "k" * 9000,
        "",
        " ",
    ):
        yield f"kid {kid[:40]!r} {len(kid)}", lambda f, k=kid: f.by_me(kid=k)
    for odd in (0, 1.5, True, [], ["k"], {}, {"$ne": None}):
        yield f"kid {odd!r}", lambda f, o=odd: f.with_signature(b"x" * 64, kid=o)
    yield "kid of an http address", lambda f: f.by_me(kid=f.bait)
    yield "kid of the cluster in other letters", lambda f: f.by_me(kid=f.key.kid.swapcase())
    yield "kid of the cluster, my signature", lambda f: f.by_me(alg="ES256")
    yield "no kid, my signature", lambda f: f.by_me(kid=None)


def _brought_along() -> Iterator[tuple[str, Attack]]:
    """The token brings its own key, or the address of one (RFC 8725, section 3.10; RFC 7515, section 4.1)."""
    yield "jwk", lambda f: f.by_me(jwk=f.jwk())
    yield "jwk without kid", lambda f: f.by_me(jwk=f.jwk(), kid=None)
    yield "jwk of a symmetric key", lambda f: f.by_hmac(b"secret", jwk={"kty": "oct", "k": b64(b"secret")})
    yield "jku", lambda f: f.by_me(jku=f"{f.bait}/openid/v1/jwks")
    yield "jku with userinfo of the cluster", lambda f: f.by_me(jku=f"{f.bait.replace('//', '//127.0.0.1:6443@')}/jwks")
    yield "jku of the cluster with a redirect", lambda f: f.by_me(jku=f"{f.server}/redirect?to={f.bait}")
    yield "jku of a file", lambda f: f.by_me(jku="file:///etc/passwd")
    yield "x5u", lambda f: f.by_me(x5u=f"{f.bait}/chain.pem")
    yield "x5c", lambda f: f.by_me(x5c=[f.certificate()])
    yield "x5t", lambda f: f.by_me(x5t=b64(bytes(20)), **{"x5t#S256": b64(bytes(32))})
    yield "everything at once", lambda f: f.by_me(jwk=f.jwk(), jku=f.bait, x5u=f.bait, x5c=[f.certificate()])
    yield "an issuer elsewhere", lambda f: f.by_me(f.bait, kid="a")
    yield "an issuer elsewhere, this key id", lambda f: f.by_me(f.bait)
    yield "the issuer in other letters", lambda f: f.other.sign(f.claims(iss=ISSUER.upper()))
    yield "the issuer with a slash", lambda f: f.other.sign(f.claims(iss=f"{ISSUER}/"))


def _headers() -> Iterator[tuple[str, Attack]]:
    """Extensions that change what is signed, or what the token is (RFC 7515, section 4.1.11; RFC 7797; RFC 7516)."""
    crits: tuple[Any, ...] = (["exp"], ["b64"], ["x"], [], "exp", None, [[]], ["alg"], [0])
    for crit in crits:
        head = {"crit": crit, "b64": False, "x": 1}
        yield f"crit {crit!r}", lambda f, h=head: f.signed(compact(f.header() | h))
    yield (
        "an unencoded payload",
        lambda f: f"{b64(compact(f.header(b64=False, crit=['b64'])))}.{compact(f.claims())}.{b64(b'x' * 64)}",
    )
    yield (
        "a detached payload",
        lambda f: "{0}..{2}".format(*f.signed().split(".")),
    )
    yield (
        "a compressed payload",
        lambda f: f.signed(compact(f.header(zip="DEF")), zlib.compress(compact(f.claims()).encode())[2:-4]),
    )
    yield (
        "a compressed bomb",
        lambda f: f.signed(compact(f.header(zip="DEF")), zlib.compress(b" " * 4_000_000, 9)[2:-4]),
    )
    yield "a JWE of five parts", lambda _: ".".join([b64(compact({"alg": "dir", "enc": "A128GCM"})), "", *["AAAA"] * 3])
    yield (
        "a JWE with many iterations",
        lambda _: ".".join([b64(compact({"alg": "PBES2-HS256+A128KW", "p2c": 2**31, "p2s": "AAAA"})), *["AAAA"] * 4]),
    )
    yield "a token in a token", lambda f: f.signed(compact(f.header(cty="JWT")), f.signed())
    yield "JSON serialization", lambda f: b64(compact({"payload": b64(compact(f.claims())), "signatures": []}))
    yield "JSON serialization, as it is", lambda f: compact({"payload": b64(compact(f.claims())), "signatures": []})
    yield "alg twice", lambda f: f.signed(f'{{"alg":"none","alg":"{f.key.algorithm}","kid":"{f.key.kid}"}}')
    yield "kid twice", lambda f: f.signed(f'{{"alg":"{f.key.algorithm}","kid":"x","kid":"{f.key.kid}"}}')
    yield "alg escaped and twice", lambda f: f.signed(f'{{"\\u0061lg":"none","alg":"{f.key.algorithm}"}}')
    for name, text in {
        "no object": "[]",
        "a text": '"alg"',
        "nothing": "",
        "half": '{"alg":',
        "a comment": '{"alg":"RS256"/**/}',
        "two objects": "{}{}",
        "single quotes": "{'alg':'RS256'}",
        "a comma at the end": '{"alg":"RS256",}',
        "deep nesting": '{"alg":"RS256","x":' + "[" * 4000 + "]" * 4000 + "}",
        "deep objects": '{"x":' * 1200 + "1" + "}" * 1200,
        "a long number": '{"alg":"RS256","x":' + "9" * 5000 + "}",
        "NaN": '{"alg":"RS256","x":NaN}',
    }.items():
        yield f"a header of {name}", lambda f, t=text: f.signed(t)
    for name, coded in {
        "UTF-16": '{"alg":"RS256"}'.encode("utf-16"),
        "UTF-32": '{"alg":"RS256"}'.encode("utf-32"),
        "a byte order mark": b'\xef\xbb\xbf{"alg":"RS256"}',
        "overlong UTF-8": b'{"alg":"\xc1\x92S256"}',
        "a lone surrogate": b'{"alg":"RS256","kid":"\xed\xa0\x80"}',
        "bytes that are no text": b"\xff\xfe\xfd",
    }.items():
        yield f"a header in {name}", lambda f, c=coded: f.signed(c)


def _claims() -> Iterator[tuple[str, Attack]]:
    """Claims that another reader would read otherwise, under the cluster's own signature (RFC 8259, section 4)."""
    now = int(time.time())
    for name, value in {
        "a past time": now - 1,
        "long past": 1,
        "zero": 0,
        "negative": -1,
        "beyond dates": 1e300,
        "2**63": 2**63,
        "2**64 and an hour": 2**64 + now,
        "milliseconds": now * 1000,
        "a text": str(now + 600),
        "a list": [now + 600],
        "an object": {"$gt": 0},
        "true": True,
        "infinite": float("inf"),
        "no number": float("nan"),
        "20 digits more": 10**400,
    }.items():
        yield f"exp is {name}", lambda f, v=value: f.claiming(exp=v)
    yield "exp is missing", lambda f: f.claiming(exp=None)
    yield "exp is null", lambda f: f.signed(payload=compact(f.claims() | {"exp": None}))
    yield "exp is 1e999", lambda f: f.signed(payload=compact(f.claims()).replace('"exp":', '"exp":1e999,"x":'))
    yield "exp is 9e99999", lambda f: f.signed(payload=compact(f.claims()).replace('"exp":', '"exp":9e99999,"x":'))
    yield "nbf ahead", lambda f: f.claiming(nbf=now + 300)
    yield "nbf is a text", lambda f: f.claiming(nbf="0")
    yield "nbf is infinite", lambda f: f.claiming(nbf=float("-inf"))
    for name in ("aud", "exp", "iss", "sub", "nbf"):
        yield f"{name} twice", lambda f, n=name: f.signed(payload=_twice(f.claims(), n))
        yield f"{name} escaped and twice", lambda f, n=name: f.signed(payload=_twice(f.claims(), n, escaped=True))
    odds: tuple[Any, ...] = ("", 5, [], ["x"], {}, True, "\0", "a\nb", "\u202e", "\u200b", "\ud800", "x" * 2049)
    for name in ("iss", "sub"):
        for odd in odds:
            yield f"{name} is {str(odd)[:9]!r} {type(odd).__name__}", lambda f, n=name, o=odd: f.claiming(**{n: o})
        yield f"no {name}", lambda f, n=name: f.claiming(**{n: None})
    yield "jti is a list", lambda f: f.claiming(jti=["a"])
    yield (
        "claims nested deep",
        lambda f: f.signed(payload=compact(f.claims())[:-1] + ',"x":' + "[" * 4000 + "]" * 4000 + "}"),
    )
    yield "claims nested deeper than closed", lambda f: f.signed(payload="[" * 10_000)
    yield "claims of a long number", lambda f: f.signed(payload=compact(f.claims())[:-1] + ',"x":' + "7" * 9000 + "}")
    yield "claims of a list", lambda f: f.signed(payload=compact([f.claims()]))
    yield "claims of a text", lambda f: f.signed(payload=compact(compact(f.claims())))
    yield "claims twice", lambda f: f.signed(payload=compact(f.claims()) * 2)
    yield "claims and a null byte", lambda f: f.signed(payload=compact(f.claims()) + "\0")
    yield "claims with a byte order mark", lambda f: f.signed(payload="\ufeff" + compact(f.claims()))
    yield "claims in UTF-16", lambda f: f.signed(payload=compact(f.claims()).encode("utf-16"))


def _twice(claims: dict[str, Any], name: str, *, escaped: bool = False) -> str:
    again = f"\\u{ord(name[0]):04x}{name[1:]}" if escaped else name
    return f'{compact(claims)[:-1]},"{again}":{compact(claims[name])}}}'


def _audiences() -> Iterator[tuple[str, Attack]]:
    """Audiences in other orders, numbers and forms, and URLs that two readers read differently (RFC 8725, 3.9)."""
    forms: dict[str, Callable[[str], Any]] = {
        "the server alone": lambda s: s,
        "a text with commas": lambda s: f"{s},k-mcp,{ISSUER}",
        "empty": lambda _: [],
        "null in a list": lambda _: [None, None, None],
        "two": lambda s: [s, "k-mcp"],
        "four": lambda s: [s, "k-mcp", ISSUER, "x"],
        "the server twice": lambda s: [s, s, "k-mcp"],
        "gateway first": lambda s: ["k-mcp", s, ISSUER],
        "gateway last": lambda s: [s, ISSUER, "k-mcp"],
        "turned round": lambda s: [ISSUER, "k-mcp", s],
        "default first": lambda s: [ISSUER, s, "k-mcp"],
        "gateway twice": lambda s: [s, "k-mcp", "k-mcp"],
        "server as third": lambda s: [s, "k-mcp", s],
        "another gateway": lambda s: [s, "K-MCP", ISSUER],
        "a gateway and a space": lambda s: [s, "k-mcp ", ISSUER],
        "a gateway and a null byte": lambda s: [s, "k-mcp\0", ISSUER],
        "another default": lambda s: [s, "k-mcp", "elsewhere"],
        "a list in a list": lambda s: [[s, "k-mcp", ISSUER]],
        "objects": lambda s: [{"url": s}, "k-mcp", ISSUER],
        "an object": lambda s: {"0": s, "1": "k-mcp", "2": ISSUER},
        "numbers": lambda s: [s, 0, ISSUER],
        "an empty text": lambda _: ["", "k-mcp", ISSUER],
    }
    for name, form in forms.items():
        yield f"aud is {name}", lambda f, of=form: f.claiming(aud=of(f.server))
    urls: dict[str, Callable[[str], str]] = {
        "http": lambda s: s.replace("https", "http"),
        "no scheme": lambda s: s.removeprefix("https:"),
        "only a host": lambda s: s.removeprefix("https://"),
        "userinfo": lambda s: s.replace("//", "//me:pass@"),
        "the server as userinfo": lambda s: f"{s}@evil.example",
        "a query": lambda s: f"{s}?x",
        "a fragment": lambda s: f"{s}#x",
        "an empty query": lambda s: f"{s}?",
        "a path": lambda s: f"{s}/k8s",
        "a path upwards": lambda s: f"{s}/..",
        "a path of a dot": lambda s: f"{s}/.",
        "two slashes": lambda s: f"{s}//",
        "a backslash": lambda s: f"{s}\\@evil.example",
        "a space behind": lambda s: f"{s} ",
        "a space in front": lambda s: f" {s}",
        "a tab inside": lambda s: s.replace("127", "1\t27"),
        "a line break": lambda s: f"{s}\n",
        "a null byte": lambda s: f"{s}\0",
        "a percent sign": lambda s: s.replace(".", "%2e", 1),
        "another port": lambda s: f"{s.rpartition(':')[0]}:1",
        "no port": lambda s: s.rpartition(":")[0],
        "port 0": lambda s: f"{s.rpartition(':')[0]}:0",
        "a port too large": lambda s: f"{s.rpartition(':')[0]}:{int(s.rpartition(':')[2]) + 65536}",
        "a port with a zero": lambda s: f"{s.rpartition(':')[0]}:0{s.rpartition(':')[2]}",
        "a port in other digits": lambda s: f"{s.rpartition(':')[0]}:\u0661\u0662",
        "a short address": lambda s: s.replace("127.0.0.1", "127.1"),
        "an address as one number": lambda s: s.replace("127.0.0.1", "2130706433"),
        "an address in octal": lambda s: s.replace("127.0.0.1", "0177.0.0.1"),
        "an address in hexadecimal": lambda s: s.replace("127.0.0.1", "0x7f.0.0.1"),
        "a mapped address": lambda s: s.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        "localhost": lambda s: s.replace("127.0.0.1", "localhost"),
        "a dot at the end": lambda s: s.replace("127.0.0.1", "127.0.0.1."),
        "full-width digits": lambda s: s.replace("1", "\uff11", 1),
        "a soft hyphen": lambda s: s.replace("127", "127\u00ad"),
        "a URL of 3 KiB": lambda s: f"{s}/{'x' * 3000}",
    }
    for name, url in urls.items():
        yield f"aud names {name}", lambda f, of=url: f.claiming(aud=[of(f.server), "k-mcp", ISSUER])


def _texts() -> Iterator[tuple[str, Attack]]:
    """The token's own text: cut, padded, in other alphabets (RFC 7515, section 2)."""
    # Of 86 and of 342 characters, none of these leaves bits of which it hangs on chance whether they are zero.
    for cut in (1, 2, 5, 42, 86, 89, 201):
        yield f"cut by {cut}", lambda f, c=cut: f.signed()[:-c]
        yield f"cut to {cut}", lambda f, c=cut: f.signed()[:c]
    changes: dict[str, Callable[[str], str]] = {
        "one dot": lambda t: t.rpartition(".")[0],
        "a dot behind": lambda t: f"{t}.",
        "a dot in front": lambda t: f".{t}",
        "only dots": lambda _: "..",
        "many dots": lambda _: "." * 9000,
        "four parts": lambda t: f"{t}.AAAA",
        "padding": lambda t: f"{t}==",
        "padding inside": lambda t: t.replace(".", "=.", 1),
        "the standard alphabet": lambda t: f"{t.rpartition('.')[0]}./{t.rpartition('.')[2][1:]}",
        "a letter more": lambda t: f"{t}A",
        "another last letter": lambda t: t[:-1] + ("B" if t[-1] != "B" else "C"),
        "a space inside": lambda t: f"{t[:20]} {t[20:]}",
        "a tab inside": lambda t: f"{t[:20]}\t{t[20:]}",
        "a comma and another": lambda t: f"{t}, {t}",
        "a letter of latin-1": lambda t: f"{t[:20]}\xe9{t[20:]}",
        "a no-break space": lambda t: f"{t}\xa0",
        "another word of Bearer": lambda t: f"Bearer {t}",
        "quotes": lambda t: f'"{t}"',
        "over 16 KiB": lambda t: f"{t}{'A' * 16384}",
        "opaque": lambda _: "0123456789abcdef0123456789abcdef",
        "base64 of nothing": lambda _: "e30.e30.e30",
        "curly": lambda _: "{}.{}.{}",
    }
    for name, change in changes.items():
        yield f"a text with {name}", lambda f, c=change: c(f.signed())
