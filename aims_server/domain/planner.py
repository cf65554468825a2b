"""Computes how many classes may be missed, or must be attended, to reach a target.

The arithmetic is exact and rounds only at the end: counts are as they were written, the
target is a whole number of percent. With P present of T held and the target t,
P/(T+m) >= t solves to m <= P/t - T, and (P+k)/(T+k) >= t to k >= (tT - P)/(1 - t).
"""

from ..upstream import Number, exact

__all__ = ["planned"]


def planned(
    present: Number, total: Number, target: int
) -> tuple[int | None, int | None]:
    """Return how many classes can be missed at most with the target still reached, and
    how many must be attended in a row at least to reach it.

    `target` is 1 to 100, in percent. Below it 0 can be missed, at or above it 0 must be
    attended. Both are None before the first class, and the second if none suffices: at
    a target of 100 with a class missed.

    >>> planned(31, 40, 75), planned(29, 40, 75)
    ((1, 0), (0, 4))
    >>> planned(39, 40, 100), planned(0, 0, 75)
    ((0, None), (None, None))
    """
    if not total:
        return None, None
    # A hundred times the classes above the target.
    reserve = 100 * exact(present) - target * exact(total)
    if reserve >= 0:
        return reserve // target, 0
    if target == 100:
        return 0, None
    return 0, -(reserve // (100 - target))
