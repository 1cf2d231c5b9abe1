"""Boundary to CA bundles: where a cluster's comes from, when its file changed, and the TLS context made of it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import structlog

from gateway.clusters.options import ClusterOptions

_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at a CA file's modification time."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A CA bundle: PEM text (empty: the system's roots) and its SHA-256 in hexadecimal. `verify` is off if insecure."""

    pem: str
    digest: str
    verify: bool = True


@dataclass(slots=True)
class _Seen:
    """A CA file: when it was looked at, what it was when it was good, the bundle of then, and what is wrong now."""

    looked: float = -inf
    stamp: tuple[int, int, int] | None = None
    bundle: Bundle | None = None
    problem: str = ""


def bundle_from(pem: str, *, verify: bool = True) -> Bundle:
    """Check that the PEM text holds at least one certificate and wrap it; empty text means the system's roots.

    Raises:
        ValueError: There is no certificate in it that TLS could use.
    """
    if pem:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
        except (ssl.SSLError, TypeError) as error:  # TypeError: text that is not ASCII
            message = "no usable PEM certificate in the CA bundle"
            raise ValueError(message) from error
    return Bundle(pem, sha256(f"{verify}\n{pem}".encode()).hexdigest(), verify)


class TrustStore:
    """Each listed cluster's current CA bundle, and one TLS context a bundle, shared by the clusters that use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start empty; `clock` counts seconds."""
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}
        self._fixed: dict[tuple[str, bool], Bundle] = {}
        self._contexts: WeakValueDictionary[str, ssl.SSLContext] = WeakValueDictionary()
        self._ends: dict[tuple[str, str], float] = {}

    def bundle(self, cluster: ClusterOptions) -> Bundle:
        """Return the bundle as it is now; a file is looked at once a second and read again when it changed.

        A changed file that can't be used keeps the last good bundle, and is logged once.

        Raises:
            ValueError: There is no good bundle, because the file never could be read or held no usable certificate.
        """
        if cluster.certificate_authority is not None:
            return self._from_file(cluster.certificate_authority, cluster.name)
        given = (cluster.certificate_authority_data or "", cluster.insecure)
        if (fixed := self._fixed.get(given)) is None:
            fixed = self._fixed[given] = bundle_from(given[0], verify=not cluster.insecure)
        return fixed

    def _from_file(self, path: Path, name: str) -> Bundle:
        now = self._clock()
        if (seen := self._seen.get(path)) is None:
            seen = self._seen[path] = _Seen()
        if now - seen.looked >= _LOOK_AGAIN:
            seen.looked = now
            _look(seen, path, name)
        if seen.bundle is None:
            raise ValueError(seen.problem)
        return seen.bundle

    def context(self, bundle: Bundle) -> ssl.SSLContext:
        """Return the TLS context that trusts just this bundle."""
        if (context := self._contexts.get(bundle.digest)) is None:
            context = ssl.create_default_context(cadata=bundle.pem or None)
            if not bundle.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            # Many clusters' own CAs lack the key usage extensions that Python 3.13 asks for by default.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            context.sslobject_class = _noting(bundle.digest, self._ends)
            self._contexts[bundle.digest] = context
        return context

    def certificate_ends(self, cluster: ClusterOptions, digest: str) -> float | None:
        """Return when the certificate last shown under this bundle and the cluster's name ends, as Unix time."""
        name = cluster.tls_server_name or urlsplit(cluster.address or cluster.server).hostname or ""
        return self._ends.get((digest, name))


def _noting(digest: str, ends: dict[tuple[str, str], float]) -> type[ssl.SSLObject]:
    """Return a TLS connection's class that notes, once its handshake is done, when the other side's certificate ends.

    aiohttp lets go of the connection of a short answer before anybody could ask it.
    """

    class Noting(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            certificate = self.getpeercert() or {}
            if isinstance(end := certificate.get("notAfter"), str):
                ends[digest, self.server_hostname or ""] = ssl.cert_time_to_seconds(end)

    return Noting


def _look(seen: _Seen, path: Path, name: str) -> None:
    problem = ""
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != seen.stamp:
            # An emptied file must not turn into the system's roots.
            seen.bundle = bundle_from(path.read_text(encoding="utf-8") or "\n")
            seen.stamp = stamp
    except (OSError, ValueError) as error:
        problem = str(error)
        if problem != seen.problem:
            kept = "the last good one" if seen.bundle else "nothing"
            _log.error("ca_bundle_unusable", cluster=name, path=str(path), error=problem, kept=kept)
    seen.problem = problem
