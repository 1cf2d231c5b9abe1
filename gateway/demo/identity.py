"""The boundary of the embedded cluster's trust: its CA, serving certificates and service-account tokens.

Keys are EC P-256, which cost a fraction of a millisecond each, so that hundreds of clusters start quickly.
"""

import base64
import contextlib
import hashlib
import ipaddress
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://kubernetes.default.svc"
"""Every cluster's issuer string, equal for all of them, as all kind clusters have it."""

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

REMEMBERED = 1000
"""Tokens whose checked signature a cluster remembers."""

_DAY = timedelta(days=1)


def new_ec_key() -> ec.EllipticCurvePrivateKey:
    """Make a key for ES256."""
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> rsa.RSAPrivateKey:
    """Make a key for RS256; takes about 50 ms."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@contextlib.contextmanager
def _piped(content: bytes) -> Iterator[str]:
    """Give a path from which this content can be read once; it must fit a pipe's buffer."""
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
        os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> "Authority":
        """Make a CA valid for ten years."""
        key = new_ec_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}-ca")])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def pem(self) -> bytes:
        """Return the CA bundle."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def serving_context(self, *, days: int = 365) -> ssl.SSLContext:
        """Return a server-side TLS context for 127.0.0.1 with a new certificate, which ends in so many days."""
        key = new_ec_key()
        now = datetime.now(UTC)
        names = [x509.DNSName(name) for name in ("localhost", "kubernetes", "kubernetes.default.svc")]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *names]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The ssl module reads keys from files only; a pipe is one that never reaches a disk.
        with _piped(chain) as chain_file, _piped(secret) as secret_file:
            context.load_cert_chain(chain_file, secret_file)
        return context


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A service-account signing key with the key id the real server would give it."""

    private: SigningKey
    kid: str
    algorithm: str

    @classmethod
    def of(cls, private: SigningKey) -> "TokenKey":
        """Name a key: the unpadded base64url SHA-256 of its public key in DER."""
        der = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        kid = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        return cls(private, kid, "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256")

    def jwk(self) -> dict[str, Any]:
        """Return the public half as the real server publishes it (RFC 7517)."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        public: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return {"use": "sig", **public, "kid": self.kid, "alg": self.algorithm}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys a cluster accepts; the first one signs."""

    accepted: tuple[TokenKey, ...]
    _known: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)
    """The claims of tokens whose signature was checked before, as a real server remembers them for a while."""

    def sign(
        self,
        claims: Mapping[str, Any],
        headers: Mapping[str, Any] | None = None,
        key: Any = None,
        algorithm: str | None = None,
    ) -> str:
        """Sign claims as they are; headers replace the key id; another key, or `none`, makes a bad token."""
        mine = self.accepted[0]
        return jwt.encode(
            dict(claims),
            mine.private if key is None and algorithm != "none" else key,
            algorithm=algorithm or mine.algorithm,
            headers={"kid": mine.kid} if headers is None else dict(headers),
        )

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that one of the keys signed, whose times hold and which is for this API."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._checked(token)
            if claims is not None and len(self._known) < REMEMBERED:
                self._known[token] = claims
        return claims if claims is not None and claims["exp"] > time.time() else None

    def _checked(self, token: str) -> dict[str, Any] | None:
        for key in self.accepted:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.private.public_key(),
                    algorithms=[key.algorithm],
                    issuer=ISSUER,
                    options={"verify_aud": False, "require": ["exp", "sub"]},
                )
            except jwt.InvalidTokenError:
                continue
            audiences = claims.get("aud")
            return claims if ISSUER in (audiences if isinstance(audiences, list) else [audiences]) else None
        return None

    def jwks(self) -> dict[str, Any]:
        """Return the JWK set."""
        return {"keys": [key.jwk() for key in self.accepted]}
