"""Log lines, as JSON or as text for a terminal: formatted so that no field can forge a
line, buffered, and written.
"""

import os
import re
from select import PIPE_BUF
from typing import Any, Final, TextIO

import msgspec

from ..text import utc_timestamp
from .redaction import may_hold_secret, redact

__all__ = ["ACCESS", "UNPRINTABLE", "Fields", "LineWriter", "timestamp"]

Fields = dict[str, Any]

ACCESS: Final = "aims_server.access"
_IN_ACCESS_MESSAGE: Final = frozenset({"method", "path", "status"})

# What ends a line, moves a cursor, or turns the writing direction.
UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_PLAIN: Final = re.compile(r"[^\s\"'=]+")

_encode = msgspec.json.Encoder().encode


class LineWriter:
    """Formats lines and writes them to a stream; a failed write raises nothing.

    >>> import sys
    >>> lines = LineWriter(sys.stdout, as_text=False)
    >>> lines.write({"message": "ready"})
    {"message":"ready"}

    A line goes out in one system call, so that the lines of several workers on one
    stream do not mix. Several lines may go out in one, if together they are no longer
    than what a pipe takes in one piece.
    """

    def __init__(self, stream: TextIO, *, as_text: bool) -> None:
        self._stream = stream
        self._format = _text if as_text else _json
        self._partial = False
        self._buffered: list[bytes] = []
        self._buffered_bytes = 0
        try:
            stream.flush()
            self._file: int | None = stream.fileno()
        except (OSError, ValueError):
            self._file = None  # a stream in memory

    def write(self, fields: Fields, untrusted: str | None = None) -> None:
        """Write one line; ``untrusted``: the part that may hold secrets, if not all."""
        self.buffer(fields, untrusted)
        self.flush()

    def buffer(self, fields: Fields, untrusted: str | None = None) -> bool:
        """Keep one line for the next flush; True if the buffer was empty."""
        line = self._format(fields, untrusted)
        if self._buffered_bytes + len(line) > PIPE_BUF:
            self.flush()
        self._buffered.append(line)
        self._buffered_bytes += len(line)
        return len(self._buffered) == 1

    def flush(self) -> None:
        """Write the buffered lines."""
        lines = b"".join(self._buffered)
        self._buffered.clear()
        self._buffered_bytes = 0
        if not lines:
            return
        if self._partial:
            lines = b"\n" + lines
        written = 0
        try:
            if self._stream.closed:
                return  # by now its number may be another file's
            if self._file is None:
                self._stream.write(lines.decode())
                return
            while written < len(lines):
                written += os.write(self._file, lines[written:])
            self._partial = False
        except (OSError, ValueError):
            # A closed pipe, a full disk. The next line must not continue this one.
            self._partial = self._partial or written > 0


def timestamp(now: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    milliseconds = int(now * 1000)
    second = utc_timestamp(milliseconds // 1000)
    return f"{second[:-1]}.{milliseconds % 1000:03d}Z"


def _json(fields: Fields, untrusted: str | None) -> bytes:
    try:
        line = _encode(fields)
    except (TypeError, ValueError, OverflowError):
        line = _encode(redact(fields))  # half of a surrogate pair, a huge number
    else:
        if may_hold_secret(untrusted or line.decode()):
            line = _encode(redact(fields))
    if not line.isascii():
        # JSON need not escape these, but terminals and str.splitlines act on them.
        line = UNPRINTABLE.sub(_as_json, line.decode()).encode()
    return line + b"\n"


def _as_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _text(fields: Fields, _: str | None) -> bytes:
    rest: Fields = redact(fields)
    level, logger = rest.pop("level"), rest.pop("logger")
    parts = [f"{rest.pop('time')} {level.upper():<7} {logger}: {rest.pop('message')}"]
    below = rest.pop("traceback", "")
    for name, value in rest.items():
        if logger != ACCESS or name not in _IN_ACCESS_MESSAGE:
            plain = isinstance(value, str) and _PLAIN.fullmatch(value)
            parts.append(f"{name}={value if plain else _encode(value).decode()}")
    lines = [" ".join(parts)]
    lines += (f"    {line}" for line in below.splitlines())
    return "".join(f"{UNPRINTABLE.sub(_as_text, line)}\n" for line in lines).encode()


def _as_text(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
