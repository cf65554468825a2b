"""Formats log lines as JSON, or as text for a terminal, so that no field can forge a
line; buffers and writes them.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from ..primitives import utc_timestamp
from .output import LogOutput
from .redaction import may_hold_secret, redact

__all__ = ["ACCESS", "UNPRINTABLE", "Fields", "LineWriter", "json_line", "timestamp"]

Fields = dict[str, Any]

ACCESS: Final = "aims_server.access"
_IN_ACCESS_MESSAGE: Final = frozenset({"method", "path", "status"})

_MAX_BUFFERED: Final = 256 * 1024
# syslog(3)'s numbers.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

# What ends a line, moves a cursor, or turns the writing direction.
UNPRINTABLE: Final = (
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_PLAIN: Final = r"[^\s\"'=]+"

_encode = msgspec.json.Encoder().encode


class LineWriter:
    """Formats lines and writes them to an output; never waits and raises nothing.

    >>> import sys
    >>> lines = LineWriter(LogOutput(sys.stdout))
    >>> lines.write({"message": "ready"})
    {"message":"ready"}

    Lines go out in pieces, each of which the output takes whole with one system call,
    so that lines of several workers on one pipe or file do not mix. While the output
    takes none, lines are kept up to a bound. More lines are lost and counted in
    ``lost``; a line says so once the output takes lines again.
    """

    def __init__(self, output: LogOutput) -> None:
        self.output = output
        self.as_text = False
        self.lost = 0
        self.before_write: Callable[[], object] = lambda: None
        """Called before each :meth:`write`: lines that wait elsewhere are older."""
        self._reported_lost = 0
        self._failing_since: float | None = None
        self._buffer = bytearray()

    @property
    def is_plain_json(self) -> bool:
        """Whether lines are plain JSON, so that `add` may take formatted ones."""
        return not self.as_text and not self.output.is_journal

    def write(self, fields: Fields, untrusted: str | None = None) -> None:
        """Write a line; ``untrusted``: the part that may hold secrets, if not all."""
        self.before_write()
        self.buffer(fields, untrusted)
        self.flush()

    def buffer(self, fields: Fields, untrusted: str | None = None) -> None:
        """Keep one line for the next flush."""
        line = _text(fields) if self.as_text else json_line(fields, untrusted)
        if self.output.is_journal:
            line = _with_priority(line, fields["level"])
        self.add(line)

    def add(self, lines: bytes) -> None:
        """Keep formatted lines for the next flush, as many as there is room for."""
        if len(self._buffer) + len(lines) > self.output.piece_bytes:
            self.flush()
        while len(lines) > (room := _MAX_BUFFERED - len(self._buffer)):
            kept = lines.rfind(b"\n", 0, max(0, room)) + 1
            if not kept:
                self.lost += lines.count(b"\n")
                return
            self._buffer += lines[:kept]
            lines = lines[kept:]
            self.flush()
        self._buffer += lines

    def flush(self) -> None:
        """Write the buffered lines as far as the output takes them."""
        while self._buffer:
            end = len(self._buffer)
            if end > (most := self.output.piece_bytes):
                end = self._buffer.rfind(b"\n", 0, most) + 1 or (
                    self._buffer.index(b"\n") + 1
                )
            try:
                written = self.output.write(bytes(self._buffer[:end]))
            except (OSError, ValueError):
                # A full or closed pipe, a full disk: perhaps not for long.
                if self._failing_since is None:
                    self._failing_since = time.time()
                return
            del self._buffer[:written]
            if self._failing_since is not None and not self._buffer:
                self._report_lost(self._failing_since)

    def discard(self) -> None:
        """Drop the buffered lines and the counts of lost ones: in a forked process they
        are the parent's.
        """
        self.lost = self._reported_lost = 0
        self._failing_since = None
        self._buffer.clear()

    def give_up(self) -> None:
        """Count the buffered lines as lost, since nothing will write them."""
        self.lost += self._buffer.count(b"\n")
        self._buffer.clear()

    def _report_lost(self, failing_since: float) -> None:
        """Buffer a line about lost lines, if there are any."""
        self._failing_since = None
        lost, self._reported_lost = self.lost - self._reported_lost, self.lost
        if lost:
            now = time.time()
            self.buffer(
                {
                    "time": timestamp(now),
                    "level": "warning",
                    "logger": __name__,
                    "message": f"{lost} log lines were lost: the log took none for"
                    f" {max(0.0, now - failing_since):.0f} s",
                }
            )


def _with_priority(line: bytes, level: str) -> bytes:
    """Each line of ``line`` with the prefix of sd-daemon(3)."""
    prefix = b"<%d>" % _PRIORITIES.get(level, 6)
    return b"".join(prefix + part for part in line.splitlines(keepends=True))


def timestamp(now: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return _timestamp(int(now * 1000))


@lru_cache(4)  # under load many lines share a millisecond
def _timestamp(milliseconds: int) -> str:
    second = utc_timestamp(milliseconds // 1000)
    return f"{second[:-1]}.{milliseconds % 1000:03d}Z"


def json_line(fields: Fields, untrusted: str | None = None) -> bytes:
    """The fields as JSON; ``untrusted`` as in :meth:`LineWriter.write`."""
    try:
        line = _encode(fields)
    except ValueError:
        line = _encode(redact(fields))  # half of a surrogate pair
    else:
        if may_hold_secret(untrusted or line.decode()):
            line = _encode(redact(fields))
    if not line.isascii() or 0x7F in line:
        # JSON need not escape these, but terminals and str.splitlines act on them.
        line = re.sub(UNPRINTABLE, _as_json, line.decode()).encode()
    return line + b"\n"


def _as_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _text(fields: Fields) -> bytes:
    rest: Fields = redact(fields)
    level, logger = rest.pop("level"), rest.pop("logger")
    parts = [f"{rest.pop('time')} {level.upper():<7} {logger}: {rest.pop('message')}"]
    below = rest.pop("traceback", "")
    for name, value in rest.items():
        if logger != ACCESS or name not in _IN_ACCESS_MESSAGE:
            plain = isinstance(value, str) and re.fullmatch(_PLAIN, value)
            parts.append(f"{name}={value if plain else _encode(value).decode()}")
    lines = [" ".join(parts)]
    lines += (f"    {line}" for line in below.splitlines())
    shown = (re.sub(UNPRINTABLE, _as_text, line) for line in lines)
    return "".join(f"{line}\n" for line in shown).encode()


def _as_text(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
