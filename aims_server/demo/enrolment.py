"""Who is enrolled: the invented students, their courses, and the mark of every class.

All of it follows from the seed and is made when asked for; nothing is kept but the
timetables of the sections.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from random import Random

from .catalogue import (
    DEPARTMENTS,
    FIRST_NAMES,
    LAST_NAMES,
    SECTIONS,
    TEACHERS,
    Subject,
    subject,
)
from .timetable import Lesson, Timetable

__all__ = ["Course", "Enrolment", "Student"]

COHORTS = len(DEPARTMENTS) * len(SECTIONS)
FIRST_STUDENT_ID = 5_900_001
MOST_STUDENTS = 100_000
MARKS = ("Present", "Absent", "Leave", "Exempt")
TODAY = date(2025, 11, 14)


@dataclass(frozen=True, slots=True)
class Student:
    """One invented student; `index` counts from 0, `cohort` is department and section.

    Every third password has the characters that break careless form encoding.
    """

    index: int
    cohort: int
    id: int
    username: str
    name: str
    diligence: float
    """How likely they are to be present, about 0.6 to 0.94."""

    password: str = field(repr=False)
    pin: str = field(repr=False)

    @property
    def department(self) -> str:
        """The department, as the course files name it."""
        return DEPARTMENTS[self.cohort // len(SECTIONS)][0]

    @property
    def department_id(self) -> int:
        """The number of the department, as the course files have it."""
        return DEPARTMENTS[self.cohort // len(SECTIONS)][1]

    @property
    def section(self) -> str:
        """The letter of the section."""
        return SECTIONS[self.cohort % len(SECTIONS)]


@dataclass(frozen=True, slots=True)
class Course:
    """The course file of one subject in one cohort, with the classes held so far."""

    number: int
    cf_id: int
    cf_code: str
    subject: Subject
    teacher: str
    weekly: dict[int, list[int]]
    """Periods by weekday, Monday being 0."""

    lessons: tuple[Lesson, ...]


class Enrolment:
    """Some thousands of students of one batch, made from a seed.

    `records_per_subject` replaces the timetable's own number of classes (about two
    or three a week) by an exact one, for measuring how cost grows.
    """

    def __init__(
        self,
        students: int = 3000,
        subjects: int = 15,
        weeks: int = 12,
        records_per_subject: int | None = None,
        today: date = TODAY,
        seed: int = 1,
    ) -> None:
        """Draw up the term; raises ValueError for more students than user names."""
        if not 0 < students <= MOST_STUDENTS:
            raise ValueError(f"students must be 1 to {MOST_STUDENTS}, not {students}")
        self.students = students
        self.subjects = subjects
        self.records_per_subject = records_per_subject
        self.seed = seed
        self.timetable = Timetable(today, weeks, seed)
        self._courses: dict[int, tuple[Course, ...]] = {}

    def __iter__(self) -> Iterator[Student]:
        return map(self.student, range(self.students))

    def student(self, index: int) -> Student:
        """Return the student of an index (0 to students - 1); IndexError past that."""
        if not 0 <= index < self.students:
            raise IndexError(f"no student {index} among {self.students}")
        draw = Random(f"{self.seed}/student/{index}")
        awkward = "&%+ =" if index % 3 == 2 else ""
        return Student(
            index=index,
            cohort=index % COHORTS,
            id=FIRST_STUDENT_ID + index,
            username=f"2023B15{index:05}",
            name=f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}",
            diligence=draw.uniform(0.6, 0.94),
            password=f"demo-{draw.getrandbits(40):010x}{awkward}",
            pin=f"{draw.randrange(1000, 10000)}",
        )

    def by_username(self, username: str) -> Student | None:
        """Return the student of an admission number, whatever the case of its B."""
        prefix, number = username[:7].upper(), username[7:]
        if prefix != "2023B15" or len(number) != 5 or not number.isdecimal():
            return None
        return self._at(int(number))

    def by_id(self, student_id: int) -> Student | None:
        """Return the student of a platform id, which tokens call `sub`."""
        return self._at(student_id - FIRST_STUDENT_ID)

    def courses(self, student: Student) -> tuple[Course, ...]:
        """Return the student's courses in the platform's order."""
        known = self._courses.get(student.cohort)
        if known is None:
            known = tuple(self._draw_courses(student))
            self._courses[student.cohort] = known
        return known

    def course(self, student: Student, cf_id: int) -> Course | None:
        """Return the student's course of that id, None if it is not one of theirs."""
        return next((c for c in self.courses(student) if c.cf_id == cf_id), None)

    def marks(self, student: Student, course: Course) -> list[str]:
        """Return the student's mark for each of the course's lessons, in their order.

        The marks are Present (six to nine in ten), Absent, Leave and Exempt.
        """
        draw = Random(f"{self.seed}/marks/{student.index}/{course.number}")
        here = student.diligence
        weights = (here, 0.95 - here, 0.03, 0.02)
        return draw.choices(MARKS, weights, k=len(course.lessons))

    def _at(self, index: int) -> Student | None:
        return self.student(index) if 0 <= index < self.students else None

    def _draw_courses(self, student: Student) -> Iterator[Course]:
        crammed: tuple[Lesson, ...] | None = None
        if self.records_per_subject is not None:
            crammed = self.timetable.crammed(self.records_per_subject)
        seen = {False: 0, True: 0}
        for number in range(self.subjects):
            topic = subject(number)
            weekly: dict[int, list[int]] = {}
            if topic.begun:
                nth, shift = seen[topic.lab], student.cohort
                weekly = self.timetable.weekly(nth, lab=topic.lab, shift=shift)
                seen[topic.lab] += 1
            held = self.timetable.lessons(weekly) if crammed is None else crammed
            group = f"_{topic.group}" if topic.group else ""
            code = f"{18_000 + number}_{7_293_001 + number}_{student.department_id}_962"
            yield Course(
                number=number,
                cf_id=7_300_001 + 1000 * student.cohort + number,
                cf_code=f"{code}__{student.section}{group}",
                subject=topic,
                teacher=TEACHERS[(number + student.cohort) % len(TEACHERS)],
                weekly=weekly,
                lessons=held if topic.begun else (),
            )
