"""Text forms of plain values, for several readers and writers."""

import time
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["utc_timestamp", "visible", "whole_number"]

_MOST_DIGITS: Final = 18


@lru_cache(maxsize=4)  # everything written within a second shares it
def utc_timestamp(seconds: int) -> str:
    """Unix time in RFC 3339's form, in UTC and whole seconds.

    >>> utc_timestamp(1756720800)
    '2025-09-01T10:00:00Z'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def whole_number(text: str) -> int | None:
    """The number of at most 18 decimal ASCII digits; None for any other text. 18 digits
    stay below 2**63, far above every id of the platform.

    ``int`` would also accept signs, blanks, underscores and the digits of other
    scripts.

    >>> whole_number("0042")
    42
    >>> whole_number("+42") or whole_number("4_2") or whole_number("9" * 19)
    """
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def visible(text: str) -> str:
    r"""The text as it looks: without invisible characters, in letters of usual width,
    every dash as "-".

    >>> visible("\uff30re\u00adsent\u200b 08:50\u201309:40")
    'Present 08:50-09:40'
    """
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")
    kinds = zip(map(unicodedata.category, letters), letters, strict=True)
    return "".join("-" if kind == "Pd" else c for kind, c in kinds if kind != "Cf")
