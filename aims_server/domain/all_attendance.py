"""The page of all subjects, day by day.

The page is docs/contract.rst 2.2 key by key; `encode_page` makes it JSON.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct

from ..upstream import Counts, Course, CourseFiles, Note, Number, ignore_oddity, sum_of
from .days import SubjectDays
from .names import subject_keys
from .percentages import percent_of
from .planner import planned

__all__ = ["AllAttendance", "Subject", "all_attendance_page"]

_NO_DAYS: Final = Raw(b"[]")


class Subject(Struct, frozen=True, gc=False, rename="camel"):
    """One subject of the page.

    The three totals are counted from the records, or are the summary's if the records
    are not complete; `total`, `percent`, `can_miss` and `must_attend` are the
    summary's.
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
    """The page; `subjects` by the names of `subject_keys`."""

    student_id: int | None
    total_present_all_subjects: Number
    total_absent_all_subjects: Number
    total_leave_all_subjects: Number
    subjects: dict[str, Subject]
    course_code_map: dict[str, str]
    cached_at: str
    incomplete: tuple[str, ...]


def all_attendance_page(
    files: CourseFiles,
    days: Mapping[int, SubjectDays | None],
    cached_at: str,
    target: int,
    note: Note = ignore_oddity,
) -> AllAttendance:
    """Put every subject on one page; `days` is keyed by course-file id.

    A subject without days, or whose days are not complete by the summary, has the
    summary's counts, if any, and is listed in `incomplete`. The totals are sums over
    the subjects. A course code of several subjects leads to the first one with classes.
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


def _believed(days: SubjectDays | None, counts: Counts | None, note: Note) -> bool:
    """Whether a subject's records are complete, as far as the summary shows.

    A mere difference does not count, since it is not known what the platform's Total
    includes.
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
    totals: tuple[Number, Number, Number] = 0, 0, 0
    if days is not None and (believed or counts is None):
        totals = days.total_present, days.total_absent, days.total_leave
    elif counts is not None:
        totals = counts.present, counts.absent, counts.leave
    if counts is not None:
        present, total, percent = counts.present, counts.total, counts.percent
    else:
        present, total, percent = totals[0], sum_of(totals), None
    can_miss, must_attend = planned(present, total, target)
    return Subject(
        course.code,
        course.cf_id,
        total_present=totals[0],
        total_absent=totals[1],
        total_leave=totals[2],
        total=total,
        percent=percent or percent_of(present, total),
        can_miss=can_miss,
        must_attend=must_attend,
        entered_until=days.entered_until if days else None,
        daily=days.daily if days else _NO_DAYS,
    )


def _course_code_map(subjects: Mapping[str, Subject]) -> dict[str, str]:
    # Those with classes first, so that they get their code before an empty one does.
    ranked = sorted(
        subjects.items(), key=lambda item: not (item[1].total or item[1].entered_until)
    )
    keys: dict[str, str] = {}
    for key, subject in ranked:
        if subject.course_code:
            keys.setdefault(subject.course_code, key)
    return keys
