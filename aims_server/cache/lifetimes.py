"""How long answers are fresh and servable, and the headers that say so."""

from typing import Final

import msgspec

from ..web import Answer
from .store import Entry

__all__ = ["Lifetimes", "freshness_lines"]

_INCOMPLETE_SECONDS: Final = 15.0


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers live, in seconds: ``fresh``, then ``stale`` more, in which they
    are served and refreshed. An incomplete one lives for 15 at most. A client that asks
    for a fresh answer gets none older than ``floor``.

    >>> lifetimes = Lifetimes(fresh=300, stale=1800, floor=15)
    >>> lifetimes.ends(made_at=1000.0, now=1200.0, old=False, complete=True)
    (1300.0, 3100.0)
    >>> lifetimes.ends(made_at=1000.0, now=1200.0, old=False, complete=False)
    (1215.0, 1215.0)
    >>> lifetimes.ends(made_at=600.0, now=1200.0, old=True, complete=False)
    (1200.0, 1215.0)
    """

    fresh: float
    stale: float
    floor: float

    def ends(
        self, made_at: float, now: float, *, old: bool, complete: bool
    ) -> tuple[float, float]:
        """The ends of an answer's freshness and servability, by the clock of ``now``.

        An ``old`` answer, made of a part that was no longer fresh, was never fresh. An
        incomplete one lives for a few seconds, however old its oldest part is: what is
        missing was asked for just now.
        """
        fresh_until = made_at + self.fresh
        servable_until = fresh_until + self.stale
        if not complete:
            seconds = min(_INCOMPLETE_SECONDS, self.fresh)
            servable_until = min(servable_until, now + seconds)
            fresh_until = min(fresh_until, servable_until)
        return now if old else fresh_until, servable_until


def freshness_lines(entry: Entry[Answer], outcome: str, now: float) -> str:
    """The header lines ``X-Cache``, ``Age`` and ``Cache-Control`` of an answer served
    at ``now`` (monotonic seconds).
    """
    fresh = entry.fresh_until - now
    stale = entry.servable_until - (entry.fresh_until if fresh > 0 else now)
    return (
        f"X-Cache: {outcome}\r\n"
        f"Age: {max(0, int(now - entry.made_at))}\r\n"
        f"Cache-Control: private, max-age={max(0, int(fresh))},"
        f" stale-while-revalidate={max(0, round(stale))}\r\n"
    )
