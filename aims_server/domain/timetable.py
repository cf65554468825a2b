"""A student's month, day by day, from the platform's table.

The page is docs/contract.rst 2.5 key by key; `msgspec.json.encode` makes it JSON.
"""

from calendar import monthrange
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from ..upstream import Schedule, ScheduleRow, Slot

__all__ = ["Timetable", "TimetableDay", "TimetableSlot", "timetable_page"]


class TimetableSlot(Struct, frozen=True, gc=False, rename="camel"):
    """One class; times are "HH:MM" in India. `held` is None if the platform does not
    say.
    """

    start: str
    end: str
    course: str
    course_code: str
    section: str
    faculty: str
    cf_id: int | None
    held: bool | None

    @property
    def file(self) -> tuple[str, ...]:
        """The fields that all classes of one course file share."""
        if self.cf_id is not None:
            return (str(self.cf_id),)
        return self.course, self.course_code, self.section, self.faculty


class TimetableDay(Struct, frozen=True, gc=False):
    """A day that has classes, ascending."""

    date: str
    slots: list[TimetableSlot]


class Timetable(Struct, frozen=True, gc=False, rename="camel"):
    """The timetable page; `month` is "YYYY-MM", None for an empty table."""

    month: str | None
    days: list[TimetableDay]
    cached_at: str
    incomplete: tuple[str, ...]


def timetable_page(schedule: Schedule, cached_at: str) -> Timetable:
    """Turn the table from rows of courses into days of classes.

    Touching slots of one course file become one. A row with an unreadable cell, or with
    a class on a day that the month does not have, is listed in `incomplete`.
    """
    if schedule.month is None:
        return Timetable(None, [], cached_at, ())
    year, month = schedule.month
    last = monthrange(year, month)[1]
    by_day: dict[int, list[TimetableSlot]] = {}
    incomplete: dict[str, None] = {}
    for row in schedule.rows:
        if not row.readable or max(row.slots, default=0) > last:
            incomplete[row.course] = None
        for day, slots in row.slots.items():
            if slots and day <= last:
                by_day.setdefault(day, []).extend(_named(row, slots))
    days = [
        TimetableDay(date(year, month, day).isoformat(), _joined(by_day[day]))
        for day in sorted(by_day)
    ]
    return Timetable(f"{year:04}-{month:02}", days, cached_at, tuple(incomplete))


def _named(row: ScheduleRow, slots: tuple[Slot, ...]) -> list[TimetableSlot]:
    return [
        TimetableSlot(
            start=_clock(slot.start),
            end=_clock(slot.end),
            course=row.course,
            course_code=row.code,
            section=row.section,
            faculty=row.faculty,
            cf_id=row.cf_id,
            held=slot.held,
        )
        for slot in slots
    ]


def _joined(slots: list[TimetableSlot]) -> list[TimetableSlot]:
    """Join touching or overlapping slots of one course file, and sort all slots."""
    joined: list[TimetableSlot] = []
    for slot in sorted(slots, key=lambda slot: (slot.file, slot.start, slot.end)):
        last = joined[-1] if joined else None
        if last and last.file == slot.file and slot.start <= last.end:
            held = last.held if last.held == slot.held else None
            joined[-1] = replace(last, end=max(last.end, slot.end), held=held)
        else:
            joined.append(slot)
    return sorted(joined, key=lambda slot: (slot.start, slot.end, slot.file))


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
