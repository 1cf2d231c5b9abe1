"""Boundary to a file that lines are appended to and that never grows over its bounds."""

import os
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

_MODE: Final = 0o640
"""Whoever collects logs reads by group; nobody else does."""


class Lines:
    """Appends whole lines to a file descriptor, one write each, so that none waits in a buffer of this process."""

    def __init__(self, descriptor: int) -> None:
        """Write there; whoever opened it closes it."""
        self._descriptor = descriptor
        self._is_torn = False

    def write(self, line: bytes) -> None:
        """Append a line, which ends with its line feed.

        Raises:
            OSError: It could not be written, or not all of it; the next one begins a line of its own.
        """
        if self._is_torn:
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        while written < len(line):
            self._is_torn = True
            written += os.write(self._descriptor, line[written:])
        self._is_torn = False


class RotatedFile:
    """A file of at most `max_bytes`, and `keep` older ones beside it: `name.1` is the newest of them.

    One process writes it. Rotating is a few renames.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Open the file, and append to what is there.

        Raises:
            GatewayError: It can't be written.
        """
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        try:
            self._open()
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise GatewayError(f"can't write the audit trail to {path}: {reason}; see audit.path") from error

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        self._size = os.fstat(self._descriptor).st_size
        self._lines = Lines(self._descriptor)

    def write(self, line: bytes) -> None:
        """Append a line, in a new file where it would not fit any more.

        Raises:
            OSError: It could not be written.
        """
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        self._lines.write(line)
        self._size += len(line)

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if (older := self._numbered(number)).exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        full = self._descriptor
        self._open()
        os.close(full)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)
