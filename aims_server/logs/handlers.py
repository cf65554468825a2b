"""The log's two sources: records of ``logging``, and one access line for each request.

A record's request is known from a context variable. Access lines bypass ``logging``: a
line takes 0.8 us so, and 10 to 14 through a ``LogRecord``.
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TextIO

from .access_line import AccessEntry, AccessKind, access_fields, access_lines
from .format import (
    ACCESS,
    Fields,
    LineWriter,
    timestamp,
)
from .output import LogOutput
from .redaction import SCALARS, redact

__all__ = [
    "AccessLog",
    "configure_logging",
    "current_request_id",
    "discard_buffered",
    "flush_log",
]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

_MAX_ENTRIES: Final = 256  # some 0.2 ms of formatting
_LONGEST_TEXT: Final = 2048
_LONGEST_TRACEBACK: Final = 16_384
# Tornado quotes what a client sent in place of a header: it may be a secret.
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
    """Send log records from now on to ``stream``, by default stderr.

    ``level`` is a name as ``LOG_LEVEL`` takes it; ``format`` is "json", "text", or
    "auto" for text on a terminal and JSON elsewhere; ``journal_stream`` is systemd's
    JOURNAL_STREAM. Called again without a stream, it changes level and format only.
    """
    lines = _current_lines()
    if stream is not None or lines is None:
        output = LogOutput(stream or sys.stderr, journal_stream)
        lines = _use(LineWriter(output))
    lines.as_text = format == "text" or (format == "auto" and lines.output.is_terminal)
    level_number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(level_number)
    for name, its_min in _MIN_LEVELS.items():
        logging.getLogger(name).setLevel(max(level_number, its_min))
    logging.captureWarnings(True)


def flush_log() -> None:
    """Write lines that the output did not take before; to be called now and then."""
    lines = _current_lines()
    if lines is not None:
        lines.flush()


def discard_buffered() -> None:
    """Drop buffered lines: in a forked process they are the parent's."""
    lines = _current_lines()
    if lines is not None:
        lines.discard()


def _current_lines() -> LineWriter | None:
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


class AccessLog:
    """Writes one line for each request to the stream of ``configure_logging``.

    Without that it writes nothing. With ``soon``, which has a function called in a
    moment, all lines until then are formatted together, in half the time that they take
    between other work, and share system calls. Without it each line is written at once.

    >>> AccessLog().flush()
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object] | None = None):
        self._soon = soon
        self._lines = _current_lines()
        self._min_level = logging.getLogger(ACCESS).getEffectiveLevel()
        self._entries: list[AccessEntry] = []
        if self._lines is not None and soon is not None:
            self._lines.before_write = self.flush

    def write(
        self,
        *,
        route: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        address: str,
        cache: str | None = None,
        upstream_seconds: float | None = None,
        code: str | None = None,
        quiet: bool = False,
    ) -> None:
        """Log one answer; see `kind` for the others of its fields."""
        kind = self.kind(route, method, path, status, cache, code, quiet=quiet)
        self.write_of(kind, seconds, request_id, address, upstream_seconds)

    def kind(
        self,
        route: str,
        method: str,
        path: str,
        status: int,
        cache: str | None = None,
        code: str | None = None,
        *,
        quiet: bool = False,
    ) -> AccessKind | None:
        """What the lines of like answers share, for `write_of`; None if the level of
        the log leaves them out.

        ``path`` is without the query, ``code`` that of the error body. Quiet answers
        are logged at DEBUG, those with a status from 500 on at WARNING.
        """
        level = logging.INFO if status < 500 else logging.WARNING
        if quiet:
            level = logging.DEBUG
        if level < self._min_level or self._lines is None:
            return None
        return level, route, method, path, status, cache, code

    def write_of(
        self,
        kind: AccessKind | None,
        seconds: float,
        request_id: str,
        address: str,
        upstream_seconds: float | None = None,
    ) -> None:
        """Log one answer of this kind."""
        if kind is None:
            return
        self._entries.append(
            (time.time(), seconds, request_id, address, upstream_seconds, kind)
        )
        if self._soon is None or len(self._entries) >= _MAX_ENTRIES:
            self.flush()
        elif len(self._entries) == 1:
            self._soon(self.flush)

    def flush(self) -> None:
        """Write the lines of all answers until now."""
        lines = self._lines
        if lines is None:
            return
        entries, self._entries = self._entries, []
        if lines.is_plain_json:
            lines.add(access_lines(entries))
        else:
            for entry in entries:
                lines.buffer(*access_fields(entry))
        lines.flush()

    @property
    def lost_lines(self) -> int:
        """Lines of this process that could not be written, records among them."""
        return 0 if self._lines is None else self._lines.lost


class _LineHandler(logging.Handler):
    """Turns what ``logging`` hands over into lines."""

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
        fields["traceback"] = text[-_LONGEST_TRACEBACK:]
    elif record.stack_info:
        fields["traceback"] = record.stack_info
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
