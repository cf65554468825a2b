"""The pages, computed from the platform's answers. Pure: no calls, no clock, no HTTP.

Each page has a module that makes it as a struct. `days` counts a subject's records,
`planner` computes how many classes can be missed. `encode_page` and `to_icalendar` turn
a page into bytes.
"""

from .all_attendance import all_attendance_page
from .attendance import attendance_page
from .days import SubjectDays, count_days
from .icalendar_form import to_icalendar
from .names import subject_keys
from .page_encoding import encode_page
from .records import RECORDS_A_STEP
from .subject_attendance import subject_attendance_page
from .timetable import Timetable, timetable_page

__all__ = [
    "RECORDS_A_STEP",
    "SubjectDays",
    "Timetable",
    "all_attendance_page",
    "attendance_page",
    "count_days",
    "encode_page",
    "subject_attendance_page",
    "subject_keys",
    "timetable_page",
    "to_icalendar",
]
