"""Boundary between `check` and one cluster's network: name, port, certificate, and what it answers, with any token."""

import asyncio
import ssl
import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from gateway.cli.findings import Report, Status
from gateway.clusters.options import ClusterOptions
from gateway.clusters.trust import Bundle, TrustStore
from gateway.errors import GatewayError
from gateway.kube.errors import Forbidden, InvalidToken
from gateway.operator.server import Server

_DAY: Final = 86400
SOON: Final = 14 * _DAY
"""Seconds before its end from which a certificate is worth a warning."""
_ROUNDS: Final = 5


def place(cluster: ClusterOptions) -> tuple[str, int]:
    """Return host and port that are dialled."""
    parts = urlsplit(cluster.address or cluster.server)
    return parts.hostname or "", parts.port or 443


async def reach(cluster: ClusterOptions, trust: TrustStore, report: Report) -> bool:
    """Look at DNS, TCP and TLS, each as the gateway would use it; return whether all of them work."""
    host, port = place(cluster)
    seconds = cluster.limits.connect_seconds
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    except (OSError, TimeoutError) as error:
        report.add("dns", "fail", f"{host} has no address ({getattr(error, 'strerror', None) or 'no answer in time'})")
        return False
    report.add("dns", "ok", ", ".join(sorted({str(one[4][0]) for one in found})))
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        report.add("tcp", "fail", f"{host}:{port} takes no connection: {why}")
        return False
    report.add("tcp", "ok", f"{(time.perf_counter() - began) * 1000:.1f} ms")
    writer.close()
    return await _handshake(cluster, trust, report)


async def ask(server: Server, report: Report, *, with_token: bool) -> None:
    """Look at version, keys, discovery and how long an answer takes."""
    times = []
    version = None
    try:
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            version = (await server.request("GET", "/version")).get("gitVersion")
            times.append(time.perf_counter() - began)
        report.add("version", "ok", str(version))
        report.add("latency", "ok", f"{sorted(times)[_ROUNDS // 2] * 1000:.1f} ms")
    except GatewayError as error:
        report.add("version", *_withheld(error, with_token=with_token))
    for check, looking in (("keys", _keys), ("discovery", _discovery)):
        try:
            report.add(check, "ok", await looking(server))
        except GatewayError as error:
            status, detail = _withheld(error, with_token=with_token)
            if check == "keys" and status == "fail" and isinstance(error, Forbidden):
                status, detail = "warn", "not readable: each token is settled by SelfSubjectReview, once a minute"
            report.add(check, status, detail)


def _withheld(error: GatewayError, *, with_token: bool) -> tuple[Status, str]:
    if not with_token and isinstance(error, Forbidden | InvalidToken):
        return "skip", "needs a token: --token-file FILE"
    return "fail", error.message


async def _keys(server: Server) -> str:
    keys = (await server.request("GET", "/openid/v1/jwks", accept="application/jwk-set+json")).get("keys") or []
    issuer = (await server.request("GET", "/.well-known/openid-configuration")).get("issuer")
    return f"{len(keys)} keys of issuer {issuer}"


async def _discovery(server: Server) -> str:
    groups = (await server.request("GET", "/apis")).get("groups") or []
    return f"{len(groups) + 1} groups"


async def _handshake(cluster: ClusterOptions, trust: TrustStore, report: Report) -> bool:
    try:
        bundle = trust.bundle(cluster)
    except ValueError as error:
        report.add("tls", "fail", f"its CA bundle can't be used: {error}")
        return False
    _look_at_ca(bundle, report)
    problem = ""
    try:
        certificate = await _shown(cluster, trust.context(bundle))
    except ssl.SSLCertVerificationError as error:
        problem = error.verify_message or "the certificate is not trusted"
        certificate = await _shown_unverified(cluster)
    except (ssl.SSLError, OSError, TimeoutError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no answer in time"
        report.add("tls", "fail", f"no TLS there ({str(why).lower().replace('_', ' ')})")
        return False
    about = _described(certificate)
    if problem:
        report.add("tls", "fail", f"{problem.rstrip('.')}; the certificate is {about}{_remedy(problem, cluster)}")
        return False
    if cluster.insecure:
        report.add("tls", "warn", f"not verified (insecure): whoever is in between reads every token; {about}")
        return True
    left = _left(certificate)
    days = "" if left is None else f"{int(left // _DAY)} days"
    report.add("tls", "warn" if left is not None and left < SOON else "ok", about, days)
    return True


def _remedy(problem: str, cluster: ClusterOptions) -> str:
    words = problem.lower()
    if "expired" in words:
        return ". Renew it on the API server"
    if "mismatch" in words or "not valid for" in words:
        return ". Set tlsServerName to one of these names"
    if cluster.certificate_authority is None and cluster.certificate_authority_data is None:
        return ". Set certificateAuthority to the cluster's CA"
    return ". The CA in the settings is not the one that signed it: take it from the kubeconfig again"


def _look_at_ca(bundle: Bundle, report: Report) -> None:
    if not bundle.pem:
        report.add("ca", "ok", "the system's roots")
        return
    ends = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(bundle.pem.encode()))
    left = (ends - datetime.now(UTC)).total_seconds()
    status: Status = "fail" if left < 0 else "warn" if left < SOON else "ok"
    report.add("ca", status, f"{'expired' if left < 0 else 'expires'} {ends:%Y-%m-%d}")


async def _shown(cluster: ClusterOptions, tls: ssl.SSLContext) -> x509.Certificate | None:
    """Return the certificate that the API server shows."""
    host, port = place(cluster)
    async with asyncio.timeout(cluster.limits.connect_seconds):
        _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=cluster.tls_server_name or host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown) if shown else None
    finally:
        writer.close()


async def _shown_unverified(cluster: ClusterOptions) -> x509.Certificate | None:
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname = False
    # Nothing is sent there: this is to say what is wrong with the certificate.
    looking.verify_mode = ssl.CERT_NONE
    try:
        return await _shown(cluster, looking)
    except (OSError, ValueError, TimeoutError):
        return None


def _left(certificate: x509.Certificate | None) -> float | None:
    return None if certificate is None else (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds()


def _described(certificate: x509.Certificate | None) -> str:
    left = _left(certificate)
    if certificate is None or left is None:
        return "not to be seen"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = [str(getattr(name, "value", name)) for name in names]
    except x509.ExtensionNotFound:
        listed = []
    ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    when = f"expired {ends}" if left < 0 else f"expires {ends}, in {int(left // _DAY)} days"
    return f"for {', '.join(listed[:6]) or 'no name'}{' …' if len(listed) > 6 else ''}, {when}"  # noqa: PLR2004
