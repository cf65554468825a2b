"""Login, quizzes and schedule as the platform sends them (docs/platform.rst 2)."""

import re
from calendar import monthrange
from datetime import date
from random import Random
from typing import Any
from urllib.parse import urlencode

from .catalogue import FORMER_COURSE, PERIODS
from .college import College, Course, Student
from .switches import Switches

__all__ = ["login", "quizzes", "roll_number", "schedule"]

BATCH = 2027


def login(student: Student, token: str) -> dict[str, Any]:
    """Return the answer to a login that succeeded."""
    return {
        "status": 1,
        "msg": "Success",
        "token": token,
        "response": {
            "id": student.id,
            "unique_code": student.username,
            "username": student.username,
            "name": student.name,
            "email": f"{student.username.lower()}@example.invalid",
            "mobile": f"90000{student.index:05}",
            "role": "Student",
            "string4": roll_number(student),
            "string5": student.section,
            "string10": student.pin,
            "int3": 3,
            "int4": 5,
            "int6": BATCH,
            "last_login_time": "2025-09-01 08:41:12",
        },
    }


def roll_number(student: Student) -> str:
    """Return the thirteen digits of the university roll number."""
    return f"23003201{student.index:05}"


def quizzes(college: College, student: Student, token: str) -> list[dict[str, Any]]:
    """Return three to eight evaluated quizzes; each link carries PIN and token."""
    draw = Random(f"{college.seed}/quizzes/{student.index}")
    codes = [course.subject.code for course in college.courses(student)]
    rows = []
    for number in range(1, draw.randint(3, 8) + 1):
        quiz = "".join(draw.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=4))
        correct, incorrect, skipped = draw.choices(range(11), k=3)
        term = college.timetable
        day = min(term.begin.replace(day=1 + draw.randrange(28)), term.today)
        rows.append(
            {
                "sl_num": number,
                "quiz_uc": quiz,
                "quiz_link": _quiz_link(student, quiz, token),
                "master_course_code": draw.choice([*codes, FORMER_COURSE]),
                "student_name": student.name,
                "roll_number": None if number == 3 else roll_number(student),
                "admission_number": student.username,
                "marks_obtained": correct,
                "correct": correct,
                "incorrect": incorrect,
                "not_attempted": skipped,
                "loggedin_at": f"{day} 13:{draw.randrange(60):02}:31",
                "status": "Evaluated",
            }
        )
    return rows


def schedule(
    college: College, student: Student, switches: Switches
) -> list[dict[str, Any]]:
    """Return the current month as a table: a header row, then a row per course."""
    today = college.timetable.today
    last = monthrange(today.year, today.month)[1]
    days = {f"c{day}": today.replace(day=day) for day in range(1, last + 1)}
    header = {"name": f"<b>{today:%B-%Y}</b>"}
    header |= {cell: f"<b>{day:%a}</b>" for cell, day in days.items()}
    rows: list[dict[str, Any]] = [header]
    for course in college.courses(student):
        topic = course.subject
        path = (
            f"{BATCH}/{student.department}/{topic.code} {topic.name}"
            f"/Sec - {student.section}/{course.teacher}"
        )
        row: dict[str, Any] = {"name": path, "name_text": path, "course_name": path}
        if not topic.begun:
            del row["name_text"], row["course_name"]
        row |= {"faculty_name": course.teacher, "course_id": 7_293_001 + course.number}
        row |= {"cf_id": course.cf_id}
        for cell, day in days.items():
            row[cell] = _cell(_slots(college, course, day), switches)
        rows.append(row)
    return rows


def _cell(slots: list[str], switches: Switches) -> str | list[str]:
    if switches.schedule_cells == "array":
        return slots
    cell = "".join(slots)
    if switches.schedule_cells == "joined":
        return re.sub("<[^>]*>", "", cell)
    return cell


def _slots(college: College, course: Course, day: date) -> list[str]:
    # A lab's group G1 shows its two periods as one slot of 100 minutes, as some do.
    spans = [PERIODS[period] for period in course.weekly.get(day.weekday(), ())]
    if course.subject.group == "G1" and spans:
        spans = [(spans[0][0], spans[-1][1])]
    div = "<div style='color:green'>"
    if college.timetable.is_holiday(day):
        div = "<div style='color:red'>"
    elif day > college.timetable.today:  # nobody has held it
        div = "<div>"
    return [
        f"{div}{start[0]:02}:{start[1]:02} - {end[0]:02}:{end[1]:02}</div>"
        for start, end in spans
    ]


def _quiz_link(student: Student, quiz: str, token: str) -> str:
    query = {
        "review_mode": "true",
        "unique_code": quiz,
        "user_id": student.id,
        "user_name": student.name,
        "pin": student.pin,
        "user_unique_code": student.username,
        "user_roll_number": roll_number(student),
        "req_id": f"{student.index}-{quiz}",
        "token": token,
    }
    link = f"https://quiz.example.invalid/#/quiz-1?{urlencode(query)}"
    return f'<a href="{link}">View</a>'
