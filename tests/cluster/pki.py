"""Boundary to cryptography: a test cluster's keys, certificates (RFC 5280) and signed tokens (RFC 7515)."""

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=30)
HMAC_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that exists for one test cluster."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The CA certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def serving(self, common_name: str, hosts: Sequence[str], *, until: datetime.datetime | None = None) -> Pair:
        """Issue a certificate for a server that is reached by these names and addresses; it may have expired."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue(_name(common_name), ExtendedKeyUsageOID.SERVER_AUTH, names, until=until)

    def client(self, user: str, group: str | None = None) -> Pair:
        """Issue a certificate that Kubernetes takes for this user and group."""
        return self._issue(_name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        *extensions: x509.ExtensionType,
        until: datetime.datetime | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self.certificate.subject, key.public_key(), until)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return Pair(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM), _private_pem(key))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key with which an API server signs the tokens of service accounts."""

    key: rsa.RSAPrivateKey

    @property
    def id(self) -> str:
        """The key id as Kubernetes forms it: SHA-256 of the public key's DER form."""
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _base64url(hashlib.sha256(der).digest())

    @property
    def private_pem(self) -> bytes:
        """The private key as PEM, for the API server and the controller manager."""
        return _private_pem(self.key)

    @property
    def public_pem(self) -> bytes:
        """The public key as PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def new_authority(name: str) -> Authority:
    """Make a new certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
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
    builder = _builder(subject, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def new_signing_key() -> SigningKey:
    """Make a new key for the tokens of service accounts."""
    return SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def sign(claims: Mapping[str, object], headers: Mapping[str, object], key: object, algorithm: str) -> str:
    """Return a compact JWS (RFC 7515) of exactly these claims and headers, however wrong they are.

    A JWT library refuses to make most of what an attack is tested with: `none`, or HS256 keyed by a public key's PEM.
    """
    parts = ({"alg": algorithm, **headers}, claims)
    signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_base64url(_signature(signed.encode(), key, algorithm))}"


def _signature(signed: bytes, key: object, algorithm: str) -> bytes:
    if algorithm.lower() == "none":
        return b""
    if algorithm in HMAC_HASHES:
        assert isinstance(key, bytes), "an HMAC key is bytes"
        return hmac.new(key, signed, HMAC_HASHES[algorithm]).digest()
    return jwt.get_algorithm_by_name(algorithm).sign(signed, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    until: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    until = until or now + LIFETIME
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, until) - datetime.timedelta(minutes=5))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
