import io
import json
import logging
import os
import pty
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.errors import GatewayError
from gateway.telemetry.logs import LONGEST, LogOptions, configure_logging, mask

TOKEN = jwt.encode({"sub": "system:serviceaccount:apps:agent"}, "k" * 32, algorithm="HS256")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("mcp", "hypercorn")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def configured(**options: Any) -> io.StringIO:
    """Configure logging into a text, and return that."""
    stream = io.StringIO()
    configure_logging(LogOptions.model_validate(options), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the JSON lines that were written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_where_nobody_watches() -> None:
    """Anything but a terminal gets one JSON object a line, which begins with when, how severe, and what."""
    stream = configured()
    structlog.get_logger("here").info("call", tool="resource_get", seconds=0.25)
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "tool", "seconds"]
    assert (line["level"], line["event"], line["seconds"]) == ("info", "call", 0.25)
    assert line["timestamp"].endswith("Z")


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal a line is text with colours, not JSON."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        configure_logging(LogOptions(), terminal)
        structlog.get_logger().info("call", tool="resource_get")
        shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert "call" in shown
    assert "\x1b[" in shown
    assert not shown.startswith("{")


def test_libraries_speak_in_the_same_form() -> None:
    """A line of a library's stdlib logger is rendered as ours are, with the logger's name."""
    stream = configured()
    logging.getLogger("aiohttp.client").warning("slow %s", "answer")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("slow answer", "warning", "aiohttp.client")


@pytest.mark.parametrize("level", ["debug", "info"])
def test_chatty_libraries_are_heard_when_it_matters(level: str) -> None:
    """The SDK's and hypercorn's INFO lines, and every library's DEBUG lines, which show headers, are never written."""
    stream = configured(level=level)
    for name in ("mcp.server.lowlevel.server", "hypercorn.error"):
        logging.getLogger(name).info("Processing request")
        logging.getLogger(name).warning("odd request")
    logging.getLogger("hpack.hpack").debug("Decoded authorization")
    structlog.get_logger().debug("ours")
    written = [line["event"] for line in lines(stream)]
    assert written == ["odd request", "odd request", *(["ours"] if level == "debug" else [])]


def test_less_severe_lines_are_left_out() -> None:
    """`level: warning` leaves out what is less, of ours and of the libraries'."""
    stream = configured(level="WARN")
    structlog.get_logger().info("call")
    logging.getLogger("quart.app").info("call")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "pretty"])
@pytest.mark.parametrize(
    "event",
    [
        {"event": f"got Bearer {TOKEN}"},
        {"event": "x", "header": f"Authorization: bearer\t{TOKEN}"},
        {"event": "x", "headers": {"authorization": [f"Bearer {TOKEN}"]}},
        {"event": "x", "raw": [(b"authorization", b"Bearer " + TOKEN.encode())]},
        {"event": "x", "opaque": "Bearer abcdefghijklmnop/qrstu+v=="},
        {"event": "x", TOKEN: "as a key"},
        {"event": "x", "exception": f"ValueError: {TOKEN}"},
        {"event": "x", "url": f"https://gateway.example/?token={TOKEN}"},
    ],
    ids=["event", "header", "nested", "bytes", "opaque", "key", "exception", "query"],
)
def test_no_token_is_written(form: str, event: dict[str, Any]) -> None:
    """Whatever a token is wrapped in, and whoever logs it, it is masked."""
    stream = configured(format=form)
    structlog.get_logger().warning(**event)
    logging.getLogger("aiohttp").warning("%s", event)
    written = stream.getvalue()
    assert written.count("[masked]") >= 2
    assert TOKEN.split(".")[1] not in written
    assert "abcdefghijklmnop" not in written
    if form == "json":
        assert len(lines(stream)) == 2


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_exceptions_show_no_local_variables(form: str) -> None:
    """A traceback is written without the values that the code held, and its message is masked."""
    stream = configured(format=form)

    def fails(secret: str) -> None:
        held = secret[::-1]
        raise ValueError(f"bad token {secret}, {held[:0]}over")

    for log in (structlog.get_logger().exception, logging.getLogger("aiohttp").exception):
        try:
            fails(TOKEN)
        except ValueError:
            log("failed")
    written = stream.getvalue()
    assert written.count("in fails") == 2
    assert written.count("bad token [masked], over") == 2
    assert TOKEN[::-1][:40] not in written


def test_a_failure_for_people_has_no_traceback() -> None:
    """A failure whose text says what to do is logged with that text alone."""
    stream = configured()
    for log in (structlog.get_logger().error, logging.getLogger("gateway").error):
        log("failed", exc_info=GatewayError("port 9464 is in use"))
    for line in lines(stream):
        assert line["error"] == "port 9464 is in use"
        assert "exception" not in line


def test_a_terminal_obeys_nobody_who_is_logged() -> None:
    """Control characters of a value are escaped, so that a caller can't repaint the operator's screen."""
    stream = configured(format="pretty")
    structlog.get_logger().warning("refused", user="\x1b[2J\x1b[31mroot", name="a\rlevel=info")
    assert "\x1b[2J" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "no Bearer token was sent",
        "Bearer realm: k-mcp",
        "kube-apiserver",
        "pods/eyebrow",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_plain_words_stay(text: str) -> None:
    """What is no token is written as it is."""
    assert mask(text) == text


@given(st.text())
def test_masking_takes_any_text(text: str) -> None:
    """Masking never fails, and what it leaves has nothing more to mask."""
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("text", ["eyJ" * 200_000, "Bearer " * 100_000, "bearer" + " " * 500_000, "eyJhbGci." * 60_000])
def test_masking_is_quick_for_any_text(text: str) -> None:
    """A caller can't make a log line cost more than its length."""
    started = time.process_time()
    mask(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("bad", [{"level": "loud"}, {"level": 10}, {"format": "xml"}])
def test_log_options_are_a_fixed_few(bad: dict[str, Any]) -> None:
    """A level or format that does not exist is refused."""
    with pytest.raises(ValidationError):
        LogOptions.model_validate(bad)


@pytest.mark.parametrize("at", range(LONGEST // 2 - 300, LONGEST // 2 + 20, 30))
def test_a_line_is_bounded_and_no_cut_uncovers_a_token(at: int) -> None:
    """Whatever a caller makes the gateway fail with, a line keeps its ends and is JSON, without half a token in it."""
    stream = configured()
    text = f"{'a' * at} Bearer {TOKEN} {'b' * 400_000} Bearer {TOKEN} {'a' * at} the end"
    structlog.get_logger().error("failed", why=text)
    logging.getLogger("library").error("also", exc_info=KeyError(text))
    for line in stream.getvalue().splitlines():
        assert len(line) < 2 * LONGEST
        assert "the end" in line
        assert "more characters" in line
        assert json.loads(line)
        assert not any(part[:20] in line or part[-20:] in line for part in TOKEN.split("."))
