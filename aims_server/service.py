"""The use cases: what a student can ask for, from which calls it is gathered, and how
long the answer may be kept. Knows no HTTP.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from . import figures
from .answers import Answer, make_answer
from .cache import Entry
from .deadline import Deadline
from .errors import (
    ApiError,
    Forbidden,
    TokenRefused,
    Unauthorized,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .models import Course, CourseFiles, pack_course_files, unpack_course_files
from .pacing import Turns
from .readthrough import Outcome, ReadThrough, Served, WrongOwner
from .sessions import Caller, Session
from .singleflight import FlightCancelled
from .upstream import LoginAnswer, UpstreamClient

__all__ = [
    "ALL_ATTENDANCE",
    "ATTENDANCE",
    "QUIZ",
    "AimsService",
    "Lifetimes",
    "LookupObserver",
]

Kept = TypeVar("Kept")
# So many take about half a millisecond; fifteen such lists may come in one turn.
_MANY_RECORDS: Final = 250

Fill = Callable[[Deadline], Awaitable[Entry[Answer]]]

ATTENDANCE: Final = "attendance"
ALL_ATTENDANCE: Final = "all-attendance"
QUIZ: Final = "quiz"
_COURSE_FILES: Final = "course-files"


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers live, in seconds: ``fresh``, then ``stale`` more while the
    platform is asked again; a fresh one on demand no sooner than ``floor``.
    """

    fresh: float
    stale: float
    floor: float
    incomplete: float = 15.0


class LookupObserver(Protocol):
    """Who is told how each resource was come by: metrics, in production."""

    def lookup(self, resource: str, outcome: str) -> None:
        """``outcome`` is one of HIT, MISS, STALE and PENDING."""


