import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from gateway.edge.certificate import ServerCertificate
from gateway.edge.options import TlsOptions
from tests.cluster.pki import Authority, Pair, new_authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Give an authority that clients trust."""
    return new_authority("test")


class Mount:
    """A Secret as Kubernetes mounts it: files that link into a folder, which is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one."""
        self.folder = folder
        self.versions = 0
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data") / name)

    def put(self, certificate: bytes, key: bytes) -> None:
        """Replace both files at once."""
        self.versions += 1
        version = self.folder / f"..version-{self.versions}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        (self.folder / "..next").symlink_to(version.name)
        os.replace(self.folder / "..next", self.folder / "..data")  # noqa: PTH105  # as the kubelet does

    @property
    def options(self) -> TlsOptions:
        """The files as settings name them."""
        return TlsOptions(certificate=self.folder / "tls.crt", key=self.folder / "tls.key")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Give an empty mount."""
    return Mount(tmp_path)


def serial(certificate: bytes | None) -> int:
    """Return which certificate this is."""
    assert certificate
    if certificate.startswith(b"-----"):
        return x509.load_pem_x509_certificate(certificate).serial_number
    return x509.load_der_x509_certificate(certificate).serial_number


@asynccontextmanager
async def echoing(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Echo lines over TLS."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Client:
    """One TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take its two ends."""
        self.reader, self.writer = reader, writer
        self.tls: ssl.SSLObject = writer.get_extra_info("ssl_object")

    async def works(self) -> bool:
        """Tell whether a line comes back."""
        self.writer.write(b"line\n")
        return await self.reader.readline() == b"line\n"


@asynccontextmanager
async def client(port: int, authority: Authority, *, name: str | None = None) -> AsyncIterator[Client]:
    """Connect, with verification; without a name no SNI is sent, as clients do that dial an address."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "127.0.0.1")
    yield Client(reader, writer)
    writer.close()
    await writer.wait_closed()


def serving(authority: Authority) -> Pair:
    """Issue a certificate for this machine."""
    return authority.serving("gateway", ["127.0.0.1", "localhost"])


@pytest.mark.parametrize("name", [None, "localhost"])
async def test_a_renewed_certificate_is_taken(mount: Mount, authority: Authority, name: str | None) -> None:
    """New connections get what was renewed on disk, with or without SNI, and those that are open go on."""
    first, second = serving(authority), serving(authority)
    mount.put(first.certificate, first.key)
    certificate = ServerCertificate(mount.options)
    async with echoing(certificate.context) as port, client(port, authority, name=name) as before:
        assert serial(before.tls.getpeercert(binary_form=True)) == serial(first.certificate)
        mount.put(second.certificate, second.key)
        certificate.refresh()
        async with client(port, authority, name=name) as after:
            assert serial(after.tls.getpeercert(binary_form=True)) == serial(second.certificate)
            assert after.tls.selected_alpn_protocol() == "h2"
            assert await after.works()
        assert await before.works()
    assert not certificate.is_stale


@pytest.mark.parametrize("wrong", ["another key", "no certificate", "empty", "missing"])
async def test_a_bad_pair_changes_nothing(mount: Mount, authority: Authority, wrong: str) -> None:
    """The last good pair serves on; it is said once and is in the metrics until a good pair comes."""
    good, other = serving(authority), serving(authority)
    mount.put(good.certificate, good.key)
    certificate = ServerCertificate(mount.options)
    bad = {
        "another key": (other.certificate, good.key),
        "no certificate": (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", good.key),
        "empty": (b"", b""),
        "missing": (b"", b""),
    }[wrong]
    mount.put(*bad)
    if wrong == "missing":
        (mount.folder / "..data" / "tls.key").unlink()
    with capture_logs() as logs:
        certificate.refresh()
        certificate.refresh()
    assert [(line["event"], line["log_level"]) for line in logs] == [("certificate_not_replaced", "error")]
    assert logs[0]["reason"]
    assert {r.name: r.value for r in certificate.readings()}["tls_certificate_stale"] == 1
    async with echoing(certificate.context) as port:
        async with client(port, authority) as still:
            assert serial(still.tls.getpeercert(binary_form=True)) == serial(good.certificate)
        mount.put(other.certificate, other.key)
        certificate.refresh()
        async with client(port, authority) as after:
            assert serial(after.tls.getpeercert(binary_form=True)) == serial(other.certificate)
    assert {r.name: r.value for r in certificate.readings()}["tls_certificate_stale"] == 0


async def test_files_are_watched(mount: Mount, authority: Authority) -> None:
    """While it is watched, a change is taken without a word from anybody, and the end of the watch is clean."""
    first, second = serving(authority), serving(authority)
    mount.put(first.certificate, first.key)
    certificate = ServerCertificate(mount.options)
    with capture_logs() as logs:
        async with certificate.watching(every=0.01):
            mount.put(second.certificate, second.key)
            async with asyncio.timeout(10):
                while not logs:  # noqa: ASYNC110  # a log has no event
                    await asyncio.sleep(0.01)
    assert logs[0]["event"] == "certificate_replaced"


def test_the_end_is_known(mount: Mount, authority: Authority) -> None:
    """The metric is the end of the first certificate of the chain, which is the gateway's own."""
    pair = serving(authority)
    mount.put(pair.certificate + authority.pem, pair.key)
    end = x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc.timestamp()
    readings = {reading.name: reading.value for reading in ServerCertificate(mount.options).readings()}
    assert readings["tls_certificate_expires_timestamp_seconds"] == end


@pytest.mark.parametrize(
    ("version", "ciphers", "taken"),
    [
        (ssl.TLSVersion.TLSv1_3, None, True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM", False),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256", False),
    ],
)
async def test_only_sound_tls(
    mount: Mount, authority: Authority, version: ssl.TLSVersion, ciphers: str | None, *, taken: bool
) -> None:
    """TLS 1.3, or 1.2 with forward secrecy and authenticated encryption; nothing else (RFC 9325)."""
    pair = serving(authority)
    mount.put(pair.certificate, pair.key)
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    async with echoing(ServerCertificate(mount.options).context) as port:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            assert not taken
        else:
            assert taken
            writer.close()
            await writer.wait_closed()
