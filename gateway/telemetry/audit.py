"""Boundary to the audit trail: one record per Kubernetes request a caller caused, refusals included."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Protocol, Self

import orjson
import structlog
from pydantic import Field, model_validator

from gateway.options import Options
from gateway.telemetry.files import Lines, RotatedFile
from gateway.telemetry.logs import json_writer, mask

UNSENT: Final = 0
"""The status of a request that never left, or was never answered."""

_UNAUTHORIZED: Final = 401
_STDOUT: Final = 1
_LONG_LINE: Final = 8 * 1024
_LONG_VALUE: Final = 512
"""Bytes of a line over which its values are cut to so many characters: what a caller typed may be megabytes."""
_SILENCE: Final = 10.0
"""Seconds between two words in the log on records that were lost."""

_log = structlog.get_logger(__name__)


class AuditOptions(Options):
    """Where audit records go: with the log, to standard output, or to a file that is rotated at `max_bytes`."""

    to: Literal["log", "stdout", "file"] = "log"
    path: Path | None = None
    max_bytes: Annotated[int, Field(ge=64 * 1024, le=2**40)] = 100 * 2**20
    keep: Annotated[int, Field(ge=1, le=100)] = 5

    @model_validator(mode="after")
    def _just_a_file_is_named(self) -> Self:
        if (self.to == "file") != (self.path is not None):
            message = "give a path with `to: file`, and only then"
            raise ValueError(message)
        return self


def _now() -> datetime:
    return datetime.now(UTC)


# Not frozen: making a frozen one takes longer than writing it.
@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """Who asked which cluster for what, and what came of it. Never a token, never a payload.

    The fields are written under their names, in this order. `confirmation` is whose word a write had: `person`, `plan`,
    or `none` where the policy wants none; it is empty where none was needed. `bytes` and `ms` are those of the API
    server's answer, and `api_audit_id` names the record in its own audit log. A token that was refused is a record of
    another `event`, with nothing in it that the token claims; `source` is where that came from.
    """

    timestamp: datetime = field(default_factory=_now)
    level: str = "info"
    event: str = "kubernetes_request"
    request_id: str
    issuer: str
    subject: str
    token_id: str
    cluster: str
    tool: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    dry_run: bool = False
    confirmation: str = ""
    decision: str
    status: int
    bytes: int
    ms: float
    api_audit_id: str
    source: str = ""


def unauthenticated(request_id: str, reason: str, source: str) -> AuditRecord:
    """Return the record of a request without an acceptable token."""
    return AuditRecord(
        event="unauthenticated",
        request_id=request_id,
        issuer="",
        subject="",
        token_id="",
        cluster="",
        tool="",
        verb="",
        group="",
        resource="",
        subresource="",
        namespace="",
        name="",
        decision=reason,
        status=_UNAUTHORIZED,
        bytes=0,
        ms=0.0,
        api_audit_id="",
        source=source,
    )


class Auditor(Protocol):
    """Where audit records go."""

    def __call__(self, record: AuditRecord, /) -> None:
        """Take one record; must not block."""


class AuditTrail:
    """Writes each record as one line of JSON, before the answer to the caller goes out. Enter it to use it.

    A record that can't be written (the disk is full) is counted in `lost` and told in the log, and calls are served on:
    the API server's own audit log has the request as well, and a full disk must not end everybody's work.
    """

    def __init__(self, options: AuditOptions, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet. `clock` counts seconds."""
        self._options = options
        self._clock = clock
        self._write: Callable[[bytes], None] | None = None
        self._file: RotatedFile | None = None
        self._told = -_SILENCE
        self._failing = False
        self.lost = 0

    def __enter__(self) -> Self:
        """Open what is written to. Configure logging before.

        Raises:
            GatewayError: The file can't be written.
        """
        options = self._options
        if options.path is not None:
            self._file = RotatedFile(options.path, max_bytes=options.max_bytes, keep=options.keep)
            self._write = self._file.write
        elif options.to == "stdout":
            self._write = Lines(_STDOUT).write
        else:
            self._write = json_writer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __call__(self, record: AuditRecord, /) -> None:
        """Write one record, or count it as lost."""
        if self._write is None:
            _to_person(record)
            return
        try:
            self._write(line_of(record))
        except OSError as error:
            self._lose(error)
        else:
            if self._failing:
                self._failing = False
                _log.warning("audit_resumed", lost=self.lost)

    def _lose(self, error: OSError) -> None:
        self._failing = True
        self.lost += 1
        if self._clock() - self._told >= _SILENCE:
            self._told = self._clock()
            _log.error("audit_lost", lost=self.lost, error=error.strerror or type(error).__name__)


def line_of(record: AuditRecord) -> bytes:
    """Return the record as one line of JSON, in which nothing looks like a token."""
    try:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # what was typed holds half a character, as JSON may
        line = json.dumps(asdict(record), default=str).encode() + b"\n"
    if len(line) > _LONG_LINE:
        entry: dict[str, Any] = asdict(record)
        cut: dict[str, Any] = {
            name: f"{value[: _LONG_VALUE - 1]}…" for name, value in entry.items() if len(str(value)) > _LONG_VALUE
        }
        if cut:
            return line_of(replace(record, **cut))
    # The rest is the settings', or was vouched for by the cluster; searching the whole line takes as long as making it.
    typed = f"{record.name} {record.namespace} {record.resource} {record.group} {record.subresource}"
    if "eyJ" in typed or "bearer" in typed.lower():
        line = mask(line.decode()).encode()
    return line


def _to_person(record: AuditRecord) -> None:
    """Write a record to the log as a person reads it, at the level that it has."""
    entry: dict[str, Any] = asdict(record)
    for key in ("timestamp", "level"):
        del entry[key]
    _log.info(entry.pop("event"), **{name: value for name, value in entry.items() if value not in {"", False}})
