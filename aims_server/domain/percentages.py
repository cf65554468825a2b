"""Formats the percentage of classes as the platform does."""

from ..upstream import Number, exact, percent_text

__all__ = ["percent_of"]


def percent_of(present: Number, total: Number) -> str:
    """Format a share as the platform does, rounded half up to two decimals.

    >>> percent_of(13, 19), percent_of(4, 5), percent_of(0, 0)
    ('68.42%', '80%', '0%')
    """
    if not total:
        return "0%"
    part, whole = exact(present), exact(total)
    return percent_text((20_000 * part + whole) // (2 * whole))
