"""A student's figures, computed from the models: pure, and in the contract's words.

The pages are docs/contract.rst 2.1 to 2.3, key by key; `msgspec.json.encode` makes them
JSON.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final

from msgspec import Raw, Struct

from ..upstream import Course, CourseFiles, percent_of
from .days import SubjectDays, subject_days

__all__ = [
    "AllAttendance",
    "Attendance",
    "CourseAttendance",
    "Subject",
    "SubjectAttendance",
    "SubjectDays",
    "all_attendance",
    "attendance",
    "subject_attendance",
    "subject_days",
    "subject_keys",
]


class CourseAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """One course of the summary page."""

    course: str
    course_code: str
    present: int
    total: int
    percent: str


class Attendance(Struct, frozen=True, gc=False, rename="camel"):
    """The summary page (docs/contract.rst 2.1)."""

    daily_attendance: tuple[CourseAttendance, ...]
    total_present: int
    total_classes: int
    overall_percentage: str
    batch: str
    section: str
    branch: str
    student_id: int | None


class Subject(Struct, frozen=True, gc=False, rename="camel"):
    """One subject of the all-subjects page."""

    course_code: str
    cf_id: int
    total_present: int
    total_absent: int
    total_leave: int
    daily: Raw


class AllAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """The all-subjects page (docs/contract.rst 2.2)."""

    student_id: int | None
    total_present_all_subjects: int
    total_absent_all_subjects: int
    total_leave_all_subjects: int
    subjects: dict[str, Subject]
    course_code_map: dict[str, str]
    cached_at: str
    incomplete: tuple[str, ...]


class SubjectAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """The one-subject page (docs/contract.rst 2.3)."""

    subject: str
    student_id: int
    cf_id: int
    total_present: int
    total_absent: int
    total_leave: int
    total_records: int
    daily_attendance: Raw
    fetched_at: str


_NO_DAYS: Final = Raw(b"[]")


def attendance(files: CourseFiles) -> Attendance:
    """Sum up every course, in the platform's order.

    Totals and percentages are the platform's own where it gives them ("NaN%" is
    passed on as well), else summed and computed as it does (see `percent_of`).
    """
    total = files.total
    if total:
        present, classes, percent = total.present, total.total, total.percent
    else:
        present = sum(course.counts.present for course in files.courses)
        classes = sum(course.counts.total for course in files.courses)
        percent = None
    return Attendance(
        daily_attendance=tuple(map(_course_attendance, files.courses)),
        total_present=present,
        total_classes=classes,
        overall_percentage=percent or percent_of(present, classes),
        batch=files.batch,
        section=files.section,
        branch=files.branch,
        student_id=files.student_id,
    )


def all_attendance(
    files: CourseFiles, days: Mapping[int, SubjectDays | None], cached_at: str
) -> AllAttendance:
    """Put every subject on one page; `days` is keyed by course-file id.

    A subject whose days are None (or not there) carries the summary's counts and
    stands in `incomplete`. The totals are the sums over the subjects. A course code
    that several subjects bear leads to the first of them.
    """
    keys = subject_keys(files.courses)
    subjects = {
        key: _subject(course, days.get(course.cf_id))
        for key, course in zip(keys, files.courses, strict=True)
    }
    codes: dict[str, str] = {}
    for key, subject in subjects.items():
        if subject.course_code:
            codes.setdefault(subject.course_code, key)
    return AllAttendance(
        student_id=files.student_id,
        total_present_all_subjects=sum(s.total_present for s in subjects.values()),
        total_absent_all_subjects=sum(s.total_absent for s in subjects.values()),
        total_leave_all_subjects=sum(s.total_leave for s in subjects.values()),
        subjects=subjects,
        course_code_map=codes,
        cached_at=cached_at,
        incomplete=tuple(k for k, s in subjects.items() if days.get(s.cf_id) is None),
    )


def subject_attendance(
    subject: str, student_id: int, cf_id: int, days: SubjectDays, fetched_at: str
) -> SubjectAttendance:
    """Put one subject, under the name it was asked for by, on a page of its own."""
    return SubjectAttendance(
        subject=subject,
        student_id=student_id,
        cf_id=cf_id,
        total_present=days.total_present,
        total_absent=days.total_absent,
        total_leave=days.total_leave,
        total_records=days.total_records,
        daily_attendance=days.daily,
        fetched_at=fetched_at,
    )


def subject_keys(courses: Iterable[Course]) -> tuple[str, ...]:
    """Name every course differently: `Name`, `Name (CODE)`, `Name (CODE, cfId)`.

    Each takes the first of these that no course before it has; should all be taken
    (a course-file id sent twice, a course named like another's key) a number follows.
    A course without a code is told apart by its id alone.
    """
    keys: dict[str, None] = {}
    for course in courses:
        keys[next(key for key in _names(course) if key not in keys)] = None
    return tuple(keys)


def _course_attendance(course: Course) -> CourseAttendance:
    counts = course.counts
    return CourseAttendance(
        course=course.name,
        course_code=course.code,
        present=counts.present,
        total=counts.total,
        percent=counts.percent or percent_of(counts.present, counts.total),
    )


def _subject(course: Course, days: SubjectDays | None) -> Subject:
    counts = course.counts
    if days is None:
        totals, daily = (counts.present, counts.absent, counts.leave), _NO_DAYS
    else:
        totals = days.total_present, days.total_absent, days.total_leave
        daily = days.daily
    return Subject(course.code, course.cf_id, *totals, daily)


def _names(course: Course) -> Iterator[str]:
    yield course.name
    if course.code:
        yield f"{course.name} ({course.code})"
    unique = ", ".join(filter(None, (course.code, str(course.cf_id))))
    yield f"{course.name} ({unique})"
    for number in count(2):
        yield f"{course.name} ({unique}, {number})"
