"""Logs events that may come by the thousand: the first of each kind, then counts."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["RateLimitedLog"]

_MOST_KINDS: Final = 256
_INTERVAL_SECONDS: Final = 60.0


class _Window(msgspec.Struct):
    """The time after a line in which events of its kind are only counted."""

    ends: float
    level: int
    message: str
    fields: dict[str, Any]
    count: int = 0


class RateLimitedLog:
    """Logs the first event of a kind at once, later ones as a count each minute.

    >>> import sys
    >>> logger = logging.Logger("doctest")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> now = 0.0
    >>> log = RateLimitedLog(logger, clock=lambda: now)
    >>> for _ in range(1000):
    ...     log.event("full", logging.WARNING, "The cache is full")
    The cache is full
    >>> now = 60.0
    >>> log.flush()
    The cache is full: 999 more in the last 60 s

    After a minute without an event the next one is a first one again. Call ``flush``
    every few seconds; otherwise a count waits for the next event of its kind. There
    should be few kinds: above 256 the oldest is forgotten.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._windows: dict[object, _Window] = {}

    def event(
        self, kind: object, level: int, message: str, *, times: int = 1, **fields: Any
    ) -> None:
        """An event of this kind has happened so many ``times``; ``fields`` go into the
        log line.
        """
        window = self._windows.get(kind)
        if window is not None and self._clock() >= window.ends:
            self._end(kind, window)
            window = self._windows.get(kind)
        if window is None:
            self._logger.log(level, "%s", message, extra=fields)
            if len(self._windows) == _MOST_KINDS:
                self._windows.pop(next(iter(self._windows)))
            ends = self._clock() + _INTERVAL_SECONDS
            self._windows[kind] = _Window(ends, level, message, fields, times - 1)
        else:
            window.count += times
            window.message, window.fields = message, fields  # the latest is logged

    def flush(self, *, last: bool = False) -> None:
        """Log the counts whose minute is over; with ``last`` all of them."""
        now = self._clock()
        for kind, window in list(self._windows.items()):
            if last or now >= window.ends:
                self._end(kind, window)

    def _end(self, kind: object, window: _Window) -> None:
        if not window.count:
            del self._windows[kind]
            return
        self._logger.log(
            window.level,
            "%s: %d more in the last %.0f s",
            window.message,
            window.count,
            self._clock() - window.ends + _INTERVAL_SECONDS,
            extra=window.fields | {"count": window.count},
        )
        window.count = 0
        window.ends = self._clock() + _INTERVAL_SECONDS
