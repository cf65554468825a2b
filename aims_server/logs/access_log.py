"""Owns the access log: one line for each request.

It bypasses ``logging``, whose ``LogRecord`` takes 10 to 14 us a line.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from .access_line import AccessEntry, AccessKind, access_fields, access_lines
from .format import ACCESS
from .handlers import current_lines

__all__ = ["AccessLog"]

_MAX_ENTRIES: Final = 256  # some 0.2 ms of formatting

Soon = Callable[[Callable[[], None]], object]


def _at_once(write: Callable[[], None]) -> None:
    write()


class AccessLog:
    """Writes one line for each request to the stream of ``configure_logging``; nothing
    if that was not called.

    All lines until ``soon`` calls what it was given are formatted together, in half the
    time, and share system calls. By default each line is written at once.

    >>> AccessLog().flush()
    """

    def __init__(self, soon: Soon = _at_once) -> None:
        self._soon = soon
        self._lines = current_lines()
        self._min_level = logging.getLogger(ACCESS).getEffectiveLevel()
        self._entries: list[AccessEntry] = []
        if self._lines is not None:
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
        """Log one answer; `kind` explains the other fields."""
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
        """The fields that similar answers share, for `write_of`; None if the log's
        level leaves them out.

        ``path`` has no query; ``code`` is the error body's. Quiet answers are logged at
        DEBUG, those with a status of 500 or more at WARNING.
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
        if len(self._entries) == 1:
            self._soon(self.flush)
        elif len(self._entries) >= _MAX_ENTRIES:
            self.flush()

    def flush(self) -> None:
        """Write the lines of all answers so far."""
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

    def close(self) -> None:
        """Write the last lines; those that the output does not take are lost."""
        self.flush()
        if self._lines is not None:
            self._lines.give_up()

    @property
    def lost_lines(self) -> int:
        """Lines of this process that could not be written, records among them."""
        return 0 if self._lines is None else self._lines.lost
