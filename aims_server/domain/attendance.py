"""The summary of a student's attendance, course by course.

The page is docs/contract.rst 2.1 key by key; `msgspec.json.encode` makes it JSON.
"""

from typing import Final

from msgspec import Struct

from ..upstream import Counts, Course, CourseFiles, Number, sum_of
from .names import subject_keys
from .percentages import percent_of
from .planner import planned

__all__ = ["Attendance", "CourseAttendance", "attendance_page"]


class CourseAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """One course of the summary; the last two are None before its first class."""

    course: str
    course_code: str
    present: Number
    total: Number
    percent: str
    can_miss: int | None
    must_attend: int | None


class Attendance(Struct, frozen=True, gc=False, rename="camel"):
    """The summary page; `target` is in percent."""

    daily_attendance: list[CourseAttendance]
    total_present: Number
    total_classes: Number
    overall_percentage: str
    batch: str
    section: str
    branch: str
    student_id: int | None
    target: int
    can_miss: int | None
    must_attend: int | None
    incomplete: tuple[str, ...]


_NO_COUNTS: Final = Counts(0, 0, 0, 0, None)


def attendance_page(files: CourseFiles, target: int) -> Attendance:
    """Summarize every course, in the platform's order and under the names of all pages.

    Totals and percentages are the platform's own if it sends them, else summed, and
    computed as it does (`percent_of`). A course without usable counts has zeros and is
    listed in `incomplete`. `target` is 1 to 100, in percent.
    """
    names = subject_keys(files.courses)
    counted = [course.counts for course in files.courses if course.counts]
    if files.total:
        present, classes = files.total.present, files.total.total
        percent = files.total.percent
    else:
        present = sum_of(counts.present for counts in counted)
        classes = sum_of(counts.total for counts in counted)
        percent = None
    can_miss, must_attend = planned(present, classes, target)
    named = list(zip(names, files.courses, strict=True))
    return Attendance(
        daily_attendance=[
            _course_attendance(name, course, target) for name, course in named
        ],
        total_present=present,
        total_classes=classes,
        overall_percentage=percent or percent_of(present, classes),
        batch=files.batch,
        section=files.section,
        branch=files.branch,
        student_id=files.student_id,
        target=target,
        can_miss=can_miss,
        must_attend=must_attend,
        incomplete=tuple(name for name, course in named if course.counts is None),
    )


def _course_attendance(name: str, course: Course, target: int) -> CourseAttendance:
    counts = course.counts or _NO_COUNTS
    can_miss, must_attend = planned(counts.present, counts.total, target)
    return CourseAttendance(
        course=name,
        course_code=course.code,
        present=counts.present,
        total=counts.total,
        percent=counts.percent or percent_of(counts.present, counts.total),
        can_miss=can_miss,
        must_attend=must_attend,
    )
