"""The platform: typed calls, what its answers mean, and how carefully they are made.

`UpstreamClient` decodes (`models` over `wire`); `ResiliencePolicy` puts bulkhead,
circuit breaker and retries round each call; `Transport` makes it with curl.
"""

from .bulkhead import Bulkhead
from .circuit_breaker import CircuitBreaker
from .client import LoginAnswer, UpstreamClient
from .failure_log import FailureLog
from .models import (
    Card,
    Course,
    CourseFiles,
    pack_course_files,
    percent_of,
    unpack_course_files,
)
from .resilience import ResiliencePolicy
from .retry import RetryBudget
from .serial_executor import SerialExecutor
from .transport import Transport

__all__ = [
    "Bulkhead",
    "Card",
    "CircuitBreaker",
    "Course",
    "CourseFiles",
    "FailureLog",
    "LoginAnswer",
    "ResiliencePolicy",
    "RetryBudget",
    "SerialExecutor",
    "Transport",
    "UpstreamClient",
    "pack_course_files",
    "percent_of",
    "unpack_course_files",
]
