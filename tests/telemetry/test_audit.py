import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from gateway.errors import GatewayError
from gateway.telemetry.audit import UNSENT, AuditOptions, AuditRecord, AuditTrail, line_of
from gateway.telemetry.logs import LogOptions, configure_logging
from tests.workbench import Clock

RECORD = AuditRecord(
    request_id="r-1",
    issuer="https://kubernetes.default.svc",
    subject="system:serviceaccount:demo:mcp",
    token_id="t-1",
    cluster="east",
    tool="resource_apply",
    verb="patch",
    group="apps",
    resource="deployments",
    subresource="",
    namespace="demo",
    name="web",
    dry_run=True,
    confirmation="person",
    decision="allow",
    status=200,
    bytes=2345,
    ms=12.3,
    api_audit_id="a-1",
)
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Leave logging to the next test as it is by default."""
    yield
    structlog.reset_defaults()


def to_file(path: Path, **more: int) -> AuditTrail:
    """Return a trail that goes to the file."""
    return AuditTrail(AuditOptions(to="file", path=path, **more))


def test_a_record_is_one_line_with_everything_in_it(tmp_path: Path) -> None:
    """Whoever reads the trail needs no second source; the file adds to what is there."""
    for _ in range(2):
        with to_file(tmp_path / "audit.jsonl") as trail:
            trail(RECORD)
    first, second = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert first == second
    entry = json.loads(first)
    assert entry == asdict(RECORD) | {"timestamp": entry["timestamp"]}
    assert entry["timestamp"] == RECORD.timestamp.isoformat()
    assert list(entry)[:3] == ["timestamp", "level", "event"]


def test_the_file_is_not_for_everybody(tmp_path: Path) -> None:
    """Who asked what is nobody's business who has just an account on the machine."""
    with to_file(tmp_path / "audit.jsonl"):
        assert (tmp_path / "audit.jsonl").stat().st_mode & 0o007 == 0


def test_beside_the_log_it_has_the_log_s_form() -> None:
    """In JSON it is a line like every other; for people a line that they can read; both only where `info` is shown."""
    stream = io.StringIO()
    configure_logging(LogOptions(format="json"), stream)
    with AuditTrail(AuditOptions()) as trail:
        trail(RECORD)
        structlog.get_logger().info("other")
    ours, other = (json.loads(line) for line in stream.getvalue().splitlines())
    assert list(ours)[:3] == list(other)[:3]
    assert (ours["event"], ours["name"]) == ("kubernetes_request", "web")

    stream = io.StringIO()
    configure_logging(LogOptions(format="pretty"), stream)
    with AuditTrail(AuditOptions()) as trail:
        trail(RECORD)
    assert "kubernetes_request" in stream.getvalue()
    assert "name=web" in stream.getvalue()

    for form in ("json", "pretty"):
        stream = io.StringIO()
        configure_logging(LogOptions.model_validate({"format": form, "level": "warning"}), stream)
        with AuditTrail(AuditOptions()) as trail:
            trail(RECORD)
        assert stream.getvalue() == ""


