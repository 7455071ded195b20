"""How log records are written: as text for people or as JSON for programs, one line each but for a traceback in text.

Every line names the request it is about, where it is about one. What clients send cannot forge a line: control characters
are escaped everywhere. The words of unforeseen errors, which may quote what a client sent, are left out above the level debug.
Only programs call `start_logging`; libraries leave handlers alone.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from dovetail.errors import DovetailError, RequestError

FORMATS = ("text", "json")
FIELDS = "fields"  # extra={FIELDS: {...}}: what a record says in pairs
MAX_CHAIN = 8
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that this task answers."""

# C0, DEL and C1; what breaks lines or turns the direction of writing; halves of surrogate pairs
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_PLAIN = re.compile(r"[\w.:/@+,-]+", re.ASCII)
log = logging.getLogger("dovetail")


def escaped(text: str) -> str:
    """The text with every control character written out."""
    return _CONTROL.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text
    )


class TextFormatter(logging.Formatter):
    """2026-01-01 00:00:00,000 LEVEL logger message key=value ...; lines of a traceback begin with four spaces."""

    def format(self, record: logging.LogRecord) -> str:
        when = f"{self.formatTime(record)} {record.levelname} {record.name}"
        pairs = "".join(f" {name}={_value(value)}" for name, value in _fields(record).items())
        lines = [f"{when} {escaped(record.getMessage().strip())}{pairs}"]
        lines += (f"    {escaped(line)}" for line in _story(record))
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object per line: time (seconds since 1970), level, logger, message, the record's own fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().strip(),
        } | _fields(record)
        if story := list(_story(record)):
            fields["traceback"] = story
        return json.dumps(fields, default=str)  # ASCII alone: nothing is left to escape


def start_logging(level: str | int, form: str) -> None:
    """Write records of this level and graver to stderr; nothing happens where a handler is set up already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    logging.raiseExceptions = False  # a record that cannot be written would be shown as it came


def form_in_use() -> str:
    """One of FORMATS, for a process that is to write as this one does."""
    is_json = any(isinstance(h.formatter, JsonFormatter) for h in logging.getLogger().handlers)
    return "json" if is_json else "text"


def log_uncaught() -> None:
    """Write errors that nobody has caught as every other record, and not as Python would."""

    def main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("process=failed", exc_info=(kind, error, trace))

    def thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            log.critical("thread=failed", exc_info=failed.exc_value)

    sys.excepthook, threading.excepthook = main, thread


def task_failed(events: Any, context: Mapping[str, Any]) -> None:
    """For loop.set_exception_handler: asyncio's own quotes the error."""
    log.error("task=failed reason=%r", context.get("message"), exc_info=context.get("exception"))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = dict(getattr(record, FIELDS, {}))
    if request_id := REQUEST_ID.get():
        fields["request_id"] = request_id
    return fields


def _value(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _story(record: logging.LogRecord) -> Iterator[str]:
    """The errors of a record, the last first, each with the places it went through, the innermost last."""
    error = record.exc_info[1] if record.exc_info else None
    for _ in range(MAX_CHAIN):
        if error is None:
            return
        yield named(error)
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            yield f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}"
            trace = trace.tb_next
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def named(error: BaseException) -> str:
    """The kind of an error; its words too, where they are ours and not about what a request holds."""
    ours = isinstance(error, DovetailError | OSError) and not isinstance(error, RequestError)
    kind = type(error).__name__
    return f"{kind}: {error}" if ours or log.isEnabledFor(logging.DEBUG) else kind
