"""The platform: typed calls, what its answers mean, and how carefully they are made.

`UpstreamClient` decodes (`answers`); `ResiliencePolicy` puts retries and hedges round
each call, and `Admission` pauses, circuit breakers and slots before it; `Transport`
makes it with curl.
"""

from .admission import Admission
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
    month_number,
    one_line,
    pack_course_files,
    percent_text,
    sum_of,
    unpack_course_files,
)
from .bulkhead import Bulkhead
from .callers import CallerKey
from .client import ENDPOINTS, UpstreamClient
from .endpoint_breakers import EndpointBreakers
from .failure_log import FailureLog
from .reservations import Reservation
from .resilience import ResiliencePolicy
from .retry import RetryBudget
from .slot_pool import SlotPools
from .tally import CallTally, call_tally
from .transport import Transport
from .verdicts import LoginAnswer

__all__ = [
    "ENDPOINTS",
    "FIRST_YEAR",
    "Admission",
    "Bulkhead",
    "CallTally",
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
    "call_tally",
    "exact",
    "ignore_oddity",
    "month_number",
    "one_line",
    "pack_course_files",
    "percent_text",
    "sum_of",
    "unpack_course_files",
]