def test_standard_output_has_nothing_else() -> None:
    """What reads it can take each line for a record, whatever the log's level is."""
    program = (
        "import sys\n"
        "from gateway.telemetry.logs import LogOptions, configure_logging\n"
        "from gateway.telemetry.audit import AuditOptions, AuditTrail\n"
        "from tests.telemetry.test_audit import RECORD\n"
        "configure_logging(LogOptions(format='json', level='error'), sys.stderr)\n"
        "with AuditTrail(AuditOptions(to='stdout')) as trail:\n"
        "    trail(RECORD)\n"
        "    trail(RECORD)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert [json.loads(line)["request_id"] for line in done.stdout.splitlines()] == ["r-1", "r-1"]
    assert done.stderr == ""


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_no_token_gets_in(tmp_path: Path, form: str) -> None:
    """What an agent types as a name may be a token; it is masked wherever records go."""
    record = replace(RECORD, name=TOKEN, namespace="BEARER c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    stream = io.StringIO()
    configure_logging(LogOptions.model_validate({"format": form}), stream)
    with AuditTrail(AuditOptions()) as log, to_file(tmp_path / "audit.jsonl") as file:
        log(record)
        file(record)
    for text in (stream.getvalue(), (tmp_path / "audit.jsonl").read_text()):
        assert "web" not in text
        assert text.count("[masked]") == 2
        assert "eyJ" not in text
        assert "c2Vj" not in text


@pytest.mark.parametrize("name", ["\ud800", "\n\x00", "ü" * 5_000, "\x01" * 2_000_000])
def test_whatever_was_typed_is_one_short_line_of_json(name: str) -> None:
    """A refused request is recorded with what was typed, which may be no text at all, or megabytes of it."""
    line = line_of(replace(RECORD, name=name, namespace=name, resource=name))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) < 16 * 1024
    assert json.loads(line)["name"][:500] == name[:500]


def test_files_are_bounded(tmp_path: Path) -> None:
    """A full file becomes the first of the older ones, of which so many are kept; no line is torn or lost between."""
    path = tmp_path / "audit.jsonl"
    size = len(line_of(RECORD))
    with to_file(path, max_bytes=64 * 1024, keep=2) as trail:
        for number in range(5 * (64 * 1024 // size)):
            trail(replace(RECORD, status=number))
    files = [path.with_name("audit.jsonl.2"), path.with_name("audit.jsonl.1"), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = [json.loads(line)["status"] for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], number + 1))
    assert all(file.stat().st_size <= 64 * 1024 for file in files)


def test_a_full_disk_is_told_and_serving_goes_on(tmp_path: Path) -> None:
    """A record that can't be written is counted; the log says so at most every ten seconds, and when it is over."""
    path, clock = tmp_path / "audit.jsonl", Clock()
    trail = AuditTrail(AuditOptions(to="file", path=path), clock)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with trail, capture_logs() as logs:
        trail(RECORD)
        size = path.stat().st_size
        # No real disk is filled: the kernel refuses what is over this, and Python ignores its signal.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            for _ in range(3):
                trail(RECORD)
            clock.forward(10)
            trail(RECORD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        trail(replace(RECORD, name="after"))
    assert trail.lost == 4
    assert [(each["event"], each["lost"]) for each in logs] == [
        ("audit_lost", 1),
        ("audit_lost", 4),
        ("audit_resumed", 4),
    ]
    assert logs[0]["error"] == os.strerror(27)
    lines = path.read_text().splitlines()
    assert json.loads(lines[0])["name"] == "web"
    assert json.loads(lines[-1])["name"] == "after"


def test_a_file_that_can_t_be_written_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    """It is told in one line, with the setting."""
    with pytest.raises(GatewayError) as raised, to_file(tmp_path / "no" / "audit.jsonl"):
        pass
    path = tmp_path / "no" / "audit.jsonl"
    assert raised.value.message == f"can't write the audit trail to {path}: no such file or directory; see audit.path"


@pytest.mark.parametrize("given", [{"to": "file"}, {"to": "log", "path": "x"}, {"path": "x"}])
def test_a_path_belongs_to_a_file(given: dict[str, str]) -> None:
    """A path that nothing would be written to is a mistake, as is a file without one."""
    with pytest.raises(ValidationError, match="give a path with `to: file`, and only then"):
        AuditOptions.model_validate(given)


def test_the_page_about_it_names_every_field() -> None:
    """Whoever writes a query on the trail finds each field there."""
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text()
    assert [field.name for field in fields(AuditRecord) if f"`{field.name}`" not in page] == []


def test_a_request_that_was_not_sent_has_no_status() -> None:
    """Zero is no HTTP status, so that nobody takes a refusal for an answer."""
    assert UNSENT == 0
