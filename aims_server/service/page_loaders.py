"""Makes the entries that pages are kept as, out of a student's records."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ..cache import AnswerCache, Entry, Outcome, Served
from ..deadline import Deadline
from ..domain import attendance as figures
from ..domain.icalendar_form import to_icalendar
from ..domain.page_encoding import encode_page
from ..domain.timetable import Timetable, timetable
from ..errors import TokenRefused, UpstreamError, WrongStudent
from ..pages import ALL_ATTENDANCE, QUIZ, TIMETABLE
from ..upstream import UpstreamClient
from ..web import Answer, Caller, make_answer
from .following import SubjectsGathering
from .records import HadFiles, StudentRecords

__all__ = ["PageLoaders"]

PageLoader = Callable[
    [Caller, Deadline, bool, SubjectsGathering], Awaitable[Entry[Answer]]
]
TimetablePage = Callable[[Caller, Deadline, bool], Awaitable[Served[Answer]]]

_CALENDAR_TYPE: Final = ("Content-Type", "text/calendar; charset=utf-8")
_USUAL_CALLS: Final = 16  # of the page with every subject


class PageLoaders:
    """A loader for each resource; ``timetable_page`` gives the page that the calendar
    is made of.
    """

    def __init__(
        self,
        records: StudentRecords,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        timetable_page: TimetablePage,
        *,
        target_percent: int = 75,
    ) -> None:
        self._records = records
        self._upstream = upstream
        self._cache = answer_cache
        self._timetable_page = timetable_page
        self._target = target_percent
        self._calls_of_every_subject = _USUAL_CALLS
        self._by_resource: dict[str, PageLoader] = {
            ALL_ATTENDANCE.resource: self._all_attendance,
            QUIZ.resource: self._quiz,
            TIMETABLE.resource: self._timetable,
            TIMETABLE.other_media["text/calendar"]: self._calendar,
        }

    def of(self, resource: str) -> PageLoader:
        """The loader of this resource: it makes the entry within a deadline, of new
        parts or of kept ones, and tells the gathering what has come of it so far.
        """
        return self._by_resource[resource]

    def calls_of(self, resource: str) -> int:
        """How many calls it is thought to take: as many as the last of its kind."""
        if resource == ALL_ATTENDANCE.resource:
            return self._calls_of_every_subject
        return 1

    async def all_attendance_of(
        self,
        caller: Caller,
        had: HadFiles,
        gathering: SubjectsGathering | None,
        *,
        made_at: float | None = None,
        complete: bool = False,
    ) -> Entry[Answer]:
        """The page of every subject made of what is there."""
        parts = {} if gathering is None else gathering.parts
        days = {each.cf_id: parts.get(each.cf_id) for each in had.files.courses}
        notes = self._upstream.card_notes()
        page = figures.all_attendance(
            had.files,
            days,
            self._records.timestamp(),
            self._target,
            notes,
        )
        notes.report()
        body = await encode_page(page)
        return self._cache.new_answer(
            caller.session,
            await make_answer(body, f'"cachedAt":"{page.cached_at}"', by_accept=True),
            made_at=had.made_at if had.old else made_at,
            old=had.old,
            # What the platform has answered, whatever it is, is kept as any answer;
            # what it has not is asked for again soon, as is a list without a course.
            complete=complete and bool(had.files.courses),
        )

    async def _all_attendance(
        self,
        caller: Caller,
        deadline: Deadline,
        fresh: bool,
        gathering: SubjectsGathering,
    ) -> Entry[Answer]:
        """Every subject, day by day, in two round trips."""
        session = caller.session
        with self._upstream.expect_cards():
            had = await self._records.course_files(caller, deadline, fresh=fresh)
        cf_ids = had.cf_ids()
        self._calls_of_every_subject = 1 + len(cf_ids)
        gathering.begin(had, len(cf_ids))
        kept = self._records.subjects_at_hand(session, cf_ids, fresh=fresh)
        for cf_id, (days, _) in kept.items():
            gathering.add(cf_id, days)
        await self._add_missing(caller, had, deadline, gathering)
        complete = None not in gathering.parts.values()
        if not complete:
            # The next request asks for the others only.
            new = {
                cf_id: days
                for cf_id, days in gathering.parts.items()
                if days is not None and cf_id not in kept
            }
            await self._records.keep_subjects(session, new, deadline)
        oldest = min((made_at for _, made_at in kept.values()), default=None)
        return await self.all_attendance_of(
            caller, had, gathering, made_at=oldest, complete=complete
        )

    async def _add_missing(
        self,
        caller: Caller,
        had: HadFiles,
        deadline: Deadline,
        gathering: SubjectsGathering,
    ) -> None:
        """Add every subject that is not there yet, None for one that cannot be had.

        Raises :class:`TokenRefused` if all of several are refused: then it is not one
        of them that is, but the token.
        """
        missing = [cf_id for cf_id in had.cf_ids() if cf_id not in gathering.parts]
        if not missing:
            return
        student_id = had.files.student_id or caller.session.student_id
        if student_id is None:
            raise UpstreamError

        async def add(cf_id: int) -> bool:
            """Whether it was refused."""
            days, refused = None, False
            try:
                days = await self._records.subject(caller, student_id, cf_id, deadline)
            except WrongStudent:
                raise
            except UpstreamError:
                pass
            except TokenRefused:
                refused = True
            gathering.add(cf_id, days)
            return refused

        refused = await asyncio.gather(*map(add, missing))
        if len(missing) > 1 and all(refused):
            raise TokenRefused

    async def _quiz(
        self, caller: Caller, deadline: Deadline, _: bool, __: SubjectsGathering
    ) -> Entry[Answer]:
        """The platform's evaluated quizzes, unchanged."""
        quizzes = await self._records.quizzes(caller, deadline)
        answer = await make_answer(quizzes.body)
        return self._cache.new_answer(caller.session, answer)

    async def _timetable(
        self, caller: Caller, deadline: Deadline, _: bool, __: SubjectsGathering
    ) -> Entry[Answer]:
        """The month's classes, day by day."""
        schedule = await self._records.schedule(caller, deadline)
        page = timetable(schedule, self._records.timestamp())
        answer = await make_answer(
            msgspec.json.encode(page), f'"cachedAt":"{page.cached_at}"', by_accept=True
        )
        return self._cache.new_answer(
            caller.session, answer, complete=bool(schedule.rows)
        )

    async def _calendar(
        self, caller: Caller, deadline: Deadline, fresh: bool, _: SubjectsGathering
    ) -> Entry[Answer]:
        """The same as iCalendar, made of the kept page."""
        served = await self._timetable_page(caller, deadline, fresh)
        page = msgspec.json.decode(served.entry.value.plain.body, type=Timetable)
        written = await asyncio.to_thread(to_icalendar, page)
        answer = await make_answer(written, content_type=_CALENDAR_TYPE, by_accept=True)
        return self._cache.new_answer(
            caller.session,
            answer,
            made_at=served.entry.made_at,
            old=served.outcome is Outcome.STALE,
            complete=bool(page.days),
        )
