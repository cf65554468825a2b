"""The use cases: what a student can ask for, and from which calls it is gathered.
Knows no HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

import msgspec

from .cache import AnswerCache, Entry, Served
from .deadline import Clock, Deadline
from .domain import attendance as figures
from .domain.icalendar_form import to_icalendar
from .domain.timetable import Timetable, timetable
from .errors import (
    ApiError,
    Forbidden,
    NotFound,
    TokenRefused,
    UpstreamError,
    UpstreamTimeout,
    WrongStudent,
)
from .pages import (
    ALL_ATTENDANCE,
    ATTENDANCE,
    PAGES,
    QUIZ,
    SUBJECT_ATTENDANCE,
    TIMETABLE,
    Page,
)
from .text import utc_timestamp
from .upstream import (
    CallerKey,
    Course,
    CourseFiles,
    LoginAnswer,
    SerialExecutor,
    UpstreamClient,
    pack_course_files,
    unpack_course_files,
)
from .web import Answer, Caller, Session, make_answer

__all__ = ["AimsService"]

_log = logging.getLogger(__name__)

_Loader = Callable[[Caller, Deadline, bool], Awaitable[Entry[Answer]]]

_CALENDAR_TYPE: Final = ("Content-Type", "text/calendar; charset=utf-8")
_COURSE_FILES: Final = "course-files"
# So many take about half a millisecond; fifteen such lists may come in one turn.
_MANY_RECORDS: Final = 250


class _SubjectRecords(msgspec.Struct, array_like=True):
    """One subject as it is kept: when it was had, and its counted days."""

    fetched_at: str
    days: figures.SubjectDays


class _HadFiles(NamedTuple):
    """Course files and when they were had; ``old`` ones should have been newer."""

    files: CourseFiles
    made_at: float
    old: bool


class AimsService:
    """Answers for one worker's students; ``wall`` is Unix time.

    ``on_wrong_student`` is called with the endpoint whenever the platform's answer
    names another student than the asker, who then gets nothing.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        *,
        request_seconds: float,
        target_percent: int = 75,
        prefetch_on_login: bool = True,
        on_wrong_student: Callable[[str], object] = bool,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.answer_cache = answer_cache
        self._upstream = upstream
        self._request_seconds = request_seconds
        self._target = target_percent
        self._prefetch_on_login = prefetch_on_login
        self._on_wrong_student = on_wrong_student
        self._clock = clock
        self._wall = wall
        self._turns = SerialExecutor()
        self._loaders: dict[str, _Loader] = {
            ATTENDANCE.resource: self._attendance,
            ALL_ATTENDANCE.resource: self._all_attendance,
            QUIZ.resource: self._quiz,
            TIMETABLE.resource: self._timetable,
            TIMETABLE.other_media["text/calendar"]: self._calendar,
        }
        self._background: set[asyncio.Task[None]] = set()

    @property
    def upstream_state(self) -> str:
        """Whether the platform is being asked: "closed", "half-open" or "open"."""
        return self._upstream.state

    @property
    def endpoint_states(self) -> dict[str, str]:
        """The same for each of the platform's endpoints; the above is the worst."""
        return self._upstream.endpoint_states

    async def log_in(
        self, username: str, password: str, address: str, deadline: Deadline
    ) -> LoginAnswer:
        """The platform's answer to a login; never kept, never repeated."""
        return await self._upstream.log_in(
            username, password, CallerKey.address(address), deadline
        )

    def logged_in(self, caller: Caller, answer: LoginAnswer) -> None:
        """Note the student that a login's answer names, and begin to gather the pages
        that follow it, if this service does so at all; returns at once.
        """
        try:
            self._confirm(
                caller.session,
                "login",
                student_id=answer.student_id,
                admission_number=answer.admission_number,
            )
        except WrongStudent:
            return  # the student has the answer; the token is as good as its next one
        if not self._prefetch_on_login:
            return
        for page in PAGES:
            if page.prefetched:
                deadline = Deadline(self._request_seconds, self._clock)
                self._in_background(self.page(page, caller, deadline))

    async def page(
        self,
        page: Page,
        caller: Caller,
        deadline: Deadline,
        *,
        fresh: bool = False,
        media: str | None = None,
    ) -> Served[Answer]:
        """A page without parameters, as JSON or as one of its ``other_media``; with
        ``fresh`` a kept one only if it is new.
        """
        resource = page.resource if media is None else page.other_media[media]
        load = self._loaders[resource]
        return await self.answer_cache.answer(
            resource,
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
        """One subject, day by day (docs/contract.rst 2.3), under the name ``subject``.

        Raises :class:`Forbidden` for any student but the token's own, and
        :class:`NotFound` for a course file that is not the student's. What is kept is
        one entry a course file, whatever it is called.
        """
        session = caller.session
        if session.student_id not in (None, student_id):
            raise Forbidden
        files = (await self._files(caller, deadline, fresh=False)).files
        if student_id != (files.student_id or session.student_id):
            raise Forbidden
        if all(course.cf_id != cf_id for course in files.courses):
            raise NotFound("This course is not among the student's.")

        async def fill(within: Deadline) -> Entry[bytes]:
            days = await self._subject(caller, student_id, cf_id, within)
            kept = msgspec.json.encode(_SubjectRecords(self._timestamp(), days))
            return self.answer_cache.new_part(session, kept)

        resource = f"{SUBJECT_ATTENDANCE.resource}/{cf_id}"
        served = await self.answer_cache.part(
            resource, session, fill, deadline, fresh=fresh
        )
        kept = msgspec.json.decode(served.entry.value, type=_SubjectRecords)
        page = figures.subject_attendance(
            subject, student_id, cf_id, kept.days, kept.fetched_at
        )
        body = msgspec.json.encode(page)
        return served.replace(
            await make_answer(body, f'"fetchedAt":"{kept.fetched_at}"')
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
        had = await self._files(caller, deadline, fresh=fresh)
        self._check_not_emptied(ATTENDANCE.resource, caller.session, had.files)
        page = figures.attendance(had.files, self._target)
        return self.answer_cache.new_answer(
            caller.session,
            await make_answer(msgspec.json.encode(page)),
            made_at=had.made_at,
            old=had.old,
            complete=bool(had.files.courses),
        )

    async def _all_attendance(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Entry[Answer]:
        """Every subject, day by day, in two round trips."""
        had = await self._files(caller, deadline, fresh=fresh)
        self._check_not_emptied(ALL_ATTENDANCE.resource, caller.session, had.files)
        days = await self._every_subject(caller, had.files, deadline)
        page = figures.all_attendance(
            had.files, days, self._timestamp(), self._target, self._upstream.note_cards
        )
        body = msgspec.json.encode(page)
        return self.answer_cache.new_answer(
            caller.session,
            await make_answer(body, f'"cachedAt":"{page.cached_at}"'),
            made_at=had.made_at if had.old else None,
            old=had.old,
            # What the platform has answered, whatever it is, is kept as any answer;
            # what it has not is soon asked for again, and so is who has no course.
            complete=bool(had.files.courses) and None not in days.values(),
        )

    async def _quiz(self, caller: Caller, deadline: Deadline, _: bool) -> Entry[Answer]:
        """The platform's evaluated quizzes, unchanged."""
        quizzes = await self._upstream.quizzes(caller.token, _key(caller), deadline)
        self._confirm(
            caller.session, "quizzes", admission_number=quizzes.admission_number
        )
        answer = await make_answer(quizzes.body)
        return self.answer_cache.new_answer(caller.session, answer)

    async def _timetable(
        self, caller: Caller, deadline: Deadline, _: bool
    ) -> Entry[Answer]:
        """The month's classes, day by day."""
        schedule = await self._upstream.schedule(caller.token, _key(caller), deadline)
        page = timetable(schedule, self._timestamp())
        answer = await make_answer(
            msgspec.json.encode(page), f'"cachedAt":"{page.cached_at}"', by_accept=True
        )
        return self.answer_cache.new_answer(
            caller.session, answer, complete=bool(schedule.rows)
        )

    async def _calendar(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Entry[Answer]:
        """The same as iCalendar, made of the kept page."""
        served = await self.page(TIMETABLE, caller, deadline, fresh=fresh)
        page = msgspec.json.decode(served.entry.value.plain.body, type=Timetable)
        written = await asyncio.to_thread(to_icalendar, page)
        answer = await make_answer(written, content_type=_CALENDAR_TYPE, by_accept=True)
        return self.answer_cache.new_answer(
            caller.session,
            answer,
            made_at=served.entry.made_at,
            complete=bool(page.days),
        )

    async def _files(
        self, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> "_HadFiles":
        """The course files: one call, shared by every page. Kept ones that are past
        their time will do only if no others can be had.
        """
        session = caller.session

        async def fill(within: Deadline) -> Entry[bytes]:
            files = await self._upstream.course_files(
                caller.token, _key(caller), within
            )
            self._confirm(session, "course_files", student_id=files.student_id)
            self._check_not_emptied(_COURSE_FILES, session, files)
            return self.answer_cache.new_part(
                session, pack_course_files(files), complete=bool(files.courses)
            )

        served = await self.answer_cache.part(
            _COURSE_FILES, session, fill, deadline, fresh=fresh, old_at_once=False
        )
        entry = served.entry
        return _HadFiles(
            unpack_course_files(entry.value), entry.made_at, served.outcome == "STALE"
        )

    def _confirm(self, session: Session, endpoint: str, **named: Any) -> None:
        """Compare whom an answer names with the asker (see :meth:`Session.confirm`)."""
        try:
            session.confirm(**named)
        except WrongStudent:
            _log.error("The platform answered %s for another student", endpoint)
            self._on_wrong_student(endpoint)
            raise

    def _check_not_emptied(
        self, resource: str, session: Session, files: CourseFiles
    ) -> None:
        """Course files without a course never take the place of what had some."""
        if not files.courses and self.answer_cache.has_kept(resource, session):
            raise UpstreamError

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
            except WrongStudent:
                raise
            except (UpstreamError, TokenRefused) as failure:
                failures.append(failure)  # one subject's refusal logs nobody out
                return None

        days = await asyncio.gather(*map(days_of, files.courses))
        if failures and len(failures) == len(days):
            raise _worst(failures)
        return {c.cf_id: d for c, d in zip(files.courses, days, strict=True)}

    async def _subject(
        self, caller: Caller, student_id: int, cf_id: int, deadline: Deadline
    ) -> figures.SubjectDays:
        had = await self._upstream.cards(
            caller.token, _key(caller), student_id, cf_id, deadline
        )
        self._confirm(caller.session, "cards", student_id=had.student_id)

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
                # The student's own request asks again and gets the error.
                return

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _key(caller: Caller) -> CallerKey:
    """What the platform's side knows the caller by, as things stand now."""
    student_id = caller.session.verified_student
    if student_id is not None:
        return CallerKey.student(student_id)
    return CallerKey.address(caller.address)


def _worst(failures: list[ApiError]) -> ApiError:
    """The error for a page without any subject: a timeout if there was one."""
    for failure in failures:
        if isinstance(failure, UpstreamTimeout):
            return failure
    return failures[0]
