"""How many classes may be missed, or must be attended, to stand at a target.

Exact arithmetic: counts are whole numbers or what they were written as, the target is
a whole number of percent, and nothing is rounded before the end. With P present of T
held and the target t, (P)/(T+m) >= t solves to m <= P/t - T, and (P+k)/(T+k) >= t to
k >= (tT - P)/(1 - t).
"""

from typing import TYPE_CHECKING

from ..upstream import Number, exact

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["can_miss", "must_attend"]


def can_miss(present: Number, total: Number, target: int) -> int | None:
    """Return the most classes that can be missed with the target still reached.

    `target` is 1 to 100, in percent. 0 below the target; None before the first class.

    >>> can_miss(31, 40, 75), can_miss(29, 40, 75), can_miss(0, 0, 75)
    (1, 0, None)
    """
    if not total:
        return None
    reserve = _reserve(present, total, target)
    return max(0, int(reserve // target))


def must_attend(present: Number, total: Number, target: int) -> int | None:
    """Return the fewest classes to attend in a row until the target is reached.

    0 at or above it. None before the first class, and where none will do: at a target
    of 100 with a class missed.

    >>> must_attend(29, 40, 75), must_attend(31, 40, 75), must_attend(39, 40, 100)
    (4, 0, None)
    """
    if not total:
        return None
    reserve = _reserve(present, total, target)
    if reserve >= 0:
        return 0
    if target == 100:
        return None
    return int(-(reserve // (100 - target)))


def _reserve(present: Number, total: Number, target: int) -> "int | Fraction":
    """A hundred times the classes above the target; negative below it."""
    return 100 * exact(present) - target * exact(total)
