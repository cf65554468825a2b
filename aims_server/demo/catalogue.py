"""The invented names, courses and periods that the college is made from."""

from typing import NamedTuple

__all__ = [
    "DEPARTMENTS",
    "FIRST_NAMES",
    "FORMER_COURSE",
    "LAB_PERIODS",
    "LAST_NAMES",
    "LECTURE_PERIODS",
    "PERIODS",
    "SECTIONS",
    "TEACHERS",
    "Clock",
    "Subject",
    "subject",
]

Clock = tuple[int, int]

PERIODS: tuple[tuple[Clock, Clock], ...] = (
    ((8, 50), (9, 40)),
    ((9, 40), (10, 30)),
    ((10, 40), (11, 30)),
    ((11, 30), (12, 20)),
    ((12, 20), (13, 10)),
    ((14, 0), (14, 50)),
    ((14, 50), (15, 40)),
    ((15, 40), (16, 30)),
)
"""Start and end of the eight periods of a day, hour and minute in India."""

LECTURE_PERIODS = (0, 1, 2, 3, 4, 7)
LAB_PERIODS = (5, 6)

DEPARTMENTS = (("IT", 769), ("CSE", 770), ("CSE (AIML)", 771), ("CSE (DS)", 772))
SECTIONS = "ABCDEF"

# A name per line, as the formatter has it, would fill two screens.
# fmt: off
FIRST_NAMES = (
    "ASHA", "BINOD", "CHARU", "DEV", "ESHA", "FAROOQ", "GITA", "HARI", "INDU", "JATIN",
    "KIRAN", "LATA", "MOHAN", "NEHA", "OM", "PRIYA", "QASIM", "RITU", "SUNIL", "TARA",
    "UMA", "VIKAS", "WASIM", "YASH", "ZOYA",
)
LAST_NAMES = (
    "EXAMPLE", "SAMPLE", "SPECIMEN", "PLACEHOLDER", "INVENTED", "FICTION", "MOCKUP",
    "PATTERN", "DUMMY", "MODEL", "TEMPLATE", "PROTOTYPE",
)
# fmt: on
TEACHERS = (
    "R SAMPLE",
    "Dr. Anita Pattern",
    "M. MODEL",
    "SUNITA TEMPLATE ",
    "K Example",
    "PROF V SPECIMEN",
    "A. Dummy",
)


class Subject(NamedTuple):
    """A course of the syllabus; `group` is "", "G1" or "G2", `lab` two periods long."""

    code: str
    name: str
    lab: bool = False
    group: str = ""
    begun: bool = True


# What trips clients comes first, so that a college of five subjects has it all:
# a line break inside a name, three course files of one name (two of them of one
# code), and a course that has had no class yet.
SYLLABUS = (
    Subject("BCS553", "Design and Analysis of\r\nAlgorithm Lab", lab=True, group="G1"),
    Subject("BCS502", "Web Technology"),
    Subject("BCS552", "Web Technology", lab=True, group="G1"),
    Subject("BCS552", "Web Technology", lab=True, group="G2"),
    Subject("VASV501", "Indian Culture and Society", begun=False),
    Subject("BCS501", " Database Management System "),
    Subject("BCS503", "Design and Analysis of Algorithm"),
    Subject("BCS054", "Object Oriented System Design with C++"),
    Subject("BCS058", "Data Warehousing &\r\n Data Mining"),
    Subject("BNC501", "Constitution of India"),
    Subject("BCS551", "Database Management System Lab", lab=True, group="G2"),
    Subject("BCC551", "Mini Project", lab=True),
    Subject("BAS503", "Soft Skills"),
    Subject("BCS056", "Human Computer Interface"),
    Subject("BCS052", "Data Analytics"),
)
FORMER_COURSE = "BCS301"
"""A course whose quizzes are still listed though the student has it no longer."""


def subject(number: int) -> Subject:
    """Return the `number`-th subject (from 0); past the syllabus, an open elective."""
    if number < len(SYLLABUS):
        return SYLLABUS[number]
    return Subject(f"BOE{number:03}", f"Open Elective {number}")
