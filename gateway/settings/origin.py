"""Boundary between settings in use and where they came from, to be read again: files and flags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.settings.load import load_settings
from gateway.settings.model import Settings

Stamp = tuple[tuple[str, int, int, int], ...]
"""Each file's path, inode, time of modification in nanoseconds, and size; a file that is not there has zeros."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The settings file, if there is one, and what flags said."""

    file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Settings:
        """Read and check everything again.

        Raises:
            SettingsError: There are mistakes, all of which it names.
        """
        return load_settings(self.file, self.overrides)

    def stamp(self, settings: Settings) -> Stamp:
        """Return what changes whenever one of the files does, also where a link on the way to it is what changes.

        Kubernetes swaps such a link, `..data`, when a mounted ConfigMap changes.
        """
        files = [] if self.file is None else [self.file]
        if settings.clusters_directory is not None:
            try:
                files += sorted(settings.clusters_directory.iterdir())
            except OSError:
                files.append(settings.clusters_directory)
        return tuple(_seen(file) for file in files)


def _seen(file: Path) -> tuple[str, int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return str(file), 0, 0, 0
    return str(file), status.st_ino, status.st_mtime_ns, status.st_size
