"""Owns the choice of which copies a process keeps although another place has them too:
those that are asked for again and again.
"""

from typing import Final

__all__ = ["RecentOffers"]

_CANDIDATES: Final = 512  # about as many copies as 2 MB hold


class RecentOffers:
    """The copies that were offered last and not kept: at most 512.

    >>> offers = RecentOffers()
    >>> [offers.is_offered_again(key) for key in (b"a", b"b", b"a", b"a")]
    [False, False, True, False]

    What is asked for now and then does not displace what is asked for all the time (the
    rule of 2Q, Johnson and Shasha 1994).
    """

    def __init__(self) -> None:
        # In the order of their offers; the values mean nothing.
        self._candidates: dict[bytes, None] = {}

    def is_offered_again(self, key: bytes) -> bool:
        """Whether it was offered lately; if not, it is a candidate from now on."""
        candidates = self._candidates
        if key in candidates:
            del candidates[key]
            return True
        if len(candidates) >= _CANDIDATES:
            del candidates[next(iter(candidates))]
        candidates[key] = None
        return False
