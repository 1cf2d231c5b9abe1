import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.clusters.options import ClusterOptions
from gateway.clusters.trust import TrustStore, bundle_from
from gateway.demo.identity import Authority
from tests.workbench import Clock

OLD, NEW = Authority.new("old").pem(), Authority.new("new").pem()


@pytest.fixture
def clock() -> Clock:
    """Give the store's clock."""
    return Clock()


@pytest.fixture
def current(clock: Clock) -> Callable[[Path], str]:
    """Give a way to read, a second later, which PEM text a file's cluster is trusted by."""
    trust = TrustStore(clock)

    def read(path: Path) -> str:
        clock.forward(1)
        return trust.bundle(ClusterOptions(name="a", server="https://a.example", certificate_authority=path)).pem

    return read


def test_a_file_that_changes_is_read_again(current: Callable[[Path], str], tmp_path: Path) -> None:
    """No restart is needed for a new CA."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(OLD)
    assert current(ca) == OLD.decode()
    ca.write_bytes(NEW)
    assert current(ca) == NEW.decode()


def test_a_file_is_looked_at_once_a_second(clock: Clock, tmp_path: Path) -> None:
    """Between two looks the file system is left alone, however many calls there are."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(OLD)
    trust, options = TrustStore(clock), ClusterOptions(name="a", server="https://a.example", certificate_authority=ca)
    assert trust.bundle(options).pem == OLD.decode()
    ca.write_bytes(NEW)
    clock.forward(0.9)
    assert trust.bundle(options).pem == OLD.decode()
    clock.forward(0.1)
    assert trust.bundle(options).pem == NEW.decode()


@pytest.mark.parametrize(
    "written", [b"", b"\n", NEW[: len(NEW) // 2], OLD + NEW[:100], b"\xff\xfe", b"no certificate", None]
)
def test_a_file_that_is_half_written_keeps_the_last_good_one(
    current: Callable[[Path], str], tmp_path: Path, written: bytes | None
) -> None:
    """What can't be used changes nothing, least of all into trusting everybody; it is logged once, not at each call."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(OLD)
    assert current(ca) == OLD.decode()
    with capture_logs() as logs:
        if written is None:
            ca.unlink()
        else:
            ca.write_bytes(written)
        assert [current(ca) for _ in range(5)] == [OLD.decode()] * 5
    assert [(entry["event"], entry["kept"]) for entry in logs] == [("ca_bundle_unusable", "the last good one")]
    ca.write_bytes(NEW)
    assert current(ca) == NEW.decode()


def test_a_file_that_comes_back_as_it_was_is_good_again(current: Callable[[Path], str], tmp_path: Path) -> None:
    """A file that was away for a while is no new one, and its next absence is logged again."""
    ca, away = tmp_path / "ca.crt", tmp_path / "away"
    ca.write_bytes(OLD)
    current(ca)
    with capture_logs() as logs:
        for _ in range(2):
            ca.rename(away)
            assert current(ca) == OLD.decode()
            away.rename(ca)
            assert current(ca) == OLD.decode()
    assert len(logs) == 2


def test_a_configmap_that_is_swapped_is_read_again(current: Callable[[Path], str], tmp_path: Path) -> None:
    """A kubelet swaps the directory that a mounted file's symbolic link leads through."""
    for name, pem in (("..1", OLD), ("..2", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.crt").write_bytes(pem)
    (tmp_path / "..data").symlink_to("..1")
    ca = tmp_path / "ca.crt"
    ca.symlink_to("..data/ca.crt")
    assert current(ca) == OLD.decode()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert current(ca) == NEW.decode()


def test_a_file_that_never_was_good_is_an_error_until_it_is(current: Callable[[Path], str], tmp_path: Path) -> None:
    """Without any good bundle nobody is trusted, and it is logged once."""
    ca = tmp_path / "ca.crt"
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ValueError, match=r"ca\.crt"):
                current(ca)
    assert [entry["kept"] for entry in logs] == ["nothing"]
    ca.write_bytes(OLD)
    assert current(ca) == OLD.decode()


def test_text_in_the_settings_is_a_bundle_as_well() -> None:
    """A CA given as text is checked as a file is, and stays."""
    options = ClusterOptions(name="a", server="https://a.example", certificate_authority_data=OLD.decode())
    assert TrustStore(Clock()).bundle(options) == bundle_from(OLD.decode())


@pytest.mark.parametrize(
    "pem", ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", " "]
)
def test_what_holds_no_certificate_is_no_bundle(pem: str) -> None:
    """A bundle that TLS could do nothing with is refused when it is read, not when it is needed."""
    with pytest.raises(ValueError, match="no usable PEM certificate"):
        bundle_from(pem)


def test_without_a_ca_the_systems_roots_are_meant() -> None:
    """A public certificate is verified like any other program does."""
    trust = TrustStore(Clock())
    context = trust.context(trust.bundle(ClusterOptions(name="a", server="https://a.example")))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_listed_ca_alone_is_trusted() -> None:
    """With a bundle, the system's roots count for nothing."""
    context = TrustStore(Clock()).context(bundle_from(OLD.decode()))
    assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "old-ca"),),)]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_only_the_word_insecure_turns_verification_off() -> None:
    """It is another bundle than the system's roots, so that nothing made for one is used for the other."""
    trust = TrustStore(Clock())
    insecure = trust.bundle(ClusterOptions(name="a", server="https://a.example", insecure=True))
    assert insecure.digest != bundle_from("").digest
    context = trust.context(insecure)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert trust.context(bundle_from("")).verify_mode == ssl.CERT_REQUIRED


def test_clusters_of_one_ca_share_a_context() -> None:
    """A context takes memory and time, so there is one a bundle, for as long as somebody uses it."""
    trust = TrustStore(Clock())
    context = trust.context(bundle_from(OLD.decode()))
    assert trust.context(bundle_from(OLD.decode())) is context
    assert trust.context(bundle_from(NEW.decode())) is not context
