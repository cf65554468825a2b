"""One subject's records as counted days: which day a record belongs to, and its tally.

Pure, and in the contract's words: a day here is an entry of `daily` in `api.md` 2.2.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw, Struct

from .models import Card

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
    undated = by_day.pop(None, [])
    days = [_day(day, by_day[day]) for day in sorted(filter(None, by_day))]
    present, absent, leave = _tally(undated)
    return SubjectDays(
        total_present=present + sum(day.present for day in days),
        total_absent=absent + sum(day.absent for day in days),
        total_leave=leave + sum(day.leave for day in days),
        total_records=len(undated) + sum(len(day.details) for day in days),
        daily=Raw(msgspec.json.encode(days)),
    )


def _by_day(cards: Iterable[Card]) -> dict[str | None, list[Card]]:
    """Part the records by their day, "YYYY-MM-DD", None where it cannot be read.

    A day is the wall-clock date as the platform wrote it, in no zone, never shifted.
    """
    by_day: defaultdict[str | None, list[Card]] = defaultdict(list)
    unread: list[Card] = []
    # Thousands of records share some hundred dates: each is read once.
    for text, group in _grouped(cards, _start).items():
        day = _iso_day(text)
        (by_day[day] if day else unread).extend(group)
    for text, group in _grouped(unread, _last_word).items():
        by_day[_spelled_day(text)].extend(group)
    return by_day


def _grouped(
    cards: Iterable[Card], text: Callable[[Card], str]
) -> dict[str, list[Card]]:
    groups: defaultdict[str, list[Card]] = defaultdict(list)
    for card in cards:
        groups[text(card)].append(card)
    return groups


def _start(card: Card) -> str:
    # A date, and the character behind that says whether it ends there.
    return card.start_time.strip()[:11]


def _last_word(card: Card) -> str:
    words = card.date_formatted.rsplit(maxsplit=1)
    return words[-1] if words else ""


@lru_cache(2048)  # a term's dates are the same for all students
def _iso_day(text: str) -> str | None:
    # fromisoformat would also take "20250901" and weeks, which nobody has seen sent.
    if text[4:5] != "-" or text[7:8] != "-" or text[10:11] not in ("", " ", "T"):
        return None
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return None


def _spelled_day(text: str) -> str | None:
    match = _SPELLED.fullmatch(text)
    if not match:
        return None
    day, month, year = match.groups()
    try:
        number = 1 + _MONTH_NAMES.index(month.lower())
        return date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None


def _tally(cards: list[Card]) -> tuple[int, int, int]:
    marks = [_mark(card.state) for card in cards]
    return marks.count("present"), marks.count("absent"), marks.count("leave")


@lru_cache(256)
def _mark(state: str) -> str:
    return state.strip().lower()


def _day(day: str, cards: list[Card]) -> Day:
    details = [Detail(c.start_time, c.state, c.date_formatted) for c in cards]
    details.sort()
    return Day(day, *_tally(cards), details)
