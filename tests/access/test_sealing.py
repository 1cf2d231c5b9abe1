import os
from base64 import b64encode
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.access.continuation import Continuation
from gateway.access.sealing import MountedKeys, SealingKeys, read_ring
from gateway.errors import BadArgument, GatewayError
from tests.workbench import Clock

OLD, NEW = os.urandom(32), os.urandom(48)


def lines(*keys: bytes) -> str:
    """Return the text of a file with these keys."""
    return "".join(f"{b64encode(key).decode()}\n" for key in keys)


def test_a_file_is_read_line_by_line() -> None:
    """Comments and empty lines say nothing, and longer keys are as good."""
    text = f"# made in May\n\n{lines(NEW).strip()}  # seals\r\n{lines(OLD)}"
    assert read_ring(text) == (NEW, OLD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected 1 to 16 keys"),
        ("# nothing\n", "found 0"),
        (lines(*(os.urandom(32) for _ in range(17))), "found 17"),
        (lines(NEW) + "not base64!\n", "line 2: expected base64"),
        (lines(os.urandom(31)), "line 1: expected at least 32 random bytes"),
        (lines(bytes(32)), "line 1: expected at least 32 random bytes"),
        (lines(b"password" * 8), "line 1: expected at least 32 random bytes"),
        (lines(NEW, OLD, NEW), "line 3: the same key stands there twice"),
    ],
    ids=["empty", "comment", "many", "not-base64", "short", "zeros", "password", "twice"],
)
def test_a_file_is_taken_whole_or_not_at_all(text: str, words: str) -> None:
    """One line that can't be used is a mistake of the file, told by its line and without what stands there."""
    with pytest.raises(ValueError, match=words) as caught:
        read_ring(text)
    assert not any(word in str(caught.value) for word in text.split() if len(word) > 30)


def test_each_use_has_keys_of_its_own() -> None:
    """What seals a plan is no key for continue tokens or request state, nor is the secret itself."""
    keys = SealingKeys([OLD, NEW])
    derived = [key for use in ("plan", "continue", "state") for key in keys.of(use)]
    assert len({*derived, OLD, NEW}) == 8
    assert SealingKeys([OLD, NEW]).of("plan") == keys.of("plan")
    assert SealingKeys().of("plan") != SealingKeys().of("plan")


def test_a_mounted_ring_is_rotated_without_a_restart(tmp_path: Path) -> None:
    """Old behind new and new behind old: nothing that either sealed is lost meanwhile."""
    file, clock = tmp_path / "keys", Clock()
    file.write_text(lines(OLD))
    one, two = (Continuation(MountedKeys(file, clock)) for _ in range(2))
    sealed = one.seal("token", "list")
    assert two.open(sealed, "list") == "token"
    for ring in ((OLD, NEW), (NEW, OLD)):
        file.write_text(lines(*ring))
        clock.forward(2)
        assert two.open(sealed, "list") == "token"
        assert one.open(two.seal("later", "list"), "list") == "later"
    file.write_text(lines(NEW))
    clock.forward(2)
    with pytest.raises(BadArgument):
        two.open(sealed, "list")


def test_a_mounted_secret_that_is_exchanged_is_seen(tmp_path: Path) -> None:
    """Kubernetes changes a volume by pointing a link elsewhere; the file may be as long and as old as before."""
    for name, key in (("first", OLD), ("second", os.urandom(32))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(lines(key))
        os.utime(tmp_path / name / "keys", (1000, 1000))
    (tmp_path / "data").symlink_to("first")
    clock = Clock()
    keys = MountedKeys(tmp_path / "data" / "keys", clock)
    before = keys.of("plan")
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").rename(tmp_path / "data")
    clock.forward(2)
    assert keys.of("plan") != before


def test_a_bad_change_keeps_the_last_good_ring_and_is_told(tmp_path: Path) -> None:
    """Once in the log, for as long as it lasts in the metric, and nothing that was sealed is lost."""
    file, clock = tmp_path / "keys", Clock()
    file.write_text(lines(OLD))
    keys = MountedKeys(file, clock)
    before = keys.of("plan")
    assert keys.is_current
    with capture_logs() as logs:
        for spoil in (lambda: file.write_text(lines(NEW) + "half a li"), file.unlink):
            spoil()
            for _ in range(3):
                clock.forward(2)
                assert keys.of("plan") == before
                assert not keys.is_current
        file.write_text(lines(NEW))
        clock.forward(2)
        assert keys.of("plan") != before
        assert keys.is_current
    assert [entry["event"] for entry in logs] == ["sealing_keys_unusable", "sealing_keys_unusable", "sealing_keys_read"]
    assert not any(b64encode(NEW).decode() in repr(entry) for entry in logs)


def test_a_file_that_was_never_good_is_no_start(tmp_path: Path) -> None:
    """Going on with keys that no replica shares would be found out by the first person who confirms a write."""
    with pytest.raises(GatewayError, match=r"sealingKeys: .* can't be read"):
        MountedKeys(tmp_path / "keys", Clock())
