"""One subject's records as counted days: which day a record belongs to, and its tally.

Pure, and in the contract's words: a day here is an entry of `daily` in
docs/contract.rst 2.2.
"""

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ..upstream import Card

__all__ = ["Day", "Detail", "SubjectDays", "subject_days"]


class Detail(Struct, frozen=True, gc=False, order=True):
    """One class of a day, in the platform's own texts; ordered by them."""

    time: str
    status: str
    formatted: str


class Day(Struct, frozen=True, gc=False):
    """One day of one subject; a class neither of the three stands in details only."""

    date: str
    present: int
    absent: int
    leave: int
    details: list[Detail]


class SubjectDays(Struct, frozen=True, gc=False):
    """The figures of one subject.

    `daily` is the JSON of its `Day`s, ascending: encoded once, when the records
    arrive, so that a page of many subjects is put together by copying.
    """

    total_present: int
    total_absent: int
    total_leave: int
    total_records: int
    daily: Raw


# In English whatever the locale, which is why calendar's names are not taken.
_MONTH_NAMES: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_SPELLED: Final = re.compile(r"([0-9]{1,2})/([A-Za-z]{3})/([0-9]{4})")


def subject_days(cards: Iterable[Card]) -> SubjectDays:
    """Count one subject's records, in total and day by day, whatever their order.

    A record counts in the totals and in the day of its `start_time`, else of the last
    word of its `date_formatted` (dd/Mon/yyyy); in no day if neither can be read.
    """
    by_day = _by_day(cards)
    days = [_day(day, by_day[day]) for day in sorted(by_day)]
    present = absent = leave = records = 0
    for day in days:
        present += day.present
        absent += day.absent
        leave += day.leave
        records += len(day.details)
    if days and not days[0].date:
        del days[0]  # the records of no day
    daily = Raw(msgspec.json.encode(days))
    return SubjectDays(present, absent, leave, records, daily)


def _by_day(cards: Iterable[Card]) -> dict[str, list[Card]]:
    """Part the records by their day, "YYYY-MM-DD", "" where it cannot be read.

    A day is the wall-clock date as the platform wrote it, in no zone, never shifted.
    """
    by_day: dict[str, list[Card]] = {}
    for card in cards:
        # A date, and the character behind that says whether it ends there.
        day = _iso_day(card.start_time.strip()[:11]) or _spelled_day(card)
        if day in by_day:
            by_day[day].append(card)
        else:
            by_day[day] = [card]
    return by_day


@lru_cache(2048)  # a term's dates are the same for all students
def _iso_day(text: str) -> str:
    # fromisoformat would also take "20250901" and weeks, which nobody has seen sent.
    if text[4:5] != "-" or text[7:8] != "-" or text[10:11] not in ("", " ", "T"):
        return ""
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return ""


def _spelled_day(card: Card) -> str:
    words = card.date_formatted.rsplit(maxsplit=1)
    return _spelled(words[-1][:12]) if words else ""  # dd/Mon/yyyy, and what is more


@lru_cache(2048)
def _spelled(word: str) -> str:
    match = _SPELLED.fullmatch(word)
    if not match:
        return ""
    day, month, year = match.groups()
    try:
        number = 1 + _MONTH_NAMES.index(month.lower())
        return date(int(year), number, int(day)).isoformat()
    except ValueError:
        return ""


@lru_cache(256)
def _mark(state: str) -> str:
    return state.strip().lower()


def _day(day: str, cards: list[Card]) -> Day:
    # One loop, though it does two things: most days have one class, and a page has
    # hundreds of days.
    present = absent = leave = 0
    details: list[Detail] = []
    for card in cards:
        details.append(Detail(card.start_time, card.state, card.date_formatted))
        mark = _mark(card.state)
        if mark == "present":
            present += 1
        elif mark == "absent":
            absent += 1
        elif mark == "leave":
            leave += 1
    if len(details) > 1:
        details.sort()
    return Day(day, present, absent, leave, details)
