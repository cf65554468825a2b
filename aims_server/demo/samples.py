"""The students whom a demo offers: one above the target, one at it, one below."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .college import College
from .enrolment import Student

__all__ = ["sample_students"]

_TARGET: Final = 75
_LOOKED_AT: Final = 300


class _Sample(NamedTuple):
    standing: str
    distance: Callable[[float], float]


_SAMPLES: Final = (
    _Sample("safe: well above the target", lambda percent: abs(percent - 90)),
    _Sample("at the edge of the target", lambda percent: abs(percent - _TARGET)),
    _Sample("in danger: far below it", lambda percent: abs(percent - 60)),
)


def sample_students(college: College) -> list[dict[str, Any]]:
    """Of the first 300 students, the nearest to each standing: `name`, `standing`,
    `username` and `password`, which is one to type where there are enough of them.
    """
    first = [college.student(i) for i in range(min(_LOOKED_AT, college.students))]
    easy = [one for one in first if one.password.replace("-", "").isalnum()]
    students = easy if len(easy) >= len(_SAMPLES) else first
    percents = {student: _percent(college, student) for student in students}
    chosen: list[dict[str, Any]] = []
    for sample in _SAMPLES:
        # In a college of fewer students than samples one is chosen twice.
        free = [one for one in students if one.username not in _names(chosen)]
        student = min(free or students, key=lambda s: sample.distance(percents[s]))
        chosen.append(
            {
                "name": student.name,
                "standing": sample.standing,
                "username": student.username,
                "password": student.password,
            }
        )
    return chosen


def _names(chosen: list[dict[str, Any]]) -> set[str]:
    return {student["username"] for student in chosen}


def _percent(college: College, student: Student) -> float:
    marks = [m for c in college.courses(student) for m in college.marks(student, c)]
    return 100 * marks.count("Present") / len(marks) if marks else 0.0
