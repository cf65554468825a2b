"""The students whom a demo offers: one safe, one at the edge, one in danger."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .college import College
from .enrolment import Student

__all__ = ["cast"]

_TARGET: Final = 75
_LOOKED_AT: Final = 300


class _Part(NamedTuple):
    standing: str
    distance: Callable[[float], float]


_PARTS: Final = (
    _Part("safe: well above the target", lambda percent: abs(percent - 90)),
    _Part("at the edge of the target", lambda percent: abs(percent - _TARGET)),
    _Part("in danger: far below it", lambda percent: abs(percent - 60)),
)


def cast(college: College) -> list[dict[str, Any]]:
    """Of the first students, the one who suits each part best: `name`, `standing`,
    `username` and `password`.
    """
    students = [college.student(i) for i in range(min(_LOOKED_AT, college.students))]
    percents = {student: _percent(college, student) for student in students}
    parts: list[dict[str, Any]] = []
    for part in _PARTS:
        # A college smaller than the cast lets somebody play twice.
        free = [one for one in students if one.username not in _names(parts)]
        student = min(free or students, key=lambda s: part.distance(percents[s]))
        parts.append(
            {
                "name": student.name,
                "standing": part.standing,
                "username": student.username,
                "password": student.password,
            }
        )
    return parts


def _names(parts: list[dict[str, Any]]) -> set[str]:
    return {part["username"] for part in parts}


def _percent(college: College, student: Student) -> float:
    marks = [m for c in college.courses(student) for m in college.marks(student, c)]
    return 100 * marks.count("Present") / len(marks) if marks else 0.0
