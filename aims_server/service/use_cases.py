"""What a student may ask for, and what is given at the request's deadline."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ..cache import AnswerCache, Entry, Outcome, Served, SharedLog
from ..deadline import Clock, Deadline
from ..errors import ApiError, UpstreamTimeout, WrongStudent
from ..pages import ALL_ATTENDANCE, ATTENDANCE, PAGES, TIMETABLE, Page
from ..upstream import CallerKey, LoginAnswer, UpstreamClient
from ..web import Answer, Caller
from .admission import PageAdmission
from .following import SharedGatherings, SubjectsGathering, SubjectsGatherings
from .page_loaders import PageLoaders
from .records import StudentRecords
from .subject_page import SubjectPage
from .summary_page import SummaryPage

__all__ = ["AimsService"]


class AimsService:
    """Answers for one worker's students; ``wall`` is Unix time.

    With a ``shared_log`` its askers see what other workers gather for them.
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
        shared_log: SharedLog | None = None,
        on_wrong_student: Callable[[str], object] = bool,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.answer_cache = answer_cache
        self._upstream = upstream
        self._request_seconds = request_seconds
        self._gather_seconds = gather_seconds
        self._prefetch_on_login = prefetch_on_login
        self._clock = clock
        self._records = StudentRecords(
            upstream,
            answer_cache,
            # Half of a request's time: the other half is left for what follows.
            refresh_seconds=request_seconds / 2,
            on_wrong_student=on_wrong_student,
            clock=clock,
            wall=wall,
        )
        self._admission = PageAdmission(upstream, request_seconds)
        self.subject = SubjectPage(self._records, self._admission)
        self._summary = SummaryPage(
            self._records,
            self._admission,
            answer_cache,
            target_percent,
        )
        self._loaders = PageLoaders(
            self._records,
            upstream,
            answer_cache,
            lambda caller, deadline, fresh: self.page(
                TIMETABLE, caller, deadline, fresh=fresh
            ),
            target_percent=target_percent,
        )
        self._gatherings = SubjectsGatherings()
        self._shared = SharedGatherings(self._gatherings, shared_log)
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
            self._records.confirm(
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

        Raises :class:`UpstreamTimeout` at the deadline, with an estimate of when it is
        there; but of the page with every subject there is what has been had by then.
        """
        if page is ATTENDANCE:
            return await self._summary.page(caller, deadline, fresh=fresh)
        resource = page.resource if media is None else page.other_media[media]
        load = self._loaders.of(resource)
        session = caller.session
        key = session.resource_key(resource)
        pending = True

        async def gather(within: Deadline) -> Entry[Answer]:
            nonlocal pending
            pending = False
            with (
                self._admission.at_once(caller, self._loaders.calls_of(resource)),
                self._gatherings.begin(key, self._clock()) as gathering,
                self._shared.published(session, key, gathering),
            ):
                return await load(caller, within, fresh, gathering)

        with self._shared.followed(session, key):
            try:
                return await self.answer_cache.answer(
                    resource, session, gather, deadline, fresh=fresh
                )
            except UpstreamTimeout:
                if page is not ALL_ATTENDANCE:
                    raise self._too_late(key, trips=1) from None
            return await self._as_it_stands(caller, pending=pending)

    async def gathering(self, page: Page, caller: Caller) -> SubjectsGathering:
        """What has arrived so far of a page, as soon as it is gathered by this worker,
        or by one that this one follows.
        """
        key = caller.session.resource_key(page.resource)
        return await self._gatherings.begun(key)

    async def close(self) -> None:
        """Give up background work."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

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
            had = self._records.course_files_at_hand(session, self._clock())
        if had is None:
            raise self._too_late(key, trips=2)
        entry = await self._loaders.all_attendance_of(caller, had, gathering)
        outcome = Outcome.PENDING if pending else Outcome.MISS
        return Served(
            msgspec.structs.replace(
                entry, fresh_until=entry.made_at, servable_until=entry.made_at
            ),
            Outcome.STALE if had.old else outcome,
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
