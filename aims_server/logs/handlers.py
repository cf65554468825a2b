"""Turns records of ``logging`` into log lines, and configures where they go.

A context variable tells a record's request.
"""

import logging
import re
import sys
import traceback
from contextvars import ContextVar
from typing import Final, TextIO

from .format import Fields, LineWriter, timestamp
from .output import LogOutput
from .redaction import SCALARS, redact, redact_text

__all__ = [
    "configure_logging",
    "current_lines",
    "current_request_id",
    "discard_buffered",
    "flush_log",
]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

_LONGEST_TEXT: Final = 2048
_LONGEST_TRACEBACK: Final = 16_384
# Tornado quotes a malformed header of a client, which may be a secret.
_QUOTED: Final = (
    r"(?s)(Invalid header (?:name|value)|Invalid Host header|Content-Lengths?(?= is|:)"
    r"|Unsupported Transfer-Encoding).*"
)
_MIN_LEVELS: Final = {
    "asyncio": logging.WARNING,  # DEBUG: selectors and slow callbacks
    "hpack": logging.WARNING,  # DEBUG: every header of HTTP/2
    "tornado.curl_httpclient": logging.INFO,  # DEBUG: URLs, headers and tokens
}
_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def configure_logging(
    level: str,
    format: str,
    stream: TextIO | None = None,
    *,
    journal_stream: str = "",
) -> None:
    """Send log records to ``stream`` from now on, by default to stderr.

    ``level`` is a name that ``LOG_LEVEL`` takes. ``format`` is "json", "text", or
    "auto": text on a terminal, else JSON. ``journal_stream`` is systemd's
    JOURNAL_STREAM. Called again without a stream, changes only level and format.
    """
    lines = current_lines()
    if stream is not None or lines is None:
        output = LogOutput(stream or sys.stderr, journal_stream)
        lines = _use(LineWriter(output))
    lines.as_text = format == "text" or (format == "auto" and lines.output.is_terminal)
    level_number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(level_number)
    for name, its_min in _MIN_LEVELS.items():
        logging.getLogger(name).setLevel(max(level_number, its_min))
    logging.captureWarnings(True)
    # No line names it, and the first would run that module's code in each worker.
    logging.logMultiprocessing = False


def flush_log() -> None:
    """Write lines that the output did not take before; call it now and then."""
    lines = current_lines()
    if lines is not None:
        lines.flush()


def discard_buffered() -> None:
    """Drop buffered lines: in a forked process they are the parent's."""
    lines = current_lines()
    if lines is not None:
        lines.discard()


def current_lines() -> LineWriter | None:
    """The writer that ``configure_logging`` has made; None before it."""
    return next(
        (
            handler.lines
            for handler in logging.getLogger().handlers
            if isinstance(handler, _LineHandler)
        ),
        None,
    )


def _use(lines: LineWriter) -> LineWriter:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _LineHandler):
            root.removeHandler(handler)
    root.addHandler(_LineHandler(lines))
    return lines


class _LineHandler(logging.Handler):
    """Turns records of ``logging`` into lines."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, whatever the record holds."""
        try:
            self.lines.write(_fields(record))
        except Exception:  # noqa: BLE001 - arguments run code of any kind when shown
            fields = _head(record, "A log record could not be formatted")
            fields["where"] = f"{record.filename}:{record.lineno}"
            self.lines.write(fields)


def _fields(record: logging.LogRecord) -> Fields:
    message = record.getMessage()
    if record.name == "tornado.general":
        message = re.sub(_QUOTED, r"\1", message)
    fields = _head(record, message[:_LONGEST_TEXT])
    request_id = current_request_id.get()
    if request_id:
        fields["requestId"] = request_id
    for name, value in vars(record).items():
        if name not in _STANDARD:
            fields.setdefault(name, _bounded(value))
    # Without the frames' locals, which hold tokens.
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info))
        # Before it is cut: what tells a secret stands before it.
        fields["traceback"] = redact_text(text)[-_LONGEST_TRACEBACK:]
    return fields


def _bounded(value: object) -> object:
    plain = value if type(value) in SCALARS else redact(value)
    return plain[:_LONGEST_TEXT] if isinstance(plain, str) else plain


def _head(record: logging.LogRecord, message: str) -> Fields:
    return {
        "time": timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": message,
    }
