"""The page with every subject, day by day. It is gathered in two round trips; at its
deadline a request gets the subjects that have arrived.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from ..cache import AnswerCache, Entry, Outcome, Served, SharedLog
from ..deadline import Clock, Deadline
from ..domain import SubjectDays, all_attendance_page, encode_page
from ..errors import (
    ApiError,
    Overloaded,
    TokenRefused,
    UpstreamError,
    UpstreamTimeout,
    WrongStudent,
)
from ..pages import ALL_ATTENDANCE
from ..upstream import Reservation, UpstreamClient
from ..web import Answer, Caller, make_answer
from .admission import PageAdmission
from .following import SharedGatherings
from .gathering import Gathering, Gatherings
from .student_calls import StudentCalls, caller_key
from .student_records import FetchedFiles, StudentRecords

__all__ = ["AllAttendancePage"]

_RESOURCE: Final = ALL_ATTENDANCE.resource
_USUAL_CALLS: Final = 16
# An odd, long list of course files is not typical of the next student. If as many calls
# were reserved for every page, a slow platform would be asked for none.
_MOST_USUAL_CALLS: Final = 2 * _USUAL_CALLS


class AllAttendancePage:
    """Gathers the page for one worker's students.

    A gathering may take ``gather_seconds`` of the monotonic ``clock``. With a
    ``shared_log`` askers see what other workers of the machine gather for them.
    ``target_percent`` (1 to 100) is the required attendance.
    """

    def __init__(
        self,
        calls: StudentCalls,
        records: StudentRecords,
        admission: PageAdmission,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        *,
        gather_seconds: float,
        target_percent: int,
        shared_log: SharedLog | None,
        clock: Clock,
    ) -> None:
        self._calls = calls
        self._records = records
        self._admission = admission
        self._upstream = upstream
        self._cache = answer_cache
        self._gather_seconds = gather_seconds
        self._target = target_percent
        self._clock = clock
        self._usual_calls = _USUAL_CALLS  # then what the last page took, within bounds
        self._gatherings = Gatherings()
        self._shared = SharedGatherings(self._gatherings, shared_log)

    async def page(
        self, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> Served[Answer]:
        """The page (docs/contract.rst 2.2) with the subjects that have arrived by the
        deadline. If the platform has no room for its calls, the page is made of what is
        kept, or :class:`Overloaded` is raised if no course files are.

        Raises :class:`UpstreamTimeout`, with an estimate of when the page is ready, if
        the course files have not arrived by the deadline either.
        """
        session = caller.session
        key = session.resource_key(_RESOURCE)
        pending = True

        async def gather(within: Deadline) -> Entry[Answer]:
            nonlocal pending
            pending = False
            with (
                self._admission.reserve(caller, self._usual_calls) as reservation,
                self._gatherings.begin(key, self._clock()) as gathering,
                self._shared.published(session, key, gathering),
            ):
                return await self._gathered(
                    caller, within, fresh, gathering, reservation
                )

        with self._shared.followed(session, key):
            try:
                return await self._cache.answer(
                    _RESOURCE, session, gather, deadline, fresh=fresh
                )
            except UpstreamTimeout:
                return await self._partial_page(caller, pending=pending)
            except Overloaded:
                if self._records.kept_course_files(session) is None:
                    raise
                return await self._partial_page(caller, pending=pending)

    async def gathering(self, caller: Caller) -> Gathering:
        """What has arrived so far. Waits until this worker, or another one that it
        follows, gathers the page.
        """
        return await self._gatherings.begun(caller.session.resource_key(_RESOURCE))

    async def _gathered(
        self,
        caller: Caller,
        deadline: Deadline,
        fresh: bool,
        gathering: Gathering,
        reservation: Reservation,
    ) -> Entry[Answer]:
        """Gather course files and the days of every subject, in two round trips."""
        session = caller.session
        known = self._records.kept_course_files(session) is not None
        with self._upstream.expect_cards(self._usual_calls - 1):
            fetched = await self._records.course_files(
                caller, deadline, fresh=fresh, calls=0
            )
        if session.verified:
            reservation.verify()
        cf_ids = fetched.cf_ids()
        self._usual_calls = min(1 + len(cf_ids), _MOST_USUAL_CALLS)
        # Without kept course files no subject is kept: this saves fifteen look-ups.
        kept, oldest = (
            self._records.kept_subjects(session, cf_ids, fresh=fresh)
            if known
            else ({}, None)
        )
        gathering.begin(fetched, oldest)
        for cf_id, days in kept.items():
            gathering.add(cf_id, days)
        asked_at = self._clock()
        await self._add_missing(caller, fetched, deadline, gathering, reservation)
        if fetched.old:
            fetched = self._records.newest_course_files(session, fetched)
        complete = None not in map(gathering.parts.get, fetched.cf_ids())
        if fetched.old or not complete:
            # So that the next request asks only for what is old or missing.
            new = {
                cf_id: days
                for cf_id, days in gathering.parts.items()
                if days is not None and cf_id not in kept
            }
            self._records.keep_subjects(session, asked_at, new)
        return await self._entry(
            caller, fetched, gathering.parts, oldest, complete=complete
        )

    async def _add_missing(
        self,
        caller: Caller,
        fetched: FetchedFiles,
        deadline: Deadline,
        gathering: Gathering,
        reservation: Reservation,
    ) -> None:
        """Fetch the days of every missing subject and add them; None for a subject that
        cannot be fetched.

        Raises :class:`WrongStudent` if records of another student arrived and none of
        the asker's, and :class:`TokenRefused` if the platform refuses the token itself.
        """
        missing = [cf_id for cf_id in fetched.cf_ids() if cf_id not in gathering.parts]
        student_id = fetched.files.student_id
        if student_id is None:  # records cannot be asked for without it
            for cf_id in missing:
                gathering.add(cf_id, None)
            return

        async def add(cf_id: int) -> type[ApiError] | None:
            """Add one subject; the error if it could not be fetched."""
            days, fault = None, None
            try:
                days = await self._calls.subject(caller, student_id, cf_id, deadline)
            except (UpstreamError, TokenRefused) as error:
                fault = type(error)
            gathering.add(cf_id, days)
            return fault

        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(add(cf_id)) for cf_id in missing]
        try:
            await asyncio.sleep(0)  # each task's first step asks for its slot
            reservation.all_made(caller_key(caller))
            # `asyncio.gather` would take 2 us a call to report an error at once, and
            # `add` raises none.
            faults = {await task for task in tasks}
        finally:
            for task in tasks:
                task.cancel()  # those still running, if this is cancelled
        had = any(days and days.total_records for days in gathering.parts.values())
        if WrongStudent in faults and not had:
            raise WrongStudent
        if TokenRefused in faults and None not in faults:
            all_refused = len(faults) == 1 and len(missing) == len(gathering.parts) > 1
            await self._check_token(caller, deadline, all_refused=all_refused)

    async def _check_token(
        self, caller: Caller, deadline: Deadline, *, all_refused: bool
    ) -> None:
        """Raise :class:`TokenRefused` if the platform refuses the token, not only some
        subjects: all of several were refused, or the course files are refused too.
        """
        if all_refused:
            raise TokenRefused
        with suppress(UpstreamError):
            await self._calls.course_files(caller, deadline)

    async def _entry(
        self,
        caller: Caller,
        fetched: FetchedFiles,
        parts: Mapping[int, SubjectDays | None],
        made_at: float | None,
        *,
        complete: bool,
    ) -> Entry[Answer]:
        """An entry for the page made of the course files and the subjects' days."""
        days = {each.cf_id: parts.get(each.cf_id) for each in fetched.files.courses}
        notes = self._upstream.card_notes()
        page = all_attendance_page(
            fetched.files,
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
            made_at=fetched.made_at if fetched.old else made_at,
            old=fetched.old,
            # Incomplete, so kept for a few seconds only: a call was not answered, or
            # the list has no course. Any other answer of the platform is complete.
            complete=complete and bool(fetched.files.courses),
        )

    async def _partial_page(self, caller: Caller, *, pending: bool) -> Served[Answer]:
        """The page made of what has arrived so far, or of what is kept. It is not kept
        itself, so the next asker waits for the whole page; a gathering goes on.

        Raises :class:`UpstreamTimeout` if there are no course files.
        """
        session = caller.session
        key = session.resource_key(_RESOURCE)
        gathering = self._gatherings.get(key)
        parts: Mapping[int, SubjectDays | None]
        if gathering is not None and gathering.head is not None:
            fetched, parts = gathering.head, gathering.parts
            made_at = gathering.oldest
        elif (kept := self._records.kept_course_files(session)) is not None:
            fetched = kept
            parts, made_at = self._records.kept_subjects(
                session, fetched.cf_ids(), fresh=False
            )
        else:
            raise self._too_late(key)
        entry = await self._entry(caller, fetched, parts, made_at, complete=False)
        outcome = Outcome.PENDING if pending else Outcome.MISS
        return Served(
            msgspec.structs.replace(
                entry, fresh_until=entry.made_at, servable_until=entry.made_at
            ),
            Outcome.STALE if fetched.old else outcome,
        )

    def _too_late(self, key: bytes) -> UpstreamTimeout:
        """The error at an asker's deadline; estimates when the page is ready."""
        gathering = self._gatherings.get(key)
        if gathering is None:
            return self._admission.too_late()
        now = self._clock()
        left = gathering.began_at + self._gather_seconds - now
        estimate = gathering.seconds_left(now)
        return UpstreamTimeout(retry_after=max(0.0, min(estimate, left)))
