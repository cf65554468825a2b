"""The words that labels of metrics may hold: a closed list, nothing a client sent."""

from collections.abc import Collection, Mapping
from itertools import product
from typing import Final

__all__ = [
    "BREAKER_STATES",
    "DOCUMENTED",
    "ENDPOINTS",
    "LIMITS",
    "LOOKUPS",
    "METHODS",
    "OUTCOMES",
    "PAGES",
    "RESOURCES",
    "ROUTES",
    "STATUSES",
    "STATUS_WORDS",
    "STUDENT_ROUTES",
]

STUDENT_ROUTES: Final = (
    "login",
    "attendance",
    "all-attendance",
    "subject-attendance",
    "quiz",
)
ROUTES: Final = (*STUDENT_ROUTES, "health", "metrics", "openapi", "docs", "not-found")
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "OTHER")
_READ: Final = (200, 304, 401, 429, 500, 502, 503, 504)
_POSTED: Final = (200, 400, 401, 413, 415, 429, 500, 502, 503, 504)
# What docs/contract.rst 1 and 2.4 let each endpoint answer.
DOCUMENTED: Final[Mapping[tuple[str, str], Collection[int]]] = {
    **dict.fromkeys(product(STUDENT_ROUTES, ["OPTIONS"]), (204, 429)),
    **dict.fromkeys(product(ROUTES, ["OTHER"]), (405,)),
    ("login", "GET"): (405,),
    ("login", "POST"): _POSTED,
    ("attendance", "GET"): _READ,
    ("attendance", "POST"): _POSTED,
    ("all-attendance", "GET"): _READ,
    ("all-attendance", "POST"): (405,),
    ("subject-attendance", "GET"): (*_READ, 400, 403),
    ("subject-attendance", "POST"): (*_POSTED, 403),
    ("quiz", "GET"): _READ,
    ("quiz", "POST"): (405,),
    ("health", "GET"): (200, 503),
    ("health", "HEAD"): (200, 503),
    ("metrics", "GET"): (200, 401),
    ("openapi", "GET"): (200, 304),
    ("docs", "GET"): (200, 304),
    **dict.fromkeys(product(["not-found"], METHODS), (404,)),
}
STATUSES: Final = frozenset(s for some in DOCUMENTED.values() for s in some)
STATUS_WORDS: Final = frozenset(
    {*map(str, STATUSES), "1xx", "2xx", "3xx", "4xx", "5xx"}
)
RESOURCES: Final = ("attendance", "all-attendance", "subject", "quiz", "course-files")
PAGES: Final = ("attendance", "all-attendance", "quiz")  # both routes and resources
LOOKUPS: Final = ("HIT", "MISS", "STALE", "PENDING")
ENDPOINTS: Final = ("login", "course_files", "cards", "quizzes")
OUTCOMES: Final = (
    "ok",
    "cancelled",
    "unauthorized",
    "upstream_error",
    "upstream_timeout",
    "upstream_unavailable",
)
LIMITS: Final = ("student", "address", "login", "connections")
BREAKER_STATES: Final = ("closed", "half-open", "open")  # the number shown is the index
