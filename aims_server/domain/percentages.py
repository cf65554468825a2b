"""The percentage of classes in the platform's own words."""

from ..upstream import Number, exact

__all__ = ["percent_of"]


def percent_of(present: Number, total: Number) -> str:
    """Word a share as the platform does, rounded half up to two decimals.

    >>> percent_of(13, 19), percent_of(4, 5), percent_of(0, 0)
    ('68.42%', '80%', '0%')
    """
    if not total:
        return "0%"
    part, whole = exact(present), exact(total)
    hundredths = int((20_000 * part + whole) // (2 * whole))
    decimals = f"{hundredths // 100}.{hundredths % 100:02}"
    return decimals.rstrip("0").rstrip(".") + "%"
