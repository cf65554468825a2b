"""The platform: typed calls, what its answers mean, and how carefully they are made.

`UpstreamClient` decodes (`models` over `wire`); `ResiliencePolicy` puts pauses,
circuit breakers, bulkhead and retries round each call; `Transport` makes it with curl.
"""

from .bulkhead import Bulkhead
from .callers import CallerKey
from .client import ENDPOINTS, LoginAnswer, UpstreamClient
from .endpoint_breakers import EndpointBreakers
from .failure_log import FailureLog
from .fields import Number, exact, name, sum_of
from .models import (
    Card,
    Cards,
    Counts,
    Course,
    CourseFiles,
    Quizzes,
    pack_course_files,
    unpack_course_files,
)
from .oddities import Note, Oddities
from .oddities import ignore as ignore_oddity
from .resilience import ResiliencePolicy
from .retry import RetryBudget
from .schedule import Schedule, ScheduleRow, Slot
from .serial_executor import SerialExecutor
from .transport import Transport

__all__ = [
    "ENDPOINTS",
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
    "ResiliencePolicy",
    "RetryBudget",
    "Schedule",
    "ScheduleRow",
    "SerialExecutor",
    "Slot",
    "Transport",
    "UpstreamClient",
    "exact",
    "ignore_oddity",
    "name",
    "pack_course_files",
    "sum_of",
    "unpack_course_files",
]
