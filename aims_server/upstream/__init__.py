"""The platform: typed calls, what its answers mean, and how carefully they are made.

`UpstreamClient` decodes (`models` over `wire`); `ResiliencePolicy` puts pauses,
circuit breakers, bulkhead and retries round each call; `Transport` makes it with curl.
"""

from .bulkhead import Bulkhead
from .callers import CallerKey
from .client import ENDPOINTS, LoginAnswer, UpstreamClient
from .endpoint_breakers import EndpointBreakers
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
    "ENDPOINTS",
    "Bulkhead",
    "CallerKey",
    "Card",
    "Course",
    "CourseFiles",
    "EndpointBreakers",
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
