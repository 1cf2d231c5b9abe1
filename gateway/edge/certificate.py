"""Boundary to the files of the endpoint's certificate, which somebody renews while the gateway serves."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from gateway.edge.options import TlsOptions
from gateway.telemetry.metrics import Reading

EVERY: Final = 5.0
"""Seconds between two looks at the files."""
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2's ciphers with forward secrecy and authentication (RFC 9325); TLS 1.3 has no others."""

_log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class ServerCertificate:
    """The certificate that new connections get: the last pair in the files that could be used."""

    def __init__(self, files: TlsOptions) -> None:
        """Read the files.

        Raises:
            OSError: They can't be read.
            ValueError: They are no certificate chain and its unencrypted private key (an ssl.SSLError is an OSError).
        """
        self._files = files
        self._seen = _stamp(files)
        self._current, self.expires_at = _load(files)
        self.is_stale = False
        """Whether the files hold something newer that can't be used."""
        # What is listened with stays, and hands each handshake to what is current: a pair comes into use as a whole,
        # and a pair that does not fit never replaces half of one that did.
        self.context, _ = _load(files)
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Take what is in the files, if that changed; what can't be used changes nothing, and is said."""
        try:
            seen = _stamp(self._files)
            if seen == self._seen:
                return
            self._seen = seen
            self._current, self.expires_at = _load(self._files)
        except (OSError, ValueError) as error:
            if not self.is_stale:
                _log.error("certificate_not_replaced", file=str(self._files.certificate), reason=_words(error))
            self.is_stale = True
            return
        self.is_stale = False
        _log.info("certificate_replaced", file=str(self._files.certificate), expires_at=int(self.expires_at))

    @asynccontextmanager
    async def watching(self, every: float = EVERY) -> AsyncIterator[None]:
        """Refresh every so many seconds, as long as the context lasts."""
        watch = asyncio.create_task(self._watch(every), name="certificate-watch")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self.refresh()

    def readings(self) -> Iterator[Reading]:
        """Say when the certificate in use expires, and whether a newer one could not be taken."""
        yield Reading("tls_certificate_expires_timestamp_seconds", self.expires_at)
        yield Reading("tls_certificate_stale", self.is_stale)

    def _choose(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002
        connection.context = self._current


def _load(files: TlsOptions) -> tuple[ssl.SSLContext, float]:
    """Return a context for the pair, and when its certificate expires, in seconds since the epoch."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 or later
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # An empty password: a key that needs one would otherwise be asked for at the terminal.
    context.load_cert_chain(files.certificate, files.key, password="")
    first = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
    return context, first.not_valid_after_utc.timestamp()


def _stamp(files: TlsOptions) -> Stamp:
    """Return what changes with the files, also where a link to them is what changes."""
    return tuple(_stamp_of(path) for path in (files.certificate, files.key))


def _stamp_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")
