"""The values that labels of metrics may have: closed lists, nothing that a client sent.

Routes and statuses come from the table of pages and the OpenAPI description; a client
that has left gets no answer, and its status is in no description.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Final

from ..pages import ENDPOINTS, NOT_FOUND, PAGES, STUDENT_ENDPOINTS
from ..primitives import CircuitState
from ..web import CLIENT_CLOSED, documented_statuses

__all__ = [
    "BREAKER_STATES",
    "DOCUMENTED",
    "DROP_SOURCES",
    "FOUND",
    "HEDGE_ENDS",
    "LEASE_ENDS",
    "LEVELS",
    "LIMITS",
    "LOOKUPS",
    "METHODS",
    "ODDITIES",
    "OUTCOMES",
    "RESOURCES",
    "ROUTES",
    "STATUSES",
    "STATUS_VALUES",
    "STORE_OUTCOMES",
    "STUDENT_ROUTES",
    "UPSTREAM_ENDPOINTS",
]

STUDENT_ROUTES: Final = tuple(endpoint.name for endpoint in STUDENT_ENDPOINTS)
ROUTES: Final = (*(endpoint.name for endpoint in ENDPOINTS), NOT_FOUND.name)
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "OTHER")


def _documented() -> Iterator[tuple[tuple[str, str], Collection[int]]]:
    """The statuses of each route and method in the OpenAPI description."""
    described = documented_statuses()
    for endpoint in ENDPOINTS:
        for method in endpoint.methods:
            yield (endpoint.name, method), described[endpoint.path, method]
        yield (endpoint.name, "OTHER"), (405,)
    for endpoint in STUDENT_ENDPOINTS:
        yield (endpoint.name, "OPTIONS"), (204, 429)
        for method in {"GET", "POST"}.difference(endpoint.methods):
            yield (endpoint.name, method), (405,)
    for method in METHODS:
        yield (NOT_FOUND.name, method), (204,) if method == "OPTIONS" else (404,)
    yield (NOT_FOUND.name, "OTHER"), (404, 414, 431)


DOCUMENTED: Final[Mapping[tuple[str, str], Collection[int]]] = dict(_documented())
STATUSES: Final = frozenset({CLIENT_CLOSED}.union(*DOCUMENTED.values()))
STATUS_VALUES: Final = frozenset(
    {*map(str, STATUSES), "1xx", "2xx", "3xx", "4xx", "5xx"}
)
RESOURCES: Final = (
    *(resource for page in PAGES for resource in page.resources),
    "course-files",
)
LOOKUPS: Final = ("HIT", "MISS", "STALE", "PENDING")
HEDGE_ENDS: Final = ("started", "won")
UPSTREAM_ENDPOINTS: Final = ("login", "course_files", "cards", "quizzes", "timetable")
OUTCOMES: Final = (
    "ok",
    "cancelled",
    "rate_limited",
    "unauthorized",
    "upstream_error",
    "upstream_timeout",
    "upstream_unavailable",
)
# Kinds of oddities by endpoint: a wrong "type" of a field, a "row" that is none,
# records that the summary contradicts ("empty", "difference"), and so on.
# docs/platform.rst lists them.
_ODD_ANYWHERE: Final = ("encoding", "row", "type")
ODDITIES: Final = (
    *product(("course_files",), (*_ODD_ANYWHERE, "name", "counts", "pages")),
    *product(
        ("cards",),
        (*_ODD_ANYWHERE, "mark", "date", "duplicate", "pages", "empty", "difference"),
    ),
    ("quizzes", "encoding"),
    *product(("timetable",), ("encoding", "row", "name", "cell", "pages")),
)
LIMITS: Final = (
    "student",
    "address",
    "login",
    "login-failures",
    "guesses",
    "connections",
    "platform",  # its own limit, for a login
)
# Where pages are shared, what a look-up finds there, and how a lease ends.
LEVELS: Final = ("machine", "store")
FOUND: Final = ("kept", "old", "busy", "none")
LEASE_ENDS: Final = ("kept", "failed", "void")
STORE_OUTCOMES: Final = ("ok", "timeout", "error", "refused")
DROP_SOURCES: Final = ("here", "elsewhere")
BREAKER_STATES: Final = tuple(CircuitState)  # the number shown is the index
