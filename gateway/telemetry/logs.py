"""Boundary to the log: what is written, in which form, and that no token gets into it."""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Annotated, Any, Final, Literal, TextIO

import orjson
import structlog
from pydantic import BeforeValidator

from gateway.errors import GatewayError
from gateway.options import Options

_TOKEN: Final = re.compile(
    r"(?i:(?P<scheme>bearer)(?:[\s:='\",]|\\[nrt]|%20)+)[\w.~+/=-]{16,}"
    # A JSON Web Token's parts are base64url of JSON, the first of which begins so: `{"`.
    r"|eyJ[\w-]{8,}(?:\.[\w-]*)*"
)
_MASKED: Final = "[masked]"
LONGEST: Final = 16 * 1024
"""Characters of one value of a log line; of a longer one its beginning and its end are written."""

_CHATTY: Final = {"mcp": logging.WARNING, "hypercorn": logging.WARNING}
"""The least severe level that these libraries are heard at, whatever is asked for."""


def _level(level: object) -> object:
    """Take the words in any letter case, and `warn`, as other programs do."""
    word = level.lower() if isinstance(level, str) else ""
    return {"warn": "warning"}.get(word, word) if word in ("debug", "info", "warn", "warning", "error") else level


Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]


class LogOptions(Options):
    """How much is logged, and how: `auto` is pretty on a terminal and JSON, one object a line, elsewhere."""

    level: Level = "info"
    format: Literal["auto", "json", "pretty"] = "auto"


def mask(text: str) -> str:
    """Return the text with everything that looks like a Bearer token or a JSON Web Token masked."""
    if "eyJ" not in text and "bearer" not in text.lower():
        return text  # as nearly all lines are, a twentieth of the expression's time
    return _TOKEN.sub(lambda found: f"{found['scheme']} {_MASKED}" if found["scheme"] else _MASKED, text)


def configure_logging(options: LogOptions, stream: TextIO) -> None:
    """Write all logs of this process to the stream, the libraries' among them, in one form.

    The mask is laid over the finished line, so that no key, nested value, exception text or repr gets past it.
    """
    level = logging.getLevelNamesMapping()[options.level.upper()]
    pretty = options.format == "pretty" or (options.format == "auto" and stream.isatty())
    common: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if pretty else "iso", utc=not pretty),
        _told,
    ]
    finish: list[structlog.typing.Processor]
    if pretty:
        # Neither form shows local variables: they hold tokens.
        console = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
        finish = [_bounded, _printable, console, _mask_line]
    else:
        told = structlog.processors.format_exc_info
        finish = [told, _bounded, structlog.processors.JSONRenderer(serializer=_json), _mask_line]
    structlog.configure(
        processors=[*common, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    # Below INFO, libraries print headers, the caller's among them.
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name, least in _CHATTY.items():
        logging.getLogger(name).setLevel(max(level, least))


def json_writer() -> Callable[[bytes], None] | None:
    """Return what appends a finished line of JSON to the log; None where the log is for people, or leaves `info` out.

    It is for what is written at each request: structlog's way to the same line takes four times as long.
    """
    config = structlog.get_config()
    is_json = any(isinstance(each, structlog.processors.JSONRenderer) for each in config["processors"])
    if not (is_json and structlog.get_logger().bind().is_enabled_for(logging.INFO)):
        return None
    write = config["logger_factory"]().msg
    return lambda line: write(line[:-1].decode())


def _told(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave the text of a failure that is meant for people, and drop its traceback."""
    failure = event.get("exc_info")
    if failure is True or isinstance(failure, tuple):
        failure = sys.exc_info()[1] if failure is True else failure[1]
    if isinstance(failure, GatewayError):
        del event["exc_info"]
        event["error"] = failure.message
    return event


def _bounded(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what is too long; masked before, because half a token does not look like one."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST:
            text = mask(value)
            more = max(0, len(text) - LONGEST)
            event[key] = f"{text[: LONGEST // 2]}…[{more} more characters]…{text[-LONGEST // 2 :]}" if more else text
    return event


def _json(event: dict[str, Any], **_: Any) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return orjson.dumps(first | event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _mask_line(_logger: Any, _method: str, line: Any) -> str:
    return mask(str(line))


def _printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what a terminal would obey."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode()
    return event
