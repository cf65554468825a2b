"""The use cases: what a student can ask for, and from which calls it is gathered.
Knows no HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Coroutine
from typing import Any, Final, NamedTuple

import msgspec

from .cache import AnswerCache, Entry, Outcome, Served
from .deadline import Clock, Deadline
from .domain import attendance as figures
from .domain.icalendar_form import to_icalendar
from .domain.names import subject_keys
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
from .gathering import Gathering, Gatherings
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
    CourseFiles,
    LoginAnswer,
    SerialExecutor,
    UpstreamClient,
    pack_course_files,
    unpack_course_files,
)
from .web import Answer, Caller, Session, make_answer

__all__ = ["AimsService", "SubjectsGathering"]

_log = logging.getLogger(__name__)

SubjectsGathering = Gathering["_HadFiles", figures.SubjectDays | None]
_Loader = Callable[
    [Caller, Deadline, bool, SubjectsGathering], Awaitable[Entry[Answer]]
]

_CALENDAR_TYPE: Final = ("Content-Type", "text/calendar; charset=utf-8")
_COURSE_FILES: Final = "course-files"
# Of a request's time: calls may become slower while a crowd's pages are gathered.
_PROMISED_SHARE: Final = 0.7
_USUAL_CALLS: Final = 16  # of a page with every subject; then as many as the last had
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

    def names(self) -> dict[int, str]:
        """What each course file's subject is called in the pages."""
        courses = self.files.courses
        keys = subject_keys(courses)
        return {c.cf_id: key for c, key in zip(courses, keys, strict=True)}


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
        gather_seconds: float,
        target_percent: int = 75,
        prefetch_on_login: bool = True,
        on_wrong_student: Callable[[str], object] = bool,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.answer_cache = answer_cache
        self._upstream = upstream
        self._request_seconds = request_seconds
        self._gather_seconds = gather_seconds
        self._gatherings: Gatherings[_HadFiles, figures.SubjectDays | None]
        self._gatherings = Gatherings()
        self._calls_of_a_page = _USUAL_CALLS
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
        key = caller.session.resource_key(resource)
        pending = self._gatherings.get(key) is not None

        async def gather(within: Deadline) -> Entry[Answer]:
            calls = self._calls_of_a_page if page is ALL_ATTENDANCE else 1
            patience = _PROMISED_SHARE * self._request_seconds
            with (
                self._upstream.reserve(_key(caller), calls, patience),
                self._gatherings.begin(key, self._clock()) as gathering,
            ):
                return await load(caller, within, fresh, gathering)

        try:
            return await self.answer_cache.answer(
                resource, caller.session, gather, deadline, fresh=fresh
            )
        except UpstreamTimeout:
            if page is not ALL_ATTENDANCE:
                raise self._too_late(key, trips=1) from None
        return await self._as_it_stands(caller, pending=pending)

    async def gathering(self, page: Page, caller: Caller) -> SubjectsGathering:
        """What has arrived so far of a page, as soon as this worker gathers it."""
        key = caller.session.resource_key(page.resource)
        return await self._gatherings.begun(key)

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

        resource = _subject_resource(cf_id)
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
        self, caller: Caller, deadline: Deadline, fresh: bool, _: SubjectsGathering
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
        self,
        caller: Caller,
        deadline: Deadline,
        fresh: bool,
        gathering: SubjectsGathering,
    ) -> Entry[Answer]:
        """Every subject, day by day, in two round trips."""
        self._upstream.expect_cards()
        had = await self._files(caller, deadline, fresh=fresh)
        self._check_not_emptied(ALL_ATTENDANCE.resource, caller.session, had.files)
        gathering.begin(had, len(had.files.courses))
        self._calls_of_a_page = 1 + len(had.files.courses)
        kept = self._kept_subjects(caller.session, had.files, fresh=fresh)
        for cf_id, (days, _) in kept.items():
            gathering.add(cf_id, days)
        await self._missing_subjects(caller, had.files, deadline, gathering)
        complete = None not in gathering.parts.values()
        if gathering.parts and not any(gathering.parts.values()):
            self._check_not_kept(ALL_ATTENDANCE.resource, caller.session)
        if not complete:
            # Who asks next asks for the others only.
            await self._keep_subjects(caller.session, gathering, deadline, but=kept)
        oldest = min((made_at for _, made_at in kept.values()), default=None)
        return await self._all_attendance_of(
            caller, had, gathering, made_at=oldest, complete=complete
        )

    async def _all_attendance_of(
        self,
        caller: Caller,
        had: "_HadFiles",
        gathering: SubjectsGathering | None,
        *,
        made_at: float | None,
        complete: bool,
    ) -> Entry[Answer]:
        """The page made of what is there."""
        parts = {} if gathering is None else gathering.parts
        days = {each.cf_id: parts.get(each.cf_id) for each in had.files.courses}
        page = figures.all_attendance(
            had.files, days, self._timestamp(), self._target, self._upstream.note_cards
        )
        body = msgspec.json.encode(page)
        return self.answer_cache.new_answer(
            caller.session,
            await make_answer(body, f'"cachedAt":"{page.cached_at}"', by_accept=True),
            made_at=had.made_at if had.old else made_at,
            old=had.old,
            # What the platform has answered, whatever it is, is kept as any answer;
            # what it has not is soon asked for again, and so is who has no course.
            complete=complete and bool(had.files.courses),
        )

    async def _as_it_stands(self, caller: Caller, *, pending: bool) -> Served[Answer]:
        """The page at its asker's deadline: what is there, while the rest is gathered
        on. It is not kept, so that the next asker waits for the whole one.

        Raises :class:`UpstreamTimeout` if not even the course files are there.
        """
        session = caller.session
        key = session.resource_key(ALL_ATTENDANCE.resource)
        gathering = self._gatherings.get(key)
        had = None if gathering is None else gathering.head
        if had is None:
            packed = await self.answer_cache.find_part(_COURSE_FILES, session)
            if packed is None:
                raise self._too_late(key, trips=2)
            had = _HadFiles(
                unpack_course_files(packed.value),
                packed.made_at,
                self._clock() >= packed.fresh_until,
            )
        entry = await self._all_attendance_of(
            caller, had, gathering, made_at=None, complete=False
        )
        return Served(
            msgspec.structs.replace(
                entry, fresh_until=entry.made_at, servable_until=entry.made_at
            ),
            Outcome.PENDING if pending else Outcome.MISS,
        )

    def _too_late(self, key: bytes, *, trips: int) -> UpstreamTimeout:
        """The error for an asker whose deadline has passed, with an estimate of when
        the answer is there.
        """
        gathering = self._gatherings.get(key)
        if gathering is None:
            return UpstreamTimeout()
        now = self._clock()
        left = gathering.began_at + self._gather_seconds - now
        estimate = gathering.seconds_left(now, trips)
        return UpstreamTimeout(retry_after=max(0.0, min(estimate, left)))

    async def _quiz(
        self, caller: Caller, deadline: Deadline, _: bool, __: SubjectsGathering
    ) -> Entry[Answer]:
        """The platform's evaluated quizzes, unchanged."""
        quizzes = await self._upstream.quizzes(caller.token, _key(caller), deadline)
        self._confirm(
            caller.session, "quizzes", admission_number=quizzes.admission_number
        )
        answer = await make_answer(quizzes.body)
        return self.answer_cache.new_answer(caller.session, answer)

    async def _timetable(
        self, caller: Caller, deadline: Deadline, _: bool, __: SubjectsGathering
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
        self, caller: Caller, deadline: Deadline, fresh: bool, _: SubjectsGathering
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
        if not files.courses:
            self._check_not_kept(resource, session)

    def _check_not_kept(self, resource: str, session: Session) -> None:
        """Raise :class:`UpstreamError` if a page is kept, which is then served as old:
        an empty one never takes its place.
        """
        if self.answer_cache.has_kept(resource, session):
            raise UpstreamError

    def _kept_subjects(
        self, session: Session, files: CourseFiles, *, fresh: bool
    ) -> dict[int, tuple[figures.SubjectDays, float]]:
        """Subjects that are at hand, by course file, with when they were had."""
        kept = {}
        for course in files.courses:
            entry = self.answer_cache.get_fresh_part(
                _subject_resource(course.cf_id), session, fresh=fresh
            )
            if entry is not None:
                records = msgspec.json.decode(entry.value, type=_SubjectRecords)
                kept[course.cf_id] = records.days, entry.made_at
        return kept

    async def _keep_subjects(
        self,
        session: Session,
        gathering: SubjectsGathering,
        deadline: Deadline,
        *,
        but: Container[int],
    ) -> None:
        for cf_id, days in gathering.parts.items():
            if days is None or cf_id in but:
                continue
            packed = msgspec.json.encode(_SubjectRecords(self._timestamp(), days))

            async def fill(_: Deadline, packed: bytes = packed) -> Entry[bytes]:
                return self.answer_cache.new_part(session, packed)

            resource = _subject_resource(cf_id)
            await self.answer_cache.part(resource, session, fill, deadline, fresh=False)

    async def _missing_subjects(
        self,
        caller: Caller,
        files: CourseFiles,
        deadline: Deadline,
        gathering: SubjectsGathering,
    ) -> None:
        """Add every subject that is not there yet, None for one that cannot be had.

        Raises :class:`TokenRefused` if all of several are refused: then it is not one
        of them that is, but the token.
        """
        missing = [c.cf_id for c in files.courses if c.cf_id not in gathering.parts]
        if not missing:
            return
        student_id = files.student_id or caller.session.student_id
        if student_id is None:
            raise UpstreamError

        async def add(cf_id: int) -> bool:
            """Whether it was refused."""
            try:
                gathering.add(
                    cf_id, await self._subject(caller, student_id, cf_id, deadline)
                )
            except WrongStudent:
                raise
            except UpstreamError:
                gathering.add(cf_id, None)
            except TokenRefused:
                gathering.add(cf_id, None)
                return True
            return False

        refused = await asyncio.gather(*map(add, missing))
        if len(missing) > 1 and all(refused):
            raise TokenRefused

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


def _subject_resource(cf_id: int) -> str:
    return f"{SUBJECT_ATTENDANCE.resource}/{cf_id}"
