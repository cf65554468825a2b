"""The use cases: the pages, the login, and the prefetch that a login begins."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..cache import AnswerCache, Served, SharedLog
from ..deadline import Clock, Deadline
from ..errors import ApiError, WrongStudent
from ..pages import ALL_ATTENDANCE, PAGES, Page
from ..primitives import SerialExecutor
from ..upstream import CallerKey, LoginAnswer, UpstreamClient
from ..web import Answer, Caller
from .admission import PageAdmission
from .all_attendance_page import AllAttendancePage
from .gathering import Gathering
from .one_call_pages import OneCallPages
from .student_calls import StudentCalls
from .student_records import StudentRecords
from .subject_page import SubjectPage

__all__ = ["AimsService"]


class AimsService:
    """Answers the requests of one worker's students.

    ``executor`` runs heavy work in steps. With a ``shared_log`` askers see what other
    workers gather for them. ``on_wrong_student`` is called with the endpoint if the
    platform's answer names another student than the asker, who then gets nothing.
    ``clock`` gives monotonic seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        executor: SerialExecutor,
        *,
        request_seconds: float,
        gather_seconds: float,
        target_percent: int,
        prefetch_on_login: bool,
        shared_log: SharedLog | None,
        on_wrong_student: Callable[[str], object],
        clock: Clock,
        wall: Clock,
    ) -> None:
        self.answer_cache = answer_cache
        self.upstream = upstream
        self._request_seconds = request_seconds
        self._prefetch_on_login = prefetch_on_login
        self._clock = clock
        self._calls = StudentCalls(upstream, executor, on_wrong_student)
        admission = PageAdmission(upstream, request_seconds)
        records = StudentRecords(
            self._calls,
            admission,
            answer_cache,
            # Half of a request's time: the other half is for the records.
            refresh_seconds=request_seconds / 2,
            clock=clock,
            wall=wall,
        )
        self.subject = SubjectPage(records, admission)
        self._one_call = OneCallPages(
            self._calls,
            records,
            admission,
            answer_cache,
            target_percent=target_percent,
        )
        self._all_attendance = AllAttendancePage(
            self._calls,
            records,
            admission,
            upstream,
            answer_cache,
            gather_seconds=gather_seconds,
            target_percent=target_percent,
            shared_log=shared_log,
            clock=clock,
        )
        self._background: set[asyncio.Task[None]] = set()

    async def log_in(
        self, username: str, password: str, address: str, deadline: Deadline
    ) -> LoginAnswer:
        """The platform's answer to a login, which is never kept or retried."""
        return await self.upstream.log_in(
            username, password, CallerKey.address(address), deadline
        )

    def logged_in(self, caller: Caller, answer: LoginAnswer) -> None:
        """Verify the student whom the login's answer names, and begin the prefetch in
        the background, if that is on.
        """
        try:
            self._calls.confirm(
                caller.session,
                "login",
                student_id=answer.student_id,
                admission_number=answer.admission_number,
            )
        except WrongStudent:
            return  # the login is answered all the same; each page is checked again
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
        """A page without parameters, as JSON or as one of its ``other_media``. With
        ``fresh`` a kept one older than the floor (`Lifetimes`) is refreshed first.

        Raises :class:`UpstreamTimeout` at the deadline, with an estimate of when the
        page is ready. All-attendance is then made of the subjects that have arrived.
        """
        if page is ALL_ATTENDANCE:
            return await self._all_attendance.page(caller, deadline, fresh=fresh)
        resource = page.resource if media is None else page.other_media[media]
        return await self._one_call.page(resource, caller, deadline, fresh=fresh)

    async def gathering(self, caller: Caller) -> Gathering:
        """What has arrived of all-attendance so far. Waits until this worker, or
        another one that it follows, gathers it.
        """
        return await self._all_attendance.gathering(caller)

    async def close(self) -> None:
        """Cancel the background work and wait for its end."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _in_background(self, work: Coroutine[Any, Any, Served[Answer]]) -> None:
        async def run() -> None:
            try:
                await work
            except ApiError:
                # The student's own request will ask again and get the error.
                return

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
