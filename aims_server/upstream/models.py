"""What the platform tells of a student, as typed values; it knows no HTTP.

Everything the platform sends becomes a value here and nowhere else: what leaves this
module has the shape it claims, and whatever cannot be given that shape is a `BadShape`.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from . import wire
from .wire import BadShape, percent_of, refuses_token

__all__ = [
    "BadShape",
    "Card",
    "Counts",
    "Course",
    "CourseFiles",
    "check_quizzes",
    "decode_cards",
    "decode_course_files",
    "login_token",
    "pack_course_files",
    "percent_of",
    "refuses_token",
    "unpack_course_files",
]

_MOST_COURSES: Final = 256  # each costs a call to the platform; 18 are the most seen


class Counts(Struct, frozen=True, gc=False, array_like=True):
    """The platform's own count of the classes of one course, or of all of them.

    `percent` is the platform's own text ("68.42%"), None if it gave none.
    """

    present: int
    absent: int
    leave: int
    exempt: int
    total: int
    percent: str | None


class Course(Struct, frozen=True, gc=False, array_like=True):
    """One course file: a course as one student attends it in one group."""

    cf_id: int
    code: str
    name: str
    counts: Counts


class CourseFiles(Struct, frozen=True, gc=False, array_like=True):
    """A student's course files in the platform's order, never none.

    `total` is the platform's Total row, None if it sent no usable one.
    """

    courses: tuple[Course, ...]
    total: Counts | None
    student_id: int | None
    batch: str
    section: str
    branch: str


class Card(Struct, frozen=True, gc=False):
    """One class of one course: mark and time, all text as sent, "" if absent.

    `state` is the record's `state`, or its `status` where there is no `state`.
    """

    state: str
    start_time: str
    date_formatted: str


_PACKED: Final = msgspec.msgpack.Decoder(CourseFiles)


def decode_course_files(body: bytes) -> CourseFiles:
    """Decode `/custom/getCFMappedWithStudentID?embed_attendance_summary=1`.

    A last row of the code "Total" is the Total row, every other row a course. Rows
    that repeat a course-file id are all kept: the platform's Total counts them too.
    Raises BadShape, also when there is no course or there are two students.
    """
    rows = wire.decode(wire.ROWS, body).response.data
    total = None
    if rows and wire.label(rows[-1].cdata.course_code) == "Total":
        total = _total(rows.pop().attendance_summary)
    if not 1 <= len(rows) <= _MOST_COURSES:
        raise BadShape(f"{len(rows)} course files")
    students = {wire.whole(row.student_id) for row in rows} - {None}
    if len(students) > 1:
        raise BadShape("course files of more than one student")
    return CourseFiles(
        courses=tuple(map(_course, rows)),
        total=total,
        student_id=students.pop() if students else None,
        batch=_first_label(row.batch for row in rows),
        section=_first_label(row.section for row in rows),
        branch=_first_label(row.dept for row in rows),
    )


def decode_cards(body: bytes) -> tuple[Card, ...]:
    """Decode the records of `/cards?type=Attendance`; raises BadShape.

    No records are normal: a course whose classes have not begun.
    """
    return tuple(map(_card, wire.decode(wire.RECORDS, body).response.data))


def check_quizzes(body: bytes) -> int:
    """Count the quizzes in an answer of `/custom/myEvaluatedQuizzes`.

    The body is passed on to the student as it is, so all of it must be sound:
    raises BadShape where it is not.
    """
    return len(wire.decode(wire.QUIZZES, body).response.data)


def login_token(body: bytes) -> str | None:
    """Read the token of an answer to a login, None if it holds no text there.

    Raises BadShape if the answer is no JSON object.
    """
    token = wire.decode(wire.LOGIN, body).token
    return token if isinstance(token, str) and token.strip() else None


def pack_course_files(files: CourseFiles) -> bytes:
    """Return the course files in a compact form to keep."""
    return msgspec.msgpack.encode(files)


def unpack_course_files(packed: bytes) -> CourseFiles:
    """Undo `pack_course_files`, whose bytes alone it is for."""
    return _PACKED.decode(packed)


def _course(row: wire.Row) -> Course:
    cf_id = wire.whole(row.id)
    if cf_id is None:
        raise BadShape("a course file without an id")
    code = wire.label(row.cdata.course_code)
    # Subjects are keyed by name in the answers, so a course is never without one.
    name = wire.label(row.cdata.course_name) or code or str(cf_id)
    return Course(cf_id, code, name, _counts(row.attendance_summary))


def _counts(summary: wire.Summary) -> Counts:
    present = wire.whole(summary.present) or 0
    leave = wire.whole(summary.leave) or 0
    exempt = wire.whole(summary.exempt) or 0
    absent = wire.whole(summary.absent)
    total = wire.whole(summary.total)
    if absent is None:  # filled from Total, as the platform's own clients do
        absent = max(0, (total or 0) - present - leave - exempt)
    if total is None:
        total = present + absent + leave + exempt
    percent = wire.percent(summary.percent)
    return Counts(present, absent, leave, exempt, total, percent)


def _total(summary: wire.Summary) -> Counts | None:
    if wire.whole(summary.present) is None or wire.whole(summary.total) is None:
        return None
    return _counts(summary)


def _card(record: wire.Record) -> Card:
    state = record.state
    if state is None or not state.strip():
        if isinstance(record.status, int | float):
            raise BadShape("a record whose mark is a number")
        state = record.status or ""
    return Card(state, record.start_time or "", record.date_formatted or "")


def _first_label(values: Iterable[wire.Scalar]) -> str:
    return next(filter(None, map(wire.label, values)), "")
