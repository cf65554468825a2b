"""When classes are held: weekdays of a term, holidays, the periods of a course."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cached_property, lru_cache
from random import Random
from typing import NamedTuple

from .catalogue import (
    LAB_PERIODS,
    LECTURE_PERIODS,
    PERIODS,
    Clock,
)

__all__ = ["Lesson", "Timetable", "lesson"]

WEEKDAYS = 5
LECTURES_A_WEEK = 3


class Lesson(NamedTuple):
    """One period of one course: wall clock in India, in the platform's own texts."""

    start: str
    end: str
    formatted: str


@lru_cache(maxsize=8192)
def lesson(day: date, period: int) -> Lesson:
    """Return the lesson of a day's period (0 to 7)."""
    start, end = (_at(day, clock) for clock in PERIODS[period])
    return Lesson(
        f"{start:%Y-%m-%d %H:%M:%S}",
        f"{end:%Y-%m-%d %H:%M:%S}",
        f"{start:%I:%M%p} - {end:%I:%M%p} {day:%d/%b/%Y}",
    )


class Timetable:
    """A term of `weeks` weeks that has come as far as `today`."""

    def __init__(self, today: date, weeks: int, seed: int) -> None:
        """Draw the holidays: about one day in a fortnight."""
        self.today = today
        self.begin = today - timedelta(days=today.weekday(), weeks=max(weeks - 1, 0))
        self._weeks = weeks
        self._seed = seed

    def is_holiday(self, day: date) -> bool:
        """Say whether that day is a feast, on a weekday or not."""
        fortnight, place = divmod(day.toordinal(), 14)
        return Random(f"{self._seed}/feast/{fortnight}").randrange(14) == place

    def is_class_day(self, day: date) -> bool:
        """Say whether classes are held that day."""
        return day.weekday() < WEEKDAYS and not self.is_holiday(day)

    @cached_property
    def class_days(self) -> tuple[date, ...]:
        """The class days of the term up to today, ascending."""
        span = (self.today - self.begin).days + 1 if self._weeks else 0
        days = (self.begin + timedelta(days=n) for n in range(span))
        return tuple(day for day in days if self.is_class_day(day))

    def weekly(self, number: int, *, lab: bool, shift: int) -> dict[int, list[int]]:
        """Return the periods of each weekday for a section's `number`-th course.

        A lab has the two long afternoon periods of one day, a lecture three single
        periods on three days; `shift` sets the sections apart. The step of 7 shares
        no divisor with the 30 places, so ten lectures fill the week without a clash.
        """
        if lab:
            return {(number + shift) % WEEKDAYS: list(LAB_PERIODS)}
        periods: dict[int, list[int]] = {}
        for nth in range(LECTURES_A_WEEK):
            place = (7 * (LECTURES_A_WEEK * number + nth) + shift) % 30
            row, weekday = divmod(place, WEEKDAYS)
            periods.setdefault(weekday, []).append(LECTURE_PERIODS[row])
        return periods

    def lessons(self, weekly: dict[int, list[int]]) -> tuple[Lesson, ...]:
        """Return the lessons that a week's periods gave so far, ascending."""
        return tuple(
            lesson(day, period)
            for day in self.class_days
            for period in weekly.get(day.weekday(), ())
        )

    def crammed(self, count: int) -> tuple[Lesson, ...]:
        """Return `count` lessons, every period of every class day up to today."""
        newest_first = self._every_period()
        return tuple(next(newest_first) for _ in range(count))[::-1]

    def _every_period(self) -> Iterator[Lesson]:
        day = self.today
        while True:
            if self.is_class_day(day):
                for period in reversed(range(len(PERIODS))):
                    yield lesson(day, period)
            day -= timedelta(days=1)


def _at(day: date, clock: Clock) -> datetime:
    return datetime.combine(day, time(*clock))
