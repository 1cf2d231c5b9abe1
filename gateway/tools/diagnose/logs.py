"""Boundary between a container's log and the few lines of it that say what went wrong."""

import re
from collections.abc import Sequence
from typing import Final

MOST_LINES: Final = 3
_MOST_CHARACTERS: Final = 220

_LOUD: Final = re.compile(
    r"panic|fatal|\berror\b|\berr\b|exception|traceback|denied|refused|no such|not found|cannot|can't|failed|unable|"
    r"missing|required|must |timed? ?out|timeout|invalid|killed|no space|in use|read-only",
    re.IGNORECASE,
).search
_ERROR: Final = re.compile(r"panic|fatal|\berror\b|exception", re.IGNORECASE).search
_QUIET: Final = re.compile(r'"?level"?[=:] ?"?(info|debug|trace)|\b(INFO|DEBUG)\b').search
_LAYERS: Final = re.compile(
    r"(rpc error: code = \w+ desc = )|(failed to create (containerd|shim) task|OCI runtime create failed|"
    r"runc create failed|unable to start container process|error during container init): "
).sub
_FRAMES: Final = re.compile(r"^\s+(at |File |/|\^|\.\.\. )|^goroutine |^\t").match
UNREACHED: Final = re.compile(
    r".*(connection refused|ECONNREFUSED)|no such host|name or service not known|could not translate host|ENOTFOUND|"
    r"bad address|no route to host|connection timed out|i/o timeout|temporary failure in name resolution|"
    r"could not connect|can't connect",
    re.IGNORECASE,
).search
"""Finds what programs say when they can't reach another."""


def decisive(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines that matter, at most three, in their order: the last loud ones, or else simply the last."""
    told = [line.strip() for line in lines if line.strip() and not _FRAMES(line)]
    loud = [line for line in told if _LOUD(line) and not _QUIET(line)]
    kept = list(dict.fromkeys(reversed(loud or told)))[: MOST_LINES if loud else 2]
    return tuple(_short(line) for line in reversed(kept))


def loudest(lines: Sequence[str]) -> str:
    """Return the one line to put into a sentence: the first that calls itself an error, or else the last."""
    return next((line for line in lines if _ERROR(line)), lines[-1] if lines else "")


def plain(message: str) -> str:
    """Return what a container runtime says without the names of the layers it came through."""
    return _LAYERS("", message)


def _short(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
