"""What the platform sent that could not be read: counted, and logged with its shape.

A shape is the name of a field and the type it had, or a count. Never a value: values
are a student's.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

__all__ = ["Note", "Oddities", "OddityObserver", "ignore"]

_log = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 60.0

Note: TypeAlias = Callable[[str, str], None]
"""Called with the kind of an oddity and its shape, once for each."""


def ignore(kind: str, shape: str) -> None:
    """A `Note` for whoever does not want to know."""


class OddityObserver(Protocol):
    """Counts oddities: metrics, in production."""

    def upstream_oddity(self, endpoint: str, kind: str) -> None:
        """One oddity in an answer of this endpoint."""


class Oddities:
    """The oddities of one worker; each kind is logged at most once a minute.

    ::

        oddities = Oddities(metrics)
        note = oddities.of("cards")
        note("mark", "a record without a known mark")
    """

    def __init__(
        self, observer: OddityObserver, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._unlogged: dict[tuple[str, str], int] = {}

    @contextmanager
    def noting(self, endpoint: str) -> Iterator[Note]:
        """Give a `Note` for one answer; one that fails altogether has no oddity."""
        notes: list[tuple[str, str]] = []
        yield lambda kind, shape: notes.append((kind, shape))
        note = self.of(endpoint)
        for kind, shape in notes:
            note(kind, shape)

    def of(self, endpoint: str) -> Note:
        """Return the `Note` of one endpoint."""

        def note(kind: str, shape: str) -> None:
            self._observer.upstream_oddity(endpoint, kind)
            self._log(endpoint, kind, shape)

        return note

    def _log(self, endpoint: str, kind: str, shape: str) -> None:
        key, now = (endpoint, kind), self._clock()
        if now < self._quiet_until.get(key, 0.0):
            self._unlogged[key] = self._unlogged.get(key, 0) + 1
            return
        self._quiet_until[key] = now + _QUIET_SECONDS
        _log.warning(
            "The platform sent an odd answer to %s: %s (%s); %d more like it before",
            endpoint,
            kind,
            shape,
            self._unlogged.pop(key, 0),
        )
