"""Reads single values as the platform sends them: numbers, lines, percentages.

A value that cannot be read is None, a line "". No reader raises.
"""

import html
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec import Meta

from ...primitives import Memo

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = [
    "FIRST_YEAR",
    "Number",
    "Scalar",
    "exact",
    "minute_of_day",
    "month_number",
    "number",
    "one_line",
    "percent",
    "percent_text",
    "sum_of",
    "whole",
]

FIRST_YEAR: Final = 1971  # 0000 and 1970 are a database's and a clock's null
_LARGEST: Final = 2**53 - 1  # the largest whole number a browser's JSON keeps exact

# The platform sends numbers as text and text as numbers.
Scalar: TypeAlias = (
    Annotated[int, Meta(ge=0, le=_LARGEST)]
    | Annotated[float, Meta(ge=0, le=_LARGEST)]
    | str
    | None
)

Number: TypeAlias = int | float
"""A count: an int if possible, a float only if it was sent with a fraction."""

# Thousands are separated as elsewhere (1,031,000) or as in India (10,31,000).
_NUMBER: Final = re.compile(
    r"(?P<whole>[0-9]{1,16}|[0-9]{1,3}(?:,[0-9]{2,3}){0,4},[0-9]{3})"
    r"(?P<fraction>\.[0-9]{1,16})?"
)
# In English; the names of the module calendar depend on the locale.
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_PERCENT: Final = r"[0-9]{1,16}(?:\.[0-9]{1,16})?(?P<sign> ?%)?"
# A comment without an end reaches to the text's end, as in browsers: searching for the
# end after each beginning would take 60 s for 200 kB of them.
_TAG: Final = r"(?s:<!--.*?(?:-->|\Z)|</?[A-Za-z][^<>]*>)"
_CONTROL: Final = r"[\x00-\x1f\x7f-\x9f]"  # which a calendar may not have
# Pasted along, and seen as nothing: a space of no width, marks of direction, a byte
# order mark.
_INVISIBLE: Final = r"[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
# Characters, with tags. 8 MB held the loop for 5 s, and html.unescape() raises for an
# entity's number of more than 4300 digits.
_LONGEST_LINE: Final = 4096
_BREAK: Final = r"(?i:</?(?:br|p|div|li|tr|td)\b[^<>]*>)"


def number(value: Scalar) -> Number | None:
    """Read a count of zero or more; None if there is none.

    >>> [number(text) for text in ("31", "31.00", "1,031", "30.5", 31.0, "-", None)]
    [31, 31, 1031, 30.5, 31, None, None]
    """
    if type(value) is int:
        return value
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        if match is None:
            return None
        whole_part = match["whole"].replace(",", "")
        fraction = (match["fraction"] or "").rstrip("0").rstrip(".")
        value = float(whole_part + fraction) if fraction else int(whole_part)
        if value > _LARGEST:
            return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def exact(count: Number) -> "int | Fraction":
    """Return the count as it was written, without the error of binary fractions."""
    if isinstance(count, int):
        return count
    from fractions import Fraction  # late: most counts are whole

    return Fraction(repr(count))


def sum_of(counts: Iterable[Number]) -> Number:
    """Add up counts exactly.

    >>> sum_of([0.1, 0.2, 0.7])
    1
    """
    listed = tuple(counts)
    rough = sum(listed)
    if isinstance(rough, int):
        return rough
    total = sum(map(exact, listed))
    return int(total) if total.denominator == 1 else float(total)


def whole(value: Scalar) -> int | None:
    """Read an identifier: a whole number, None for anything else."""
    if isinstance(value, str) and "," in value:
        return None
    read = number(value)
    return read if isinstance(read, int) else None


@lru_cache(4096)  # courses and teachers are shared by many students
def _clean(text: str) -> str:
    if "<" in text:
        text = re.sub(_TAG, "", re.sub(_BREAK, " ", text))
    if "&" in text:
        text = html.unescape(text)
    return " ".join(re.sub(_CONTROL, " ", re.sub(_INVISIBLE, "", text)).split())


def one_line(value: Scalar) -> str:
    r"""Read one line of text: tags and invisible characters removed, entities decoded
    once, white space and control characters made one blank; only the first 4096
    characters are read.

    >>> one_line(" Signals &amp;\r\n <b>Systems</b>\xa0Lab ")
    'Signals & Systems Lab'
    """
    if isinstance(value, str):
        if len(value) < 1000:
            return _clean(value)
        return _clean.__wrapped__(value[:_LONGEST_LINE])
    read = number(value)
    return "" if read is None else str(read)


def month_number(text: str) -> int | None:
    """Read a month by its English name or at least three letters of it, in any case.

    >>> [month_number(text) for text in ("Sep", "SEPT", "september", "Mai")]
    [9, 9, 9, None]
    """
    wanted = text.lower()
    numbers = (n for n, month in enumerate(_MONTHS, 1) if month.startswith(wanted))
    return next(numbers, None) if len(wanted) >= 3 else None


def minute_of_day(hour: str, minute: str, half: str | None) -> int | None:
    """Read a time by its figures, and the "a" or "p" of AM or PM if there is one.

    >>> minute_of_day("2", "50", "p"), minute_of_day("14", "50", "P")
    (890, 890)
    >>> minute_of_day("14", "50", "A") or minute_of_day("24", "00", None)
    """
    hours, minutes = int(hour), int(minute)
    if half:
        named = hours % 12 + (12 if half in "Pp" else 0)
        if named != hours and not 1 <= hours <= 12:
            return None
        hours = named
    return 60 * hours + minutes if hours < 24 and minutes < 60 else None


def percent(value: Scalar) -> str | None:
    """Read a percentage as text with its sign; None for what is no number ("NaN%").

    >>> [percent(value) for value in ("77.5%", "77.5", 77.5, "NaN%", "", None)]
    ['77.5%', '77.5%', '77.5%', None, None, None]

    A number is rounded half up to two decimals.
    """
    if isinstance(value, str):
        return _PERCENTS(value)
    return None if value is None else percent_text(int((200 * exact(value) + 1) // 2))


def _percent(text: str) -> str | None:
    text = text.strip()
    match = re.fullmatch(_PERCENT, text)
    if match is None:
        return None
    return text if match["sign"] else text + "%"


_PERCENTS: Final = Memo(_percent, most=1024)  # few classes give few percentages


def percent_text(hundredths: int) -> str:
    """Format so many hundredths of a percent as the platform does.

    >>> percent_text(6842), percent_text(8000)
    ('68.42%', '80%')
    """
    decimals = f"{hundredths // 100}.{hundredths % 100:02}"
    return decimals.rstrip("0").rstrip(".") + "%"
