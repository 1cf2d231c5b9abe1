"""Boundary between values that are right in themselves and what must hold among them and outside of them."""

import ssl
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509

from gateway.access.sealing import read_ring_file
from gateway.clusters.trust import bundle_from
from gateway.clusters.urls import canonical_url
from gateway.options import is_loopback
from gateway.settings.model import Settings
from gateway.settings.places import Path_, Place, Written, where
from gateway.settings.sources import read_text

NO_CLUSTER = """no cluster is listed, so no token could lead anywhere. List one in the file:
      clusters:
        - name: east
          server: https://east.example:6443        # as the tokens' first audience names it
          certificateAuthority: east-ca.crt        # left out: the system's roots
    or on the command line: --cluster https://east.example:6443 --certificate-authority east-ca.crt"""


def cluster_problems(clusters: Sequence[Written]) -> Iterator[str]:
    """Look at each listed cluster as it was written, whether or not all of it is valid: its CA, and who it doubles."""
    names: dict[str, Place] = {}
    servers: dict[str, Place] = {}
    for cluster in clusters:
        place, data = cluster.place, cluster.data
        if isinstance(name := data.get("name"), str) and (first := names.setdefault(name, place)) is not place:
            yield f"{place.at('name')}: {name!r} is already the name of {first}"
        if (server := _canonical(data.get("server"))) and (first := servers.setdefault(server, place)) is not place:
            yield f"{place.at('server')}: {server} is already listed by {first}; a token could not tell them apart"
        yield from _trust_problems(place, data)


def _canonical(server: object) -> str | None:
    try:
        return canonical_url(server) if isinstance(server, str) else None
    except ValueError:
        return None


def _trust_problems(place: Place, data: dict[str, object]) -> Iterator[str]:
    file, pem = data.get("certificateAuthority"), data.get("certificateAuthorityData")
    if isinstance(file, str | Path):
        try:
            _certificate(read_text(Path(file)))
        except ValueError as error:
            yield f"{place.at('certificateAuthority')}: {file} {error}"
    if isinstance(pem, str):
        try:
            _certificate(pem)
        except ValueError as error:
            hint = "; base64, as in a kubeconfig, has to be decoded first" if pem.startswith("LS0t") else ""
            yield f"{place.at('certificateAuthorityData')}: {error}{hint}"


def _certificate(pem: str) -> None:
    # bundle_from takes an empty text for "the system's roots", which nobody means who names a file.
    if "-----BEGIN" not in pem:
        raise ValueError("holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
    if not pem.isascii():
        raise ValueError("holds characters that are not ASCII; keep just the certificates")
    if _is_certificate(pem):
        return
    try:
        bundle_from(pem)
    except ValueError as error:
        raise ValueError("holds no PEM certificate that can be used") from error


def _is_certificate(pem: str) -> bool:
    """Whether these are certificates of the usual kind: found out in a fiftieth of the time that OpenSSL takes."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return bool(x509.load_pem_x509_certificates(pem.encode()))
        except ValueError:
            return False


def listener_problems(settings: Settings, sources: list[Written], failed: Sequence[Path_]) -> Iterator[str]:
    """Look at both listeners together, leaving out what hangs on a value that failed by itself."""

    def sound(*paths: Path_) -> bool:
        return not any(path[: len(bad)] == bad or bad[: len(path)] == path for path in paths for bad in failed)

    host, port, tls = ("listen", "host"), ("listen", "port"), ("listen", "tls")
    listen, admin = settings.listen, settings.admin
    encrypted = listen.tls is not None or listen.behind_tls_proxy
    if sound(host, tls, ("listen", "behindTlsProxy")) and not encrypted and not is_loopback(listen.host):
        yield (
            f"{where(host, sources)}: beyond this machine, tokens need TLS: set listen.tls (certificate and key), or "
            f"listen.behindTlsProxy: true where a proxy in front terminates it; found {listen.host}"
        )
    if sound(port, ("admin", "port")) and listen.port == admin.port != 0:
        yield f"listen.port and admin.port: expected two ports; both are {listen.port}"


def sealing_problems(merged: dict[str, Any], sources: list[Written]) -> Iterator[str]:
    """Look at the file of sealing keys, if one is named."""
    file = merged.get("sealingKeys")
    if isinstance(file, str | Path):
        try:
            read_ring_file(Path(file))
        except ValueError as error:
            yield f"{where(('sealingKeys',), sources)}: {file} {error}"


def tls_problems(merged: dict[str, Any], sources: list[Written]) -> Iterator[str]:
    """Look at the endpoint's own certificate and key as they were written, whether or not both were."""
    listen = merged.get("listen")
    tls = listen.get("tls") if isinstance(listen, dict) else None
    files = {name: tls.get(name) for name in ("certificate", "key")} if isinstance(tls, dict) else {}
    readable: list[Path] = []
    for name, path in files.items():
        if isinstance(path, str | Path):
            try:
                read_text(Path(path))
                readable.append(Path(path))
            except ValueError as error:
                yield f"{where(('listen', 'tls', name), sources)}: {path} {error}"
    if len(readable) < 2:  # noqa: PLR2004
        return
    try:
        # An empty password: a key that needs one would otherwise be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(readable[0], readable[1], password="")
    except (ssl.SSLError, OSError) as error:
        reason = (getattr(error, "reason", None) or "unreadable").lower().replace("_", " ")
        place = where(("listen", "tls"), sources)
        yield f"{place}: expected a PEM certificate chain and its unencrypted private key ({reason})"
