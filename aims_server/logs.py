"""Owns the form of a log line: one line for one event, which nobody can forge and in
which no secret can be read.

Lines are JSON objects, or text for a terminal. The request they belong to is known from
a context variable. Access lines look the same but do without ``logging``, whose records
cost too much to make one for every request.
"""

import logging
import os
import re
import sys
import time
import traceback
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, TextIO

import msgspec

__all__ = ["AccessLog", "configure_logging", "current_request_id"]

Fields = dict[str, Any]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

_ACCESS: Final = "aims_server.access"
_TOLD_BY_ACCESS: Final = frozenset({"method", "path", "status"})
_LONGEST_PATH: Final = 512  # an access line then fits a pipe's atomic write
_LEAST_LEVELS: Final = {
    "asyncio": logging.WARNING,  # DEBUG tells of selectors and slow callbacks
    "hpack": logging.WARNING,  # DEBUG tells every header of HTTP/2
    "tornado.curl_httpclient": logging.INFO,  # DEBUG tells URLs, headers and tokens
}
_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_DEEPEST: Final = 8

# What ends a line, moves a cursor, or turns the writing direction.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_PLAIN: Final = re.compile(r"[^\s\"'=]+")

_SECRET_NAME: Final = r"\w*(?:token|password|passwd|secret|authorization)|pin"
_SECRET_NAMES: Final = re.compile(_SECRET_NAME, re.IGNORECASE)
_SECRETS: Final = re.compile(
    rf"""
      (?-i:eyJ) [\w%.+/=-]{{6,}}
    | (?P<scheme> \bbearer\s+ ) [^\s"',;]+
    | (?P<query> \b(?:{_SECRET_NAME}) (?:=|%3d) ) [^\s&]+
    | (?P<pair> (?P<quote>["']) (?:{_SECRET_NAME}) (?P=quote) \s*:\s* )
      (?: b?"(?:[^"\\]|\\.)*"? | b?'(?:[^'\\]|\\.)*'? | [^\s,}}\]]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS: Final = re.compile("eyj|bearer|token|passw|pin|secret|authoriz")

_encode = msgspec.json.Encoder().encode


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send what is logged from now on to ``stream``, stderr if not given.

    ``level`` is a name as ``LOG_LEVEL`` takes it; ``format`` is "json", "text", or
    "auto" for text on a terminal and JSON elsewhere. May be called again.
    """
    stream = stream or sys.stderr
    as_text = format == "text" or (format == "auto" and stream.isatty())
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _LineHandler):
            root.removeHandler(handler)
    root.addHandler(_LineHandler(_Lines(stream, as_text=as_text)))
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(least)
    for name, its_least in _LEAST_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, its_least))
    logging.captureWarnings(True)


class AccessLog:
    """Writes one line for each request, where ``configure_logging`` said before.

    Without that it writes nothing.
    """

    def __init__(self) -> None:
        self._lines = next(
            (
                handler.lines
                for handler in logging.getLogger().handlers
                if isinstance(handler, _LineHandler)
            ),
            None,
        )
        self._least = logging.getLogger(_ACCESS).getEffectiveLevel()

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
        """Tell of one answer; ``path`` is without the query.

        ``code`` is that of the error body, ``quiet`` ones show at DEBUG only, and those
        with a status from 500 on at WARNING.
        """
        level = logging.INFO if status < 500 else logging.WARNING
        if quiet:
            level = logging.DEBUG
        if level < self._least or self._lines is None:
            return
        path = path[:_LONGEST_PATH]
        fields: Fields = {
            "time": _timestamp(time.time()),
            "level": logging.getLevelName(level).lower(),
            "logger": _ACCESS,
            "message": f"{method} {path} {status}",
            "requestId": request_id,
            "route": route,
            "method": method,
            "path": path,
            "status": status,
            "seconds": round(seconds, 6),
            "address": address,
        }
        if cache is not None:
            fields["cache"] = cache
        if upstream_seconds is not None:
            fields["upstreamSeconds"] = round(upstream_seconds, 6)
        if code is not None:
            fields["code"] = code
        # All that a client has a say in; to search the whole line takes longer than all
        # the rest.
        self._lines.write(fields, f"{method} {path} {request_id}")


