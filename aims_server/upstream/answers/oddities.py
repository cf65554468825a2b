"""What the platform sent that could not be read: counted, and logged with its shape.

A shape is the name of a field and the type it had, or a count. Never a value: values
are a student's.
"""

import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

from ...logs import RateLimitedLog

__all__ = ["Note", "Oddities", "OddityObserver", "ignore"]

Note: TypeAlias = Callable[[str, str], None]
"""Called with the kind of an oddity and its shape, once for each."""


def ignore(kind: str, shape: str) -> None:
    """A `Note` that does nothing."""


class OddityObserver(Protocol):
    """Counts oddities: metrics, in production."""

    def upstream_oddity(self, endpoint: str, kind: str) -> None:
        """One oddity in an answer of this endpoint."""


class Oddities:
    """The oddities of one worker; the log tells the first of each kind, then counts.

    ::

        oddities = Oddities(metrics)
        note = oddities.of("cards")
        note("mark", "a record without a known mark")
    """

    def __init__(
        self, observer: OddityObserver, log: RateLimitedLog | None = None
    ) -> None:
        self._observer = observer
        self._log = log or RateLimitedLog(logging.getLogger(__name__))

    def of(self, endpoint: str) -> Note:
        """Return the `Note` of one endpoint."""

        def note(kind: str, shape: str) -> None:
            self._observer.upstream_oddity(endpoint, kind)
            self._log.event(
                ("oddity", endpoint, kind),
                logging.WARNING,
                f"The platform sent an odd answer to {endpoint}: {kind} ({shape})",
            )

        return note
