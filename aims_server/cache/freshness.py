"""The headers that say how fresh a kept answer is."""

from ..web import Answer
from .store import Entry

__all__ = ["freshness_lines"]


def freshness_lines(entry: Entry[Answer], outcome: str, now: float) -> str:
    """The lines of ``X-Cache``, ``Age`` and ``Cache-Control`` of an answer served at
    ``now`` (monotonic seconds): how old it is, and for how long it may be used again.
    """
    fresh = entry.fresh_until - now
    stale = entry.servable_until - (entry.fresh_until if fresh > 0 else now)
    return (
        f"X-Cache: {outcome}\r\n"
        f"Age: {max(0, int(now - entry.made_at))}\r\n"
        f"Cache-Control: private, max-age={max(0, int(fresh))},"
        f" stale-while-revalidate={max(0, round(stale))}\r\n"
    )
