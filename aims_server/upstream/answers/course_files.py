"""Course files: `/custom/getCFMappedWithStudentID` with the attendance summary."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from .fields import Scalar, number, one_line, percent, sum_of, whole
from .json_body import BadShape
from .models import Counts, Course, CourseFiles, only_student
from .oddities import Note, ignore_oddity
from .rows import Envelope, read_list

__all__ = ["decode_course_files"]

_MOST_COURSES: Final = 256  # each costs a call to the platform; 18 are the most seen
_MOST_ROWS: Final = 2 * _MOST_COURSES  # 20 000 odd ones take the event loop 1.5 s


class Summary(Struct, frozen=True, gc=False):
    """`attendance_summary` of a row."""

    present: Scalar = msgspec.field(name="Present", default=None)
    total: Scalar = msgspec.field(name="Total", default=None)
    absent: Scalar = msgspec.field(name="Absent", default=None)
    leave: Scalar = msgspec.field(name="Leave", default=None)
    exempt: Scalar = msgspec.field(name="Exempt", default=None)
    percent: Scalar = msgspec.field(name="Percent", default=None)


class Naming(Struct, frozen=True, gc=False):
    """`cdata` of a row."""

    course_code: Scalar = None
    course_name: Scalar = None


class Row(Struct, frozen=True, gc=False):
    """A course file, or the Total row."""

    cdata: Naming = Naming()
    attendance_summary: Summary | None = None
    id: Scalar = None
    student_id: Scalar = None
    batch: Scalar = None
    section: Scalar = None
    dept: Scalar = None


_ROWS: Final = (msgspec.json.Decoder(Envelope[Row]),)
_NO_COUNTS: Final = Summary()


def decode_course_files(body: bytes, note: Note = ignore_oddity) -> CourseFiles:
    """Decode `/custom/getCFMappedWithStudentID?embed_attendance_summary=1`.

    The row with the code "Total" is the Total row, every other row with an id a course.
    Rows that repeat a course-file id are all kept, since the platform's Total counts
    them too. Raises BadShape, also if no row is a course or rows name two students.
    """
    rows = read_list(body, _ROWS, Row, note, most=_MOST_ROWS)
    total = None
    courses: list[Course] = []
    strays = 0
    for row in rows:
        code, called = one_line(row.cdata.course_code), one_line(row.cdata.course_name)
        label = called if not code and row.id is None else code
        if label.casefold() == "total":
            total = _counts(row) or total
            continue
        course = _course(row, code, called, note)
        if course is None:
            strays += 1
            note("row", "a course file without an id")
        else:
            courses.append(course)
    if len(courses) > _MOST_COURSES:
        raise BadShape(f"{len(courses)} course files")
    if strays and not courses:
        raise BadShape("no row is a course file")
    return CourseFiles(
        courses=tuple(courses),
        total=total,
        student_id=only_student(row.student_id for row in rows),
        batch=_first_name(row.batch for row in rows),
        section=_first_name(row.section for row in rows),
        branch=_first_name(row.dept for row in rows),
    )


def _course(row: Row, code: str, called: str, note: Note) -> Course | None:
    cf_id = whole(row.id)
    if not cf_id:  # 0 is a database's default
        return None
    # Subjects are keyed by name in the answers, so a course is never without one.
    if not called:
        called = code or str(cf_id)
        note("name", "a course file without a name")
    counts = _counts(row)
    if counts is None:
        note("counts", "a course file without usable counts")
    return Course(cf_id, code, called, counts)


def _counts(row: Row) -> Counts | None:
    """Read a summary; None if Present is missing, or Total and the parts of it."""
    summary = row.attendance_summary or _NO_COUNTS
    present, total = number(summary.present), number(summary.total)
    absent, leave = number(summary.absent), number(summary.leave) or 0
    exempt = number(summary.exempt) or 0
    if present is None:
        return None
    if total is None:
        if absent is None:
            return None
        total = sum_of((present, absent, leave, exempt))
    elif absent is None:  # filled from Total, as the platform's own clients do
        absent = max(0, sum_of((total, -present, -leave, -exempt)))
    return Counts(present, absent, leave, total, percent(summary.percent))


def _first_name(values: Iterable[Scalar]) -> str:
    return next(filter(None, map(one_line, values)), "")
