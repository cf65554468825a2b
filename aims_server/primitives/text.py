"""Plain values in the text forms that several places read or write."""

import time
from functools import lru_cache
from typing import Final

__all__ = ["utc_timestamp", "whole_number"]

_MOST_DIGITS: Final = 18


@lru_cache(maxsize=4)  # all that is written within a second shares it
def utc_timestamp(seconds: int) -> str:
    """Unix time as RFC 3339 writes it, in UTC and whole seconds.

    >>> utc_timestamp(1756720800)
    '2025-09-01T10:00:00Z'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def whole_number(text: str) -> int | None:
    """The number that at most 18 decimal ASCII digits stand for; None for any other
    text. 18 of them stay below 2**63, far above every id of the platform.

    ``int`` would also read signs, blanks, underscores and the digits of other scripts.

    >>> whole_number("0042")
    42
    >>> whole_number("+42") or whole_number("4_2") or whole_number("9" * 19)
    """
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)
