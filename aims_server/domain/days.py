"""Counts one subject's records day by day. A day is an entry of `daily` in
docs/contract.rst 2.2.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from ..primitives import Steps
from ..upstream import Card, Note, one_line
from .dates import STARTS, when
from .marks import MARKS
from .records import RECORDS_A_STEP, by_time, distinct

__all__ = ["Day", "Detail", "SubjectDays", "count_days"]


class Detail(Struct, frozen=True, gc=False, omit_defaults=True):
    """One class of a day, in the platform's own texts; `faculty` is omitted if the
    platform names nobody.
    """

    time: str
    status: str
    formatted: str
    faculty: str = ""


class Day(Struct, frozen=True, gc=False):
    """One day of one subject; a class that is none of the three is in `details`."""

    date: str
    present: int
    absent: int
    leave: int
    details: list[Detail]


class SubjectDays(Struct, frozen=True, gc=False):
    """The counts of one subject, from its records.

    `daily` is the JSON of its `Day`s, ascending; it is encoded once, when the records
    arrive, so that a page of many subjects only copies it. `entered_until` is the last
    of these days. `complete` is False if the platform has more records than could be
    fetched.
    """

    total_present: int
    total_absent: int
    total_leave: int
    total_records: int
    daily: Raw
    entered_until: str | None = None
    complete: bool = True

    @property
    def total_counted(self) -> int:
        """The number of records that count in one of the three."""
        return self.total_present + self.total_absent + self.total_leave


def count_days(
    cards: Sequence[Card], note: Note, *, complete: bool
) -> Steps[SubjectDays]:
    """Count one subject's records, each once, in total and day by day, in any order. A
    step takes a millisecond at most, mostly a tenth of it.

    A record with an unreadable date counts in the totals but in no day.
    """
    if len({card.id for card in cards}) < len(cards):
        cards = yield from distinct(cards, note)
    days = yield from _by_day(cards, note)
    if days is None:
        ordered = yield from by_time(cards)
        days = yield from _by_day(ordered, note, is_sorted=True)
        assert days is not None
    present = absent = leave = 0
    for day in days:
        present += day.present
        absent += day.absent
        leave += day.leave
    for _ in days.pop(0).details:
        note("date", "a record without a date that can be read")
    daily = Raw(msgspec.json.encode(days))
    until = days[-1].date if days else None
    return SubjectDays(present, absent, leave, len(cards), daily, until, complete)


def _by_day(  # noqa: C901 - parted it takes 45 us more of a page of 600 records
    cards: Sequence[Card], note: Note, *, is_sorted: bool = False
) -> Steps[list[Day] | None]:
    """Put the records into their days, the first being of those without a date; None if
    they must be sorted first.

    The platform mostly sends them in order, which is checked on the way.
    """
    days: list[Day] = []
    last_day, last_minute = "", -1
    last_teacher = faculty = ""
    present = absent = leave = unmarked = 0
    details: list[Detail] = []
    starts, marks = STARTS.known, MARKS.known
    for first in range(0, len(cards), RECORDS_A_STEP):  # `in_steps`, without its calls
        for card in cards[first : first + RECORDS_A_STEP]:
            start, state, teacher = card.start_time, card.state, card.faculty_name
            wording = card.date_formatted
            try:
                began, mark = starts[start], marks[state]
            except KeyError:  # seen for the first time
                began, mark = STARTS(start), MARKS(state)
            day, minute = began or when(start, wording)
            if day != last_day:
                if day < last_day:
                    return None
                days.append(Day(last_day, present, absent, leave, details))
                present = absent = leave = 0
                details = []
                last_day = day
            elif minute <= last_minute and not is_sorted:
                return None
            last_minute = minute
            if teacher != last_teacher:  # a course has one or two
                last_teacher, faculty = teacher, one_line(teacher)
            details.append(Detail(start, state, wording, faculty))
            if mark == "present":
                present += 1
            elif mark == "absent":
                absent += 1
            elif mark == "leave":
                leave += 1
            elif not state:
                unmarked += 1
        if len(cards) > RECORDS_A_STEP:
            yield
    days.append(Day(last_day, present, absent, leave, details))
    for _ in range(unmarked):
        note("mark", "a record without a mark")
    return days
