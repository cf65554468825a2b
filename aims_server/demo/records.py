"""Course files and cards as the platform sends them (docs/platform.rst 2.2, 2.3)."""

from collections import Counter
from random import Random
from typing import Any

from .enrolment import Course, Enrolment, Student
from .shapes import CARD_SHAPES, COURSE_SHAPES, shaped
from .switches import Switches

__all__ = [
    "attendance_summary",
    "bare_course_rows",
    "card_rows",
    "course_rows",
    "percent",
]

UNREADABLE: tuple[tuple[str | None, str | None], ...] = (
    ("", ""),
    ("0000-00-00 00:00:00", "-"),
    (None, None),
    ("2025-13-45 08:50:00", "08:50AM - 09:40AM"),
    ("Invalid date", "08:50AM - 09:40AM 31/Feb/2025"),
)
"""Pairs of `start_time` and `date_formatted` in which there is no date."""


def course_rows(
    enrolment: Enrolment, student: Student, switches: Switches
) -> list[dict[str, Any]]:
    """Return one row per course with its attendance, then the Total row."""
    rows = []
    present = total = 0
    for course in enrolment.courses(student):
        row = _course_row(student, course, switches)
        counts = Counter(enrolment.marks(student, course))
        summary = attendance_summary(counts, switches)
        present, total = present + summary["Present"], total + summary["Total"]
        rows.append(row | {"attendance_summary": summary})
    overall = {"Percent": percent(present, total, switches)}
    overall |= {"Total": total, "Present": present}
    rows.append({"cdata": {"course_code": "Total"}, "attendance_summary": overall})
    return shaped(rows, switches.shapes, COURSE_SHAPES)


def bare_course_rows(
    enrolment: Enrolment, student: Student, switches: Switches
) -> list[dict[str, Any]]:
    """Return one row per course, as without `embed_attendance_summary`."""
    return [
        _course_row(student, course, switches) for course in enrolment.courses(student)
    ]


def _course_row(student: Student, course: Course, switches: Switches) -> dict[str, Any]:
    number = _id_form(switches)
    row = {
        "id": number(course.cf_id),
        "cf_code": course.cf_code,
        "batch": "2027",
        "section": student.section,
        "faculty_name": course.teacher,
        "dept": student.department,
        "course_id": number(7_293_001 + course.number),
        "batch_id": number(962),
        "semester": 5,
        "dept_id": number(student.department_id),
        "master_course_id": number(18_000 + course.number),
        "status": "InProgress",
        "cdata": {
            "course_code": course.subject.code,
            "course_name": course.subject.name,
            "academic_session": "2025-26",
            "students_count_formatted": 60 + course.number % 9,
            "tutorial_groups_count_formatted": 0,
        },
        "created_at": "2025-08-20 14:06:05",
        "updated_at": "2025-08-20 14:06:05",
        "student_id": number(student.id),
        "entity": "CF",
    }
    return row | {"cf_id": number(course.cf_id)} if switches.cf_id else row


def attendance_summary(counts: Counter[str], switches: Switches) -> dict[str, Any]:
    """Return the summary of one course; Leave and Exempt count in Total or not."""
    total = counts["Present"] + counts["Absent"]
    if switches.leave_in_total:
        total = counts.total()
    return {
        "Present": counts["Present"],
        "Absent": counts["Absent"],
        "Exempt": counts["Exempt"],
        "Leave": counts["Leave"],
        "Total": total,
        "Percent": percent(counts["Present"], total, switches),
    }


def percent(present: int, total: int, switches: Switches) -> str | float | None:
    """Return present/total rounded half up to two decimals, as PHP does, trailing zeros
    dropped.
    """
    if total == 0:
        return switches.percent_at_zero
    share = (20_000 * present + total) // (2 * total) / 100
    return share if switches.percent_as_number else f"{share:.10g}%"


def card_rows(
    enrolment: Enrolment, student: Student, course: Course, switches: Switches
) -> list[dict[str, Any]]:
    """Return one record per lesson of the course, oldest first."""
    number = _id_form(switches)
    marks = enrolment.marks(student, course)
    place = (student.index * enrolment.subjects + course.number) * max(500, len(marks))
    extra = switches.extra_states
    draw = Random(f"{enrolment.seed}/unreadable/{student.index}/{course.number}")
    rows: list[dict[str, Any]] = []
    for nth, (held, mark) in enumerate(zip(course.lessons, marks, strict=True)):
        if extra and mark == "Exempt":
            mark = extra[nth % len(extra)]
        start: str | None = held.start.replace(" ", switches.start_time_separator)
        formatted: str | None = held.formatted
        if switches.unreadable_dates and draw.random() < switches.unreadable_dates:
            start, formatted = UNREADABLE[nth % len(UNREADABLE)]
        rows.append(
            {
                "id": number(91_000_001 + place + nth),
                "type": "P" if course.subject.lab else "L",
                "state": mark,
                "status": mark,
                "start_time": start,
                "end_time": held.end,
                "date_formatted": formatted,
                "faculty_name": course.teacher,
            }
        )
        if switches.students_in_records:
            rows[-1]["fk_student"] = number(switches.records_for or student.id)
    return shaped(rows, switches.shapes, CARD_SHAPES)


def _id_form(switches: Switches) -> type[str] | type[int]:
    return str if switches.ids_as_text else int
