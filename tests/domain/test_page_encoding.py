"""The all-subjects page as JSON."""

import os
from glob import glob

import msgspec
import pytest

from aims_server.domain.all_attendance import all_attendance_page
from aims_server.domain.page_encoding import encode_page
from aims_server.upstream import Card, Counts, Course, CourseFiles

from .counting import subject_days

COUNTS = Counts(present=31, absent=8, leave=1, total=40, percent="77.5%")
NAMES = ("Web", "\x00", '"', "\u2028", "Networks")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("subjects", "records"), [(0, 0), (5, 3), (5, 2000), (2000, 9)]
)
async def test_it_is_what_the_encoder_makes_of_it(subjects, records):
    """Small or large, of few pieces or many, with days or without."""
    courses = tuple(
        Course(n, "BCS", NAMES[n % len(NAMES)], COUNTS) for n in range(subjects)
    )
    cards = [
        Card("Present", "2025-09-01 08:50:00", "08:50AM", NAMES[n % len(NAMES)])
        for n in range(records)
    ]
    days = {n: subject_days(cards) if n % 4 else None for n in range(subjects)}
    files = CourseFiles(courses, None, 5900001, "2027", "C", "IT")
    page = all_attendance_page(files, days, "2025-09-01T10:00:00Z", 75)
    assert await encode_page(page) == msgspec.json.encode(page)
    open_files = map(os.path.realpath, glob("/proc/self/fd/*"))
    assert not [file for file in open_files if "memfd:page" in file]
