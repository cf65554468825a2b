"""Reads the dates and times of day in a record's texts, by one small grammar.

A day is the date as written, in India's time, and never shifted. The forms are
`2025-09-01`, `01/Sep/2025`, `01-Sep-2025`, `01 Sep 2025` and `01-09-2025`; a month's
name may have three letters or more, and a comma or full stop behind it. Words after the
date are ignored. Separators are "-", "/" or "."; the day comes first, as everywhere in
India, or the year.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Final, TypeAlias

from ..primitives import Memo, visible
from ..upstream import FIRST_YEAR, minute_of_day, month_number

__all__ = ["NO_TIME", "STARTS", "When", "when", "when_started"]

NO_TIME: Final = 24 * 60
_HALF_A_DAY: Final = 12 * 60


When: TypeAlias = tuple[str, int]
"""A day, "YYYY-MM-DD" or "" if unknown, and the minute of the day.

An unknown minute is `NO_TIME`, 24 * 60, so that it is sorted last. A named tuple would
take 0.04 us longer to unpack, 23 us of a page.
"""


# Compiled with the first date: an unread pattern would cost every start 0.2 ms.
_DATE: Final = (
    r"(?:(?<![\w/-])|(?<=[AaPp][Mm]))"  # a tag may have parted the date from a time
    r"(?:(?P<iso>[0-9]{4}(?:-[0-9]{2}-|/[0-9]{2}/|\.[0-9]{2}\.)[0-9]{2})"
    r"(?=[Tt]|[^\w/+-]|[/-](?![0-9])|$)"
    r"|(?P<day>[0-9]{1,2})"
    r"(?:(?P<between>[/ .-])(?P<month>[A-Za-z]{3,9})[.,]?(?P=between)"
    r"|(?P<mark>[/.-])(?P<number>[0-9]{1,2})(?P=mark))(?P<year>[0-9]{4})(?!\w|[/-][0-9]))"
)
_REMARK: Final = (
    r"\([^()]*\)|\[[^][]*\]|\{[^{}]*\}"
    rf"|\b(?i:from|instead of|in (?:lieu|place) of):? ?{_DATE}"
)
# Without a colon (3.45 PM, 3 PM) only what names its half of the day is a time.
_CLOCK: Final = (
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::[0-9]{2})?(?:[.,][0-9]+)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm])?"
    r"|(?:\.(?P<dotted>[0-9]{2}))? ?(?P<marked>[AaPp])\.?[Mm](?![A-Za-z]))"
)
_TIME: Final = rf"(?<![0-9:+-]){_CLOCK}(?:(?<=[Mm])|(?![0-9]))"
_UNTIL: Final = rf" ?(?:-|to) ?{_CLOCK}"
_ZONE: Final = (
    rf"(?:{_CLOCK}|T[0-9]{{2,6}})[ .(\[]*"
    r"(?P<zone>(?:[Zz](?:ulu)?\b|(?:utc|gmt)?[+-][0-9]|(?i:utc|gmt)\b|[A-Z]{1,4}T\b"
    r"|[A-Z][A-Za-z]+/[A-Z]|(?:[A-Z][a-z]+ )+Time\b).*)$"
)
_INDIA: Final = (
    r"(?i)(?:[ ()\[\]]|(?:utc|gmt)? ?\+0?5:?30|ist|asia/kolkata|asia/calcutta"
    r"|indian? standard time)+"
)


def when_started(start_time: str) -> When | None:
    """Return day and time of a `start_time` that needs no other text, else None."""
    start = " ".join(visible(start_time).split())
    day, minute = _day(start), _minute(start)
    sure = day and 0 < minute < NO_TIME and not re.search(_ZONE, start)
    return (day, minute) if sure else None


STARTS: Final = Memo(when_started, most=4096)
"""The same, remembered: all students have a term's dates and hours."""


@lru_cache(4096)
def when(start_time: str, date_formatted: str) -> When:
    """Return when a class was: by `start_time`, else by `date_formatted`.

    If `start_time` has a zone, `date_formatted` decides. Without that a time in India's
    own zone is taken as written, and another zone says nothing about the day. The time
    of day comes from the same text as the day, if that has one. Results are cached, so
    pass texts of bounded length.

    >>> when("2025-08-31T18:30:00.000000Z", "12:20PM - 01:10PM 01/Sep/2025 (Adjusted)")
    ('2025-09-01', 740)
    """
    start = " ".join(visible(start_time).split())
    worded = " ".join(visible(date_formatted).split())
    zone = re.search(_ZONE, start)
    if zone is None:
        texts = [start, worded] if _day(start) else [worded, start]
    else:
        texts = [worded, start] if re.fullmatch(_INDIA, zone["zone"]) else [worded]
    day = next(filter(None, map(_day, texts)), "")
    minutes = [minute for minute in map(_minute, texts) if minute < NO_TIME]
    # Midnight may be a date without a time, made into a time.
    return day, next(filter(None, minutes), min(minutes, default=NO_TIME))


def _day(text: str) -> str:
    """Return the last valid date of a text. A date in a remark about a change, in
    brackets or after "from", counts only if there is no other.
    """
    return _last_day(re.sub(_REMARK, " ", text)) or _last_day(text)


def _last_day(text: str) -> str:
    for found in reversed(list(re.finditer(_DATE, text))):
        try:
            day = _date(found)
        except ValueError:
            continue
        if day.year >= FIRST_YEAR:
            return day.isoformat()
    return ""


def _date(found: re.Match[str]) -> date:
    if found["iso"]:
        return date.fromisoformat(re.sub("[/.]", "-", found["iso"]))
    text = found["month"]
    month = month_number(text) if text else int(found["number"])
    return date(int(found["year"]), month or 0, int(found["day"]))


def _minute(text: str) -> int:
    """Return the minute of the day of a text's first time."""
    found = re.search(_TIME, text)
    if found is None:
        return NO_TIME
    begin = _minute_of(found)
    until = None if _half(found) else re.match(_UNTIL, text[found.end() :])
    if until and _half(until):  # "3:45 - 4:30PM"
        later = begin + _HALF_A_DAY
        return later if later <= _minute_of(until) < NO_TIME else begin
    return begin


def _minute_of(clock: re.Match[str]) -> int:
    minute = clock["minute"] or clock["dotted"] or "0"
    read = minute_of_day(clock["hour"], minute, _half(clock))
    return NO_TIME if read is None else read


def _half(clock: re.Match[str]) -> str | None:
    return clock["half"] or clock["marked"]
