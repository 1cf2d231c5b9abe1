"""Boundary to the keys that seal what callers carry for the gateway: plans, `continue` tokens, request state.

The first key of a ring seals, every one opens; so a new key is mounted behind the old one first, then before it, and
the old one goes when nothing that it sealed can come back (ten minutes). Each use has keys of its own, derived from
these.
"""

import os
from base64 import b64decode
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Final, Literal, get_args

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import GatewayError

Use = Literal["plan", "continue", "state"]

SHORTEST: Final = 32
"""Bytes that a key must have at least."""
_MOST_KEYS: Final = 16
_MOST_BYTES: Final = 64 * 1024
_FEWEST_VALUES: Final = 16
"""Different byte values that a random key has at least; of 32 random bytes, fewer come in none of 10**12 cases."""
_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at the file's modification time."""

_log = structlog.get_logger(__name__)


def read_ring(text: str) -> tuple[bytes, ...]:
    """Return the keys of a file: one a line, each the base64 of 32 random bytes or more; `#` begins a comment.

    Raises:
        ValueError: Any of it can't be used. The text never repeats what stands there.
    """
    keys: list[bytes] = []
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            key = b64decode(written, validate=True)
        except ValueError:
            raise ValueError(f"line {number}: expected base64, as of: openssl rand -base64 32") from None
        if len(key) < SHORTEST or len(set(key)) < _FEWEST_VALUES:
            raise ValueError(f"line {number}: expected at least {SHORTEST} random bytes: openssl rand -base64 32")
        if key in keys:
            raise ValueError(f"line {number}: the same key stands there twice")
        keys.append(key)
    if not 0 < len(keys) <= _MOST_KEYS:
        raise ValueError(f"expected 1 to {_MOST_KEYS} keys, one a line; found {len(keys)}")
    return tuple(keys)


def read_ring_file(file: Path) -> tuple[bytes, ...]:
    """Return the keys of this file.

    Raises:
        ValueError: It can't be read, or any of it can't be used.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES or not content.isascii():
        raise ValueError(f"expected text of at most {_MOST_BYTES // 1024} KiB")
    return read_ring(content.decode("ascii"))


class SealingKeys:
    """The ring of this process. Other replicas can open nothing that it seals, unless they have the same secrets."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        """Take these secrets; without any, one is made up, which nobody else has and a restart forgets."""
        self.count = 0
        self._derived: dict[Use, tuple[bytes, ...]] = {}
        self._take(secrets or (os.urandom(SHORTEST),))

    @property
    def is_current(self) -> bool:
        """Whether these are the keys that were meant, and not the last good ones."""
        return True

    def of(self, use: Use) -> tuple[bytes, ...]:
        """Return the keys for one use, the one that seals first; the same tuple as long as nothing changes."""
        return self._derived[use]

    def _take(self, secrets: Sequence[bytes]) -> None:
        self.count = len(secrets)
        self._derived = {use: tuple(_derived(secret, use) for secret in secrets) for use in get_args(Use)}


class MountedKeys(SealingKeys):
    """The ring in a file, read again when that changes. A bad change keeps the last good ring, and is told loudly."""

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        """Read the file; `clock` counts seconds.

        Raises:
            GatewayError: It can't be used.
        """
        self._file = file
        self._clock = clock
        self._looked = -inf
        self._stamp: tuple[int, int, int] | None = None
        self._problem = ""
        try:
            super().__init__(read_ring_file(file))
        except ValueError as error:
            raise GatewayError(f"sealingKeys: {file} {error}") from error

    @property
    def is_current(self) -> bool:
        """Whether the file, as it is now, could be used."""
        self._look()
        return not self._problem

    def of(self, use: Use) -> tuple[bytes, ...]:
        """See `SealingKeys`; the file is looked at once a second."""
        self._look()
        return super().of(use)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_AGAIN:
            return
        self._looked = now
        problem = ""
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                first = self._stamp is None
                self._take(read_ring_file(self._file))
                self._stamp = stamp
                if not first:
                    _log.info("sealing_keys_read", path=str(self._file), keys=self.count)
        except (OSError, ValueError) as error:
            problem = str(error)
            if problem != self._problem:
                _log.error("sealing_keys_unusable", path=str(self._file), error=problem, kept="the last good ones")
        self._problem = problem


def _derived(secret: bytes, use: Use) -> bytes:
    """Return the key for one use (HKDF, RFC 5869), so that what one use seals is nothing to another."""
    return HKDF(SHA256(), SHORTEST, salt=None, info=f"kube-mcp-gateway v1 {use}".encode()).derive(secret)
