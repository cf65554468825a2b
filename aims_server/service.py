"""The use cases: what a student can ask for, and from which calls it is gathered.
Knows no HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec

from .cache import AnswerCache, Entry, Served
from .deadline import Clock, Deadline
from .domain import attendance as figures
from .errors import (
    ApiError,
    Forbidden,
    TokenRefused,
    UpstreamError,
    UpstreamTimeout,
)
from .pages import ALL_ATTENDANCE, ATTENDANCE, PAGES, QUIZ, SUBJECT_ATTENDANCE, Page
from .text import utc_timestamp
from .upstream import (
    Course,
    CourseFiles,
    LoginAnswer,
    SerialExecutor,
    UpstreamClient,
    pack_course_files,
    unpack_course_files,
)
from .web import Answer, Caller, make_answer

__all__ = ["AimsService"]

_Loader = Callable[[Caller, Deadline, bool], Awaitable[Entry[Answer]]]

_COURSE_FILES: Final = "course-files"
# So many take about half a millisecond; fifteen such lists may come in one turn.
_MANY_RECORDS: Final = 250


class AimsService:
    """Answers for one worker's students; ``wall`` is Unix time."""

    def __init__(
        self,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        *,
        request_seconds: float,
        target_percent: int = 75,
        prefetch_on_login: bool = True,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.answer_cache = answer_cache
        self._upstream = upstream
        self._request_seconds = request_seconds
        self._target = target_percent
        self._prefetch_on_login = prefetch_on_login
        self._clock = clock
        self._wall = wall
        self._turns = SerialExecutor()
        self._loaders: dict[str, _Loader] = {
            ATTENDANCE.name: self._attendance,
            ALL_ATTENDANCE.name: self._all_attendance,
            QUIZ.name: self._quiz,
        }
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
        """Begin to gather the pages that a student opens after a login, if this service
        does so at all; returns at once.
        """
        if not self._prefetch_on_login:
            return
        for page in PAGES:
            if page.prefetched:
                deadline = Deadline(self._request_seconds, self._clock)
                self._in_background(self.page(page, caller, deadline))

    async def page(
        self, page: Page, caller: Caller, deadline: Deadline, *, fresh: bool = False
    ) -> Served[Answer]:
        """A page without parameters; with ``fresh`` a kept one only if it is new."""
        load = self._loaders[page.name]
        return await self.answer_cache.answer(
            page.resource,
            caller.session,
            lambda within: load(caller, within, fresh),
            deadline,
            fresh=fresh,
        )

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
        """One subject, day by day (docs/contract.rst 2.3).

        Raises :class:`Forbidden` for any student but the token's own.
        """
        session = caller.session
        own = session.student_id
        if own is None:
            files, _ = await self._files(caller, deadline, fresh=False)
            own = files.student_id
        if student_id != own:
            raise Forbidden

        async def fill(within: Deadline) -> Entry[Answer]:
            days = await self._subject(caller, student_id, cf_id, within)
            page = figures.subject_attendance(
                subject, student_id, cf_id, days, self._timestamp()
            )
            answer = await make_answer(msgspec.json.encode(page))
            return self.answer_cache.new_answer(session, answer)

        resource = f"{SUBJECT_ATTENDANCE.resource}/{cf_id}/{subject}"
        return await self.answer_cache.answer(
            resource, session, fill, deadline, fresh=fresh
        )

    async def close(self) -> None:
        """Give up background work."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _attendance(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Entry[Answer]:
        """The summary per course, from the course files alone."""
        files, made_at = await self._files(caller, deadline, fresh=fresh)
        page = figures.attendance(files, self._target)
        answer = await make_answer(msgspec.json.encode(page))
        return self.answer_cache.new_answer(
            caller.session, answer, made_at=made_at, complete=bool(files.courses)
        )

    async def _all_attendance(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Entry[Answer]:
        """Every subject, day by day, in two round trips."""
        files, _ = await self._files(caller, deadline, fresh=fresh)
        days = await self._every_subject(caller, files, deadline)
        page = figures.all_attendance(
            files, days, self._timestamp(), self._target, self._upstream.note_cards
        )
        answer = await make_answer(msgspec.json.encode(page))
        # What the platform has answered, whatever it is, is kept as any answer; what it
        # has not is soon asked for again, and so is a student without any course.
        complete = bool(files.courses) and None not in days.values()
        return self.answer_cache.new_answer(caller.session, answer, complete=complete)

    async def _quiz(self, caller: Caller, deadline: Deadline, _: bool) -> Entry[Answer]:
        """The platform's evaluated quizzes, unchanged."""
        quizzes = await self._upstream.quizzes(caller.token, deadline)
        caller.session.verify(None)
        answer = await make_answer(quizzes.body)
        return self.answer_cache.new_answer(caller.session, answer)

    async def _files(
        self, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> tuple[CourseFiles, float]:
        """The course files and when they were had: one call, shared by every page."""
        session = caller.session

        async def fill(within: Deadline) -> Entry[bytes]:
            files = await self._upstream.course_files(caller.token, within)
            session.verify(files.student_id)
            return self.answer_cache.new_intermediate(session, pack_course_files(files))

        served = await self.answer_cache.intermediate(
            _COURSE_FILES, session, fill, deadline, fresh=fresh
        )
        return unpack_course_files(served.entry.value), served.entry.made_at

    async def _every_subject(
        self, caller: Caller, files: CourseFiles, deadline: Deadline
    ) -> dict[int, figures.SubjectDays | None]:
        if not files.courses:
            return {}
        student_id = files.student_id or caller.session.student_id
        if student_id is None:
            raise UpstreamError
        failures: list[ApiError] = []

        async def days_of(course: Course) -> figures.SubjectDays | None:
            try:
                return await self._subject(caller, student_id, course.cf_id, deadline)
            except (UpstreamError, TokenRefused) as failure:
                failures.append(failure)  # one subject's refusal logs nobody out
                return None

        days = await asyncio.gather(*map(days_of, files.courses))
        if len(failures) == len(days):
            raise _worst(failures)
        return {c.cf_id: d for c, d in zip(files.courses, days, strict=True)}

    async def _subject(
        self, caller: Caller, student_id: int, cf_id: int, deadline: Deadline
    ) -> figures.SubjectDays:
        had = await self._upstream.cards(caller.token, student_id, cf_id, deadline)
        if had.student_id not in (None, student_id):
            raise UpstreamError
        caller.session.verify(student_id)

        def counted() -> figures.SubjectDays:
            note = self._upstream.note_cards
            return figures.subject_days(had.cards, note, complete=had.complete)

        if len(had.cards) < _MANY_RECORDS:
            return counted()
        return await self._turns.run(counted)

    def _timestamp(self) -> str:
        return utc_timestamp(int(self._wall()))

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


def _worst(failures: list[ApiError]) -> ApiError:
    """What to tell when no subject could be had: a timeout if there was one."""
    for failure in failures:
        if isinstance(failure, UpstreamTimeout):
            return failure
    return failures[0]
