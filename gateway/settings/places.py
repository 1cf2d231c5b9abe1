"""Boundary between a value and where a person wrote it, so that a mistake can be found again."""

import re
from dataclasses import dataclass
from typing import Any

from gateway.settings.model import PREFIX

ENVIRONMENT = "environment"
COMMAND_LINE = "command line"

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A file (by name), the environment or the command line, and the path of a value in it."""

    source: str
    path: Path_ = ()

    def at(self, *steps: str | int) -> "Place":
        """Return the place so many steps further in."""
        return Place(self.source, self.path + steps)

    def __str__(self) -> str:
        """Spell it as in `gateway.yaml: clusters[1].server`."""
        if not self.path:
            return self.source
        if self.source == ENVIRONMENT:
            names = [
                re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", step).upper() for step in self.path if isinstance(step, str)
            ]
            index = "".join(f"[{step}]" for step in self.path if isinstance(step, int))
            return f"{self.source}: {PREFIX}{'__'.join(names)}{index}"
        spelled = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{self.source}: {spelled.removeprefix('.')}"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written in one place."""

    place: Place
    data: dict[str, Any]


def where(path: Path_, sources: list[Written]) -> Place:
    """Find the source that a value of the merged settings came from: the last that has the most of its path."""

    def depth(source: Written) -> int:
        value: Any = source.data
        for count, step in enumerate(path):
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return count
        return len(path)

    return max(reversed(sources), key=depth).place.at(*path)
