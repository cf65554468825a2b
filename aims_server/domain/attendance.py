"""A student's attendance pages, computed from the models: pure, no call, no clock.

The pages are docs/contract.rst 2.1 to 2.3 key by key; `msgspec.json.encode` makes them
JSON.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct

from ..upstream import Counts, Course, CourseFiles, Note, Number, ignore_oddity, sum_of
from .days import SubjectDays
from .names import subject_keys
from .planner import can_miss, must_attend
from .shares import percent_of

__all__ = [
    "AllAttendance",
    "Attendance",
    "CourseAttendance",
    "Subject",
    "SubjectAttendance",
    "all_attendance_page",
    "attendance_page",
    "subject_attendance_page",
]


class CourseAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """One course of the summary page; the planner's are None before its first class."""

    course: str
    course_code: str
    present: Number
    total: Number
    percent: str
    can_miss: int | None
    must_attend: int | None


class Attendance(Struct, frozen=True, gc=False, rename="camel"):
    """The summary page (docs/contract.rst 2.1); `target` is in percent."""

    daily_attendance: tuple[CourseAttendance, ...]
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


class Subject(Struct, frozen=True, gc=False, rename="camel"):
    """One subject of the all-subjects page.

    The three totals are the records' own count, or the summary's where the records
    cannot be believed; `total` and what follows are the summary's.
    """

    course_code: str
    cf_id: int
    total_present: Number
    total_absent: Number
    total_leave: Number
    total: Number
    percent: str
    can_miss: int | None
    must_attend: int | None
    entered_until: str | None
    daily: Raw


class AllAttendance(Struct, frozen=True, gc=False, rename="camel"):
    """The all-subjects page (docs/contract.rst 2.2)."""

    student_id: int | None
    total_present_all_subjects: Number
    total_absent_all_subjects: Number
    total_leave_all_subjects: Number
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
_NO_COUNTS: Final = Counts(0, 0, 0, 0, 0, None)


def attendance_page(files: CourseFiles, target: int) -> Attendance:
    """Sum up every course, in the platform's order and under the names of all pages.

    Totals and percentages are the platform's own where it gives them, else summed and
    computed as it does (see `percent_of`). A course without usable counts has zeros
    and stands in `incomplete`. `target` is 1 to 100, in percent.
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
    named = list(zip(names, files.courses, strict=True))
    return Attendance(
        daily_attendance=tuple(
            _course_attendance(name, course, target) for name, course in named
        ),
        total_present=present,
        total_classes=classes,
        overall_percentage=percent or percent_of(present, classes),
        batch=files.batch,
        section=files.section,
        branch=files.branch,
        student_id=files.student_id,
        target=target,
        can_miss=can_miss(present, classes, target),
        must_attend=must_attend(present, classes, target),
        incomplete=tuple(name for name, course in named if course.counts is None),
    )


def all_attendance_page(
    files: CourseFiles,
    days: Mapping[int, SubjectDays | None],
    cached_at: str,
    target: int,
    note: Note = ignore_oddity,
) -> AllAttendance:
    """Put every subject on one page; `days` is keyed by course-file id.

    A subject whose days are None (or not there), or cannot be believed beside the
    summary, carries the summary's counts and stands in `incomplete`. The totals are
    the sums over the subjects. A course code that several subjects have leads to the
    first of them that has classes.
    """
    subjects: dict[str, Subject] = {}
    incomplete: list[str] = []
    for key, course in zip(subject_keys(files.courses), files.courses, strict=True):
        had = days.get(course.cf_id)
        believed = _believed(had, course.counts, note)
        if not believed:
            incomplete.append(key)
        subjects[key] = _subject(course, had, target, believed=believed)
    return AllAttendance(
        student_id=files.student_id,
        total_present_all_subjects=sum_of([s.total_present for s in subjects.values()]),
        total_absent_all_subjects=sum_of([s.total_absent for s in subjects.values()]),
        total_leave_all_subjects=sum_of([s.total_leave for s in subjects.values()]),
        subjects=subjects,
        course_code_map=_course_code_map(subjects),
        cached_at=cached_at,
        incomplete=tuple(incomplete),
    )


def subject_attendance_page(
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


def _course_attendance(name: str, course: Course, target: int) -> CourseAttendance:
    counts = course.counts or _NO_COUNTS
    return CourseAttendance(
        course=name,
        course_code=course.code,
        present=counts.present,
        total=counts.total,
        percent=counts.percent or percent_of(counts.present, counts.total),
        can_miss=can_miss(counts.present, counts.total, target),
        must_attend=must_attend(counts.present, counts.total, target),
    )


def _believed(days: SubjectDays | None, counts: Counts | None, note: Note) -> bool:
    """Whether a subject's records are all there is, as far as the summary shows.

    A mere difference of the two is believed: what the platform's Total includes is
    not known.
    """
    if days is None or not days.complete:
        return False
    if counts is None:
        return True
    if not days.total_records and counts.total:
        note("empty", "no records where the summary has classes")
        return False
    of_summary = counts.present, counts.absent, counts.leave
    if not days.total_counted and any(of_summary):
        note("mark", "no record with a known mark where the summary has some")
        return False
    if of_summary != (days.total_present, days.total_absent, days.total_leave):
        note("difference", "records and summary count differently")
    return True


def _subject(
    course: Course, days: SubjectDays | None, target: int, *, believed: bool
) -> Subject:
    counts = course.counts
    totals: tuple[Number, Number, Number]
    if days is not None and (believed or counts is None):
        totals = days.total_present, days.total_absent, days.total_leave
    else:
        shown = counts or _NO_COUNTS
        totals = shown.present, shown.absent, shown.leave
    if counts is not None:
        present, total, percent = counts.present, counts.total, counts.percent
    else:
        present, total, percent = totals[0], sum_of(totals), None
    return Subject(
        course.code,
        course.cf_id,
        *totals,
        total=total,
        percent=percent or percent_of(present, total),
        can_miss=can_miss(present, total, target),
        must_attend=must_attend(present, total, target),
        entered_until=days.entered_until if days else None,
        daily=days.daily if days else _NO_DAYS,
    )


def _course_code_map(subjects: Mapping[str, Subject]) -> dict[str, str]:
    # Those with classes first, so that they take their code before an empty one does.
    ranked = sorted(subjects.items(), key=lambda item: not _has_classes(item[1]))
    keys: dict[str, str] = {}
    for key, subject in ranked:
        if subject.course_code:
            keys.setdefault(subject.course_code, key)
    return keys


def _has_classes(subject: Subject) -> bool:
    return bool(subject.total or subject.entered_until or subject.total_present)
