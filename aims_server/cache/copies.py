"""Owns the choice of which copies a process keeps of entries that another place has
too: those asked for often.
"""

from typing import Final

__all__ = ["RecentOffers"]

_CANDIDATES: Final = 512  # about as many copies as 2 MB hold


class RecentOffers:
    """The latest copies that were offered and not kept, at most 512.

    >>> offers = RecentOffers()
    >>> [offers.is_offered_again(key) for key in (b"a", b"b", b"a", b"a")]
    [False, False, True, False]

    So a copy that is rarely requested does not displace one that is requested often
    (the rule of 2Q, Johnson and Shasha 1994).
    """

    def __init__(self) -> None:
        # In the order of their offers; the values mean nothing.
        self._candidates: dict[bytes, None] = {}

    def is_offered_again(self, key: bytes) -> bool:
        """Whether this key was offered lately; if not, remember it."""
        candidates = self._candidates
        if key in candidates:
            del candidates[key]
            return True
        if len(candidates) >= _CANDIDATES:
            del candidates[next(iter(candidates))]
        candidates[key] = None
        return False
