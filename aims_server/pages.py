"""The table of the service's addresses: one row each, and every list made from it.

The route table, the fast path, OPTIONS and 405, the prefetch, the labels of metrics and
the lists in tests read this table. The statuses of each row are those that the OpenAPI
description gives its ``path`` (``web.documented_statuses``).
"""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Final

import msgspec

__all__ = [
    "ALL_ATTENDANCE",
    "ATTENDANCE",
    "DEMO",
    "DOCS",
    "ENDPOINTS",
    "HEALTH",
    "LOGIN",
    "METRICS",
    "NOT_FOUND",
    "OPENAPI",
    "PAGES",
    "QUIZ",
    "STATUS",
    "STUDENT_ENDPOINTS",
    "SUBJECT_ATTENDANCE",
    "TIMETABLE",
    "WEB_PAGE",
    "Endpoint",
    "Page",
]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address and what it takes.

    ``name`` labels it in metrics and logs; ``path`` is its path in the OpenAPI
    description. ``limited`` requests count against the client's address; those of a
    ``quiet`` endpoint are logged at DEBUG only.
    """

    name: str
    path: str
    methods: tuple[str, ...] = ("GET",)
    limited: bool = True
    quiet: bool = False

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are answered: HEAD wherever GET is, and OPTIONS."""
        return _allowed(self.methods)


@cache
def _allowed(methods: tuple[str, ...]) -> tuple[str, ...]:
    with_head = [("GET", "HEAD") if each == "GET" else (each,) for each in methods]
    return (*dict.fromkeys(chain.from_iterable(with_head)), "OPTIONS")


class Page(Endpoint, frozen=True, kw_only=True):
    """An answer for one student, kept for the bearer of a token. A POST bears the token
    in its body.

    ``resource`` labels its cache lookups. A page with ``parameters`` has many answers
    per student, a page without has one: the fast path may send it, and a login fetches
    it if it is ``prefetched``. ``other_media`` maps each further media type that
    ``Accept`` may ask for to the resource that it is kept as; the fast path sends none
    of them.

    >>> QUIZ.path, QUIZ.methods, QUIZ.prefetched
    ('/api/quiz', ('GET',), True)
    """

    resource: str
    parameters: bool = False
    prefetched: bool = True
    other_media: Mapping[str, str] = {}

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources kept for this page, in JSON and in other media types."""
        return tuple(dict.fromkeys((self.resource, *self.other_media.values())))


def _page(
    name: str,
    *methods: str,
    prefetched: bool = True,
    other_media: Mapping[str, str] | None = None,
) -> Page:
    """The row of a page without parameters."""
    return Page(
        name=name,
        path=f"/api/{name}",
        methods=methods or ("GET",),
        resource=name,
        prefetched=prefetched,
        other_media=other_media or {},
    )


ATTENDANCE: Final = _page("attendance", "GET", "POST")
ALL_ATTENDANCE: Final = _page(
    "all-attendance", other_media={"text/event-stream": "all-attendance"}
)
SUBJECT_ATTENDANCE: Final = Page(
    name="subject-attendance",
    path="/api/subject-attendance",
    methods=("GET", "POST"),
    resource="subject",
    parameters=True,
    prefetched=False,
)
QUIZ: Final = _page("quiz")
TIMETABLE: Final = _page(
    "timetable",
    prefetched=False,
    other_media={"text/calendar": "timetable-calendar"},
)
PAGES: Final = (ATTENDANCE, ALL_ATTENDANCE, SUBJECT_ATTENDANCE, QUIZ, TIMETABLE)

LOGIN: Final = Endpoint(name="login", path="/api/login", methods=("POST",))
STUDENT_ENDPOINTS: Final[tuple[Endpoint, ...]] = (LOGIN, *PAGES)

HEALTH: Final = Endpoint(
    name="health", path="/health", methods=("GET", "HEAD"), limited=False, quiet=True
)
METRICS: Final = Endpoint(name="metrics", path="/metrics", limited=False, quiet=True)
OPENAPI: Final = Endpoint(name="openapi", path="/openapi.json")
DOCS: Final = Endpoint(name="docs", path="/docs")
STATUS: Final = Endpoint(name="status", path="/status", limited=False, quiet=True)
WEB_PAGE: Final = Endpoint(name="page", path="/", limited=False)
ENDPOINTS: Final = (
    *(*STUDENT_ENDPOINTS, HEALTH, METRICS),
    *(OPENAPI, DOCS, STATUS, WEB_PAGE),
)

#: Only `aims-server demo` has it; its requests count with the page's.
DEMO: Final = Endpoint(
    name="page", path="/demo", methods=("GET", "POST"), limited=False
)

NOT_FOUND: Final = Endpoint(name="not-found", path="", methods=())
