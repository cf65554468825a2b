"""The headers that say how fresh a kept answer is."""

from ..web import Answer, HeaderPairs
from .store import Entry

__all__ = ["freshness_headers"]


def freshness_headers(entry: Entry[Answer], outcome: str, now: float) -> HeaderPairs:
    """``X-Cache``, ``Age`` and ``Cache-Control`` of an answer served at ``now``
    (monotonic seconds): how old it is, and for how long it may be used again.
    """
    fresh_for = max(0, int(entry.fresh_until - now))
    stale_for = max(0, round(entry.servable_until - max(now, entry.fresh_until)))
    return (
        ("X-Cache", outcome),
        ("Age", str(max(0, int(now - entry.made_at)))),
        (
            "Cache-Control",
            f"private, max-age={fresh_for}, stale-while-revalidate={stale_for}",
        ),
    )
