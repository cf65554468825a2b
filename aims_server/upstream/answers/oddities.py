"""Counts and logs what the platform sent that could not be read.

An oddity has a kind, by which metrics count it, and a shape, which the log shows: a
field's name and the type it had, a count, or a few words. A shape never has a value of
the answer, since values are a student's.
"""

import logging
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct, field

from ...logs import RateLimitedLog

__all__ = ["Note", "Notes", "Oddities", "ignore_oddity"]

Note: TypeAlias = Callable[[str, str], None]
"""Called with kind and shape of each oddity."""


def ignore_oddity(kind: str, shape: str) -> None:
    """A `Note` that does nothing."""


class Notes(Struct, eq=False):
    """The oddities of one answer: noted in any thread, at worst some hundred thousand
    times, and reported together.

    >>> notes = Notes("cards", print)
    >>> for _ in range(1000):
    ...     notes("mark", "a record without a mark")
    >>> notes.report()
    cards mark a record without a mark 1000
    """

    endpoint: str
    on_report: Callable[[str, str, str, int], object]
    # A dict, as a page makes some forty of these, and most stay empty.
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def __call__(self, kind: str, shape: str) -> None:
        """Note an oddity; makes this a `Note`."""
        self.counts[kind, shape] = self.counts.get((kind, shape), 0) + 1

    def report(self) -> None:
        """Report what was noted: on the event loop, after the answer was read."""
        for (kind, shape), count in self.counts.items():
            self.on_report(self.endpoint, kind, shape, count)


class Oddities:
    """The oddities of one worker; logs the first of each kind, then counts.
    ``on_oddity`` gets endpoint, kind and count of those of one answer.

    >>> logger = logging.Logger("doctest")
    >>> logger.addHandler(logging.NullHandler())
    >>> notes = Oddities(print, RateLimitedLog(logger)).notes("cards")
    >>> notes("mark", "a record without a known mark")
    >>> notes.report()
    cards mark 1
    """

    def __init__(
        self, on_oddity: Callable[[str, str, int], object], log: RateLimitedLog
    ) -> None:
        self._on_oddity = on_oddity
        self._log = log

    def notes(self, endpoint: str) -> Notes:
        """Return the `Notes` for one answer of this endpoint."""
        return Notes(endpoint, self._report)

    def _report(self, endpoint: str, kind: str, shape: str, count: int) -> None:
        self._on_oddity(endpoint, kind, count)
        self._log.event(
            ("oddity", endpoint, kind),
            logging.WARNING,
            f"The platform sent an odd answer to {endpoint}: {kind} ({shape})",
            times=count,
        )