class _LineHandler(logging.Handler):
    """Turns what ``logging`` hands over into lines."""

    def __init__(self, lines: "_Lines") -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, whatever the record holds."""
        try:
            self.lines.write(_fields(record))
        except Exception:  # noqa: BLE001 - arguments run code of any kind when shown
            fields = _head(record, "A log record could not be put into words")
            fields["where"] = f"{record.filename}:{record.lineno}"
            self.lines.write(fields)


class _Lines:
    """A stream of lines; writing to it fails in silence, for no request's sake.

    A line goes out in one system call, so that the lines of several workers on one
    stream do not mix.
    """

    def __init__(self, stream: TextIO, *, as_text: bool) -> None:
        self._stream = stream
        self._form = _text if as_text else _json
        self._torn = False
        try:
            stream.flush()
            self._file: int | None = stream.fileno()
        except (OSError, ValueError):
            self._file = None  # a stream in memory

    def write(self, fields: Fields, doubtful: str | None = None) -> None:
        """Write one line; ``doubtful`` is what may hold a secret, if not all of it."""
        line = self._form(fields, doubtful)
        if self._torn:
            line = b"\n" + line
        written = 0
        try:
            if self._stream.closed:
                return  # by now its number may be another file's
            if self._file is None:
                self._stream.write(line.decode())
                return
            while written < len(line):
                written += os.write(self._file, line[written:])
            self._torn = False
        except (OSError, ValueError):
            # A closed pipe, a full disk. The next line must not continue this one.
            self._torn = self._torn or written > 0


def _fields(record: logging.LogRecord) -> Fields:
    fields = _head(record, record.getMessage())
    request_id = current_request_id.get()
    if request_id:
        fields["requestId"] = request_id
    for name, value in vars(record).items():
        if name not in _STANDARD:
            scalar = type(value) in _SCALARS
            fields.setdefault(name, value if scalar else _tidy(value))
    # Without the frames' locals, which hold tokens.
    if record.exc_info and record.exc_info[0] is not None:
        fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
    elif record.stack_info:
        fields["traceback"] = record.stack_info
    return fields


def _head(record: logging.LogRecord, message: str) -> Fields:
    return {
        "time": _timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": message,
    }


def _timestamp(now: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    milliseconds = int(now * 1000)
    return f"{_to_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=2)
def _to_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _json(fields: Fields, doubtful: str | None) -> bytes:
    try:
        line = _encode(fields)
    except (TypeError, ValueError, OverflowError):
        line = _encode(_tidy(fields))  # half of a surrogate pair, a huge number
    else:
        if _HINTS.search((doubtful or line.decode()).lower()):
            line = _encode(_tidy(fields))
    if not line.isascii():
        # JSON lets these stand; terminals and str.splitlines heed them.
        line = _UNPRINTABLE.sub(_as_json, line.decode()).encode()
    return line + b"\n"


def _as_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _text(fields: Fields, _: str | None) -> bytes:
    rest: Fields = _tidy(fields)
    level, logger = rest.pop("level"), rest.pop("logger")
    parts = [f"{rest.pop('time')} {level.upper():<7} {logger}: {rest.pop('message')}"]
    below = rest.pop("traceback", "")
    for name, value in rest.items():
        if logger != _ACCESS or name not in _TOLD_BY_ACCESS:
            plain = isinstance(value, str) and _PLAIN.fullmatch(value)
            parts.append(f"{name}={value if plain else _encode(value).decode()}")
    lines = [" ".join(parts)]
    lines += (f"    {line}" for line in below.splitlines())
    return "".join(f"{_UNPRINTABLE.sub(_as_text, line)}\n" for line in lines).encode()


def _as_text(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _tidy(value: Any, depth: int = 0) -> Any:
    """The same in what JSON can say, without secrets."""
    if isinstance(value, str):
        return _scrub(value)
    if isinstance(value, dict):
        if depth < _DEEPEST:
            return {
                _scrub(str(key)): (
                    "***"
                    if _SECRET_NAMES.fullmatch(str(key)) and item
                    else _tidy(item, depth + 1)
                )
                for key, item in value.items()
            }
    elif isinstance(value, list | tuple | set | frozenset):
        if depth < _DEEPEST:
            return [_tidy(item, depth + 1) for item in value]
    elif type(value) in _SCALARS and (type(value) is not int or abs(value) < 2**63):
        return value
    elif isinstance(value, bytes | bytearray):
        return _scrub(value.decode(errors="backslashreplace"))
    return _scrub(str(value))


def _scrub(text: str) -> str:
    """``text`` without secrets and without what UTF-8 cannot say."""
    text = text.encode(errors="backslashreplace").decode()
    return _SECRETS.sub(_without_value, text)


def _without_value(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["query"] or match["pair"] or ""
    return f"{kept}***"
