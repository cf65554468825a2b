"""The pages that take one call: the summary per course, the quizzes, and the timetable
as JSON and as iCalendar.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from ..cache import AnswerCache, Entry, Served
from ..deadline import Deadline
from ..domain import Timetable, attendance_page, timetable_page, to_icalendar
from ..errors import UpstreamTimeout
from ..pages import ATTENDANCE, QUIZ, TIMETABLE
from ..upstream import unpack_course_files
from ..web import Answer, Caller, make_answer
from .admission import PageAdmission
from .student_calls import StudentCalls
from .student_records import StudentRecords

__all__ = ["OneCallPages"]

_Make = Callable[[Caller, Deadline], Awaitable[Entry[Answer]]]
_Give = Callable[[Caller, Deadline, bool], Awaitable[Served[Answer]]]

_CALENDAR_TYPE: Final = ("Content-Type", "text/calendar; charset=utf-8")


class OneCallPages:
    """The pages by their resource; ``target_percent`` is the required attendance.

    The summary is made of the course files, the calendar of the timetable. A request
    for one of them waits for its source, in the same flight as everyone else who waits
    for that source.
    """

    def __init__(
        self,
        calls: StudentCalls,
        records: StudentRecords,
        admission: PageAdmission,
        answer_cache: AnswerCache,
        *,
        target_percent: int,
    ) -> None:
        self._calls = calls
        self._records = records
        self._admission = admission
        self._cache = answer_cache
        self._target = target_percent
        self._timetable = partial(self._made, TIMETABLE.resource, self._make_timetable)
        self._by_resource: dict[str, _Give] = {
            ATTENDANCE.resource: self._summary,
            QUIZ.resource: partial(self._made, QUIZ.resource, self._make_quiz),
            TIMETABLE.resource: self._timetable,
            TIMETABLE.other_media["text/calendar"]: self._calendar,
        }

    async def page(
        self, resource: str, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> Served[Answer]:
        """The page that is kept as this resource.

        Raises :class:`UpstreamTimeout` at the deadline, with an estimate of when the
        page is ready.
        """
        try:
            return await self._by_resource[resource](caller, deadline, fresh)
        except UpstreamTimeout:
            raise self._admission.too_late() from None

    async def _made(
        self,
        resource: str,
        make: _Make,
        caller: Caller,
        deadline: Deadline,
        fresh: bool,
    ) -> Served[Answer]:
        """The kept page, or one that ``make`` makes and that is then kept."""

        async def fill(within: Deadline) -> Entry[Answer]:
            with self._admission.reserve(caller, 1):
                return await make(caller, within)

        return await self._cache.answer(
            resource, caller.session, fill, deadline, fresh=fresh
        )

    async def _summary(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Served[Answer]:
        """The summary per course (docs/contract.rst 2.1)."""
        files = self._records.packed_course_files(
            caller,
            deadline,
            fresh=fresh,
            old_at_once=True,
        )
        return await self._cache.derived(
            ATTENDANCE.resource, caller.session, files, self._make_summary
        )

    async def _make_summary(self, packed: bytes) -> Answer:
        page = attendance_page(unpack_course_files(packed), self._target)
        return await make_answer(msgspec.json.encode(page))

    async def _make_quiz(self, caller: Caller, deadline: Deadline) -> Entry[Answer]:
        """The platform's evaluated quizzes, unchanged."""
        quizzes = await self._calls.quizzes(caller, deadline)
        answer = await make_answer(quizzes.body)
        return self._cache.new_answer(
            caller.session, answer, complete=not quizzes.is_empty
        )

    async def _make_timetable(
        self, caller: Caller, deadline: Deadline
    ) -> Entry[Answer]:
        """The month's classes, day by day."""
        schedule = await self._calls.schedule(caller, deadline)
        page = timetable_page(schedule, self._records.timestamp())
        answer = await make_answer(
            msgspec.json.encode(page), f'"cachedAt":"{page.cached_at}"', by_accept=True
        )
        return self._cache.new_answer(
            caller.session, answer, complete=bool(schedule.rows)
        )

    async def _calendar(
        self, caller: Caller, deadline: Deadline, fresh: bool
    ) -> Served[Answer]:
        """The timetable as iCalendar."""
        resource = TIMETABLE.other_media["text/calendar"]
        table = self._timetable(caller, deadline, fresh)
        return await self._cache.derived(
            resource, caller.session, table, self._make_calendar
        )

    async def _make_calendar(self, table: Answer) -> Answer:
        page = msgspec.json.decode(table.plain.body, type=Timetable)
        written = await asyncio.to_thread(to_icalendar, page)
        return await make_answer(written, content_type=_CALENDAR_TYPE, by_accept=True)
