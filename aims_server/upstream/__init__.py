"""The client of the platform: typed calls, decoding, resilience, transport.

The map, in call order::

    client         the calls, typed: the request of each, and what decodes its answer
    answer_reader  a reply checked and decoded
    verdicts       what a reply's status means
    answers        what its body means
    resilience     whether, when and how often a call is made
    transport      one HTTP call, with curl

`answers`, `resilience` and `transport` do not know each other.
"""

from .answers import (
    FIRST_YEAR,
    Card,
    Cards,
    Counts,
    Course,
    CourseFiles,
    Note,
    Number,
    Oddities,
    Quizzes,
    Schedule,
    ScheduleRow,
    Slot,
    exact,
    ignore_oddity,
    minute_of_day,
    month_number,
    one_line,
    pack_course_files,
    percent_text,
    sum_of,
    unpack_course_files,
)
from .client import ENDPOINTS, UpstreamClient
from .resilience import (
    Admission,
    Bulkhead,
    CallerKey,
    EndpointBreakers,
    FailureLog,
    Reservation,
    ResiliencePolicy,
    RetryBudget,
    SlotPools,
)
from .transport import Transport
from .verdicts import LoginAnswer

__all__ = [
    "ENDPOINTS",
    "FIRST_YEAR",
    "Admission",
    "Bulkhead",
    "CallerKey",
    "Card",
    "Cards",
    "Counts",
    "Course",
    "CourseFiles",
    "EndpointBreakers",
    "FailureLog",
    "LoginAnswer",
    "Note",
    "Number",
    "Oddities",
    "Quizzes",
    "Reservation",
    "ResiliencePolicy",
    "RetryBudget",
    "Schedule",
    "ScheduleRow",
    "Slot",
    "SlotPools",
    "Transport",
    "UpstreamClient",
    "exact",
    "ignore_oddity",
    "minute_of_day",
    "month_number",
    "one_line",
    "pack_course_files",
    "percent_text",
    "sum_of",
    "unpack_course_files",
]
