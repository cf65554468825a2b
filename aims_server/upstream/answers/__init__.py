"""Decodes the platform's answers: bodies in, typed values out. Knows no HTTP.

The map, in reading order::

    course_files    the summary: a student's course files with their counts
    cards           the records of one subject
    account         logins and quizzes
    schedule        the month table
    schedule_cell   the HTML in one of its cells
    models          the typed values
    rows            lists of rows in their envelope; odd rows field by field
    answer_kinds    whether an answer is of another endpoint
    json_body       bytes to JSON
    fields          single values: numbers, names, percentages
    messages        the meaning of messages, such as refusals
    message_fields  where an answer has its message
    oddities        counts and logs what could not be read

An odd row does not affect other rows. An answer of which nothing can be read raises
`BadShape`.
"""

from .account import decode_quizzes, read_login
from .answer_kinds import is_of_another_endpoint
from .cards import decode_cards, merge_pages, more_follows
from .course_files import decode_course_files
from .fields import (
    FIRST_YEAR,
    Number,
    exact,
    minute_of_day,
    month_number,
    one_line,
    percent_text,
    sum_of,
)
from .json_body import BadShape
from .message_fields import is_answer, text_of
from .messages import leads_to_login, refuses_token, says_nothing_there
from .models import (
    NO_ROWS,
    Card,
    Cards,
    CardsPage,
    Counts,
    Course,
    CourseFiles,
    Quizzes,
    pack_course_files,
    unpack_course_files,
)
from .oddities import Note, Notes, Oddities, ignore_oddity
from .schedule import Schedule, ScheduleRow, Slot, decode_schedule

__all__ = [
    "FIRST_YEAR",
    "NO_ROWS",
    "BadShape",
    "Card",
    "Cards",
    "CardsPage",
    "Counts",
    "Course",
    "CourseFiles",
    "Note",
    "Notes",
    "Number",
    "Oddities",
    "Quizzes",
    "Schedule",
    "ScheduleRow",
    "Slot",
    "decode_cards",
    "decode_course_files",
    "decode_quizzes",
    "decode_schedule",
    "exact",
    "ignore_oddity",
    "is_answer",
    "is_of_another_endpoint",
    "leads_to_login",
    "merge_pages",
    "minute_of_day",
    "month_number",
    "more_follows",
    "one_line",
    "pack_course_files",
    "percent_text",
    "read_login",
    "refuses_token",
    "says_nothing_there",
    "sum_of",
    "text_of",
    "unpack_course_files",
]