class AimsService:
    """Answers for one worker's students.

    ``answers`` and ``course_files`` share a store, so that a refused token takes
    everything kept for it along. ``clock`` is monotonic seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        answers: ReadThrough[Answer],
        course_files: ReadThrough[bytes],
        lifetimes: Lifetimes,
        observer: LookupObserver,
        *,
        request_seconds: float,
        prefetch_on_login: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._answers = answers
        self._course_files = course_files
        self._lifetimes = lifetimes
        self._observer = observer
        self._request_seconds = request_seconds
        self._prefetch_on_login = prefetch_on_login
        self._clock = clock
        self._wall = wall
        self._turns = Turns()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def upstream_state(self) -> str:
        """Whether the platform is being asked: "closed", "open" or "half-open"."""
        return self._upstream.state

    async def log_in(
        self, username: str, password: str, deadline: Deadline
    ) -> LoginAnswer:
        """The platform's answer to a login; never kept, never repeated."""
        return await self._upstream.log_in(username, password, deadline)

    def prefetch(self, caller: Caller) -> None:
        """Begin to gather the three pages a student opens after a login, if this
        service does so at all; returns at once.
        """
        if not self._prefetch_on_login:
            return
        for ask in (self.attendance, self.all_attendance, self.quiz):
            self._in_background(
                ask(caller, Deadline(self._request_seconds, self._clock))
            )

    async def attendance(
        self, caller: Caller, deadline: Deadline, *, fresh: bool = False
    ) -> Served[Answer]:
        """The summary per course (``api.md`` 2.1), from the course files alone."""
        max_age = self._max_age(fresh)

        async def fill(within: Deadline) -> Entry[Answer]:
            files, made_at = await self._files(caller, within, max_age)
            body = msgspec.json.encode(figures.attendance(files))
            return self._entry(caller.session, await make_answer(body), made_at)

        return await self._serve(ATTENDANCE, caller, fill, deadline, max_age)

    async def all_attendance(
        self, caller: Caller, deadline: Deadline, *, fresh: bool = False
    ) -> Served[Answer]:
        """Every subject, day by day (``api.md`` 2.2), in two round trips."""
        max_age = self._max_age(fresh)

        async def fill(within: Deadline) -> Entry[Answer]:
            files, _ = await self._files(caller, within, max_age)
            days = await self._every_subject(caller, files, within)
            made_at = self._clock()
            page = figures.all_attendance(files, days, self._timestamp())
            answer = await make_answer(msgspec.json.encode(page))
            if page.incomplete:
                return self._short_lived(caller.session, answer, made_at)
            return self._entry(caller.session, answer, made_at)

        return await self._serve(ALL_ATTENDANCE, caller, fill, deadline, max_age)

    async def subject_attendance(
        self,
        caller: Caller,
        subject: str,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
        *,
        fresh: bool = False,
    ) -> Served[Answer]:
        """One subject, day by day (``api.md`` 2.3).

        Raises :class:`Forbidden` for any student but the token's own.
        """
        own = caller.session.student_id
        if own is None:
            files, _ = await self._files(caller, deadline, None)
            own = files.student_id
        if student_id != own:
            raise Forbidden

        async def fill(within: Deadline) -> Entry[Answer]:
            days = await self._subject(caller, student_id, cf_id, within)
            made_at = self._clock()
            page = figures.subject_attendance(
                subject, student_id, cf_id, days, self._timestamp()
            )
            answer = await make_answer(msgspec.json.encode(page))
            return self._entry(caller.session, answer, made_at)

        resource = f"subject/{cf_id}/{subject}"
        return await self._serve(resource, caller, fill, deadline, self._max_age(fresh))

    async def quiz(
        self, caller: Caller, deadline: Deadline, *, fresh: bool = False
    ) -> Served[Answer]:
        """The platform's evaluated quizzes, unchanged."""

        async def fill(within: Deadline) -> Entry[Answer]:
            body = await self._upstream.quizzes(caller.token, within)
            caller.session.verified = True
            made_at = self._clock()
            return self._entry(caller.session, await make_answer(body), made_at)

        return await self._serve(QUIZ, caller, fill, deadline, self._max_age(fresh))

    def kept(self, session: Session, resource: str, now: float) -> Entry[Answer] | None:
        """The fresh answer at hand, without waiting; None says nothing of why.

        Tells no observer: whoever serves it does.
        """
        entry = self._answers.peek(session.resource_key(resource), session.owner, now)
        if entry is not None:
            session.verified = True
        return entry

    def too_old(self, entry: Entry[Answer], now: float) -> bool:
        """Whether a client that asks for a fresh answer gets a new one for this."""
        return now - entry.made_at > self._lifetimes.floor

    async def close(self) -> None:
        """Give up background work."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _serve(
        self,
        resource: str,
        caller: Caller,
        fill: Fill,
        deadline: Deadline,
        max_age: float | None,
    ) -> Served[Answer]:
        return await self._read(
            self._answers, resource, caller.session, fill, deadline, max_age
        )

    async def _files(
        self, caller: Caller, deadline: Deadline, max_age: float | None
    ) -> tuple[CourseFiles, float]:
        """The course files and when they were had: one call, shared by every page."""
        session = caller.session

        async def fill(within: Deadline) -> Entry[bytes]:
            files = await self._upstream.course_files(caller.token, within)
            _claim(session, files)
            packed = pack_course_files(files)
            now = self._clock()
            fresh_until = min(now + self._lifetimes.fresh, self._token_end(session))
            return Entry(
                value=packed,
                size=sys.getsizeof(packed),
                owner=session.owner,
                made_at=now,
                fresh_until=fresh_until,
                # Only ever an ingredient: an old page may be served, but never one
                # that looks new and is made of old parts.
                servable_until=fresh_until,
            )

        served = await self._read(
            self._course_files, _COURSE_FILES, session, fill, deadline, max_age
        )
        return unpack_course_files(served.entry.value), served.entry.made_at

    async def _every_subject(
        self, caller: Caller, files: CourseFiles, deadline: Deadline
    ) -> dict[int, figures.SubjectDays | None]:
        student_id = files.student_id or caller.session.student_id
        if student_id is None:
            raise UpstreamError
        failures: list[UpstreamError] = []

        async def days_of(course: Course) -> figures.SubjectDays | None:
            try:
                return await self._subject(caller, student_id, course.cf_id, deadline)
            except UpstreamError as failure:
                failures.append(failure)
                return None

        days = await asyncio.gather(*map(days_of, files.courses))
        if len(failures) == len(days):
            raise _worst(failures)
        return {c.cf_id: d for c, d in zip(files.courses, days, strict=True)}

    async def _subject(
        self, caller: Caller, student_id: int, cf_id: int, deadline: Deadline
    ) -> figures.SubjectDays:
        cards = await self._upstream.cards(caller.token, student_id, cf_id, deadline)
        caller.session.verified = True
        if len(cards) < _MANY_RECORDS:
            return figures.subject_days(cards)
        return await self._turns.run(lambda: figures.subject_days(cards))

    async def _read(
        self,
        through: ReadThrough[Kept],
        resource: str,
        session: Session,
        fill: Callable[[Deadline], Awaitable[Entry[Kept]]],
        deadline: Deadline,
        max_age: float | None,
    ) -> Served[Kept]:
        """One resource of one session, kept or filled, or one of our errors."""

        async def vouched(within: Deadline) -> Entry[Kept]:
            try:
                return await fill(within)
            except TokenRefused:
                if session.verified:
                    raise
                # Nothing was ever kept for this token, and a made-up one that names a
                # student must not have that student's answers dropped.
                raise Unauthorized(TokenRefused.sentence) from None

        outcome = Outcome.MISS
        try:
            served = await through.get(
                session.resource_key(resource),
                session.owner,
                vouched,
                deadline,
                max_age=max_age,
            )
            outcome = served.outcome
        except TimeoutError:
            raise UpstreamTimeout from None
        except FlightCancelled:
            raise UpstreamUnavailable from None
        except WrongOwner:
            raise UpstreamError from None
        finally:
            self._observer.lookup(resource.partition("/")[0], outcome.value)
        # Whatever is kept under this token's key was once given to this token.
        session.verified = True
        return served

    def _entry(self, session: Session, answer: Answer, made_at: float) -> Entry[Answer]:
        fresh_until = made_at + self._lifetimes.fresh
        return self._kept(
            session, answer, made_at, fresh_until, fresh_until + self._lifetimes.stale
        )

    def _short_lived(
        self, session: Session, answer: Answer, made_at: float
    ) -> Entry[Answer]:
        end = made_at + self._lifetimes.incomplete
        return self._kept(session, answer, made_at, end, end)

    def _kept(
        self,
        session: Session,
        answer: Answer,
        made_at: float,
        fresh_until: float,
        servable_until: float,
    ) -> Entry[Answer]:
        end = self._token_end(session)
        return Entry(
            value=answer,
            size=answer.size,
            owner=session.owner,
            made_at=made_at,
            fresh_until=min(fresh_until, end),
            servable_until=min(servable_until, end),
        )

    def _token_end(self, session: Session) -> float:
        """When the token ends by its own claim, on the monotonic clock."""
        if session.expires_at is None:
            return float("inf")
        return self._clock() + session.expires_at - self._wall()

    def _max_age(self, fresh: bool) -> float | None:
        return self._lifetimes.floor if fresh else None

    def _timestamp(self) -> str:
        now = datetime.fromtimestamp(self._wall(), UTC)
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _in_background(self, work: Coroutine[Any, Any, Served[Answer]]) -> None:
        async def run() -> None:
            try:
                await work
            except ApiError:
                # The page that follows asks again and is told what is wrong.
                return

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _claim(session: Session, files: CourseFiles) -> None:
    """Hold the platform to the token: its answer must be about the token's student."""
    if session.student_id is None:
        session.student_id = files.student_id
    elif files.student_id not in (None, session.student_id):
        raise UpstreamError
    session.verified = True


def _worst(failures: list[UpstreamError]) -> UpstreamError:
    """What to tell when no subject could be had: a timeout if there was one."""
    for failure in failures:
        if isinstance(failure, UpstreamTimeout):
            return failure
    return failures[0]
