"""The page with every subject, day by day: gathered in two round trips, and given as it
stands at the request's deadline.
"""

import asyncio
import time
from typing import Final

import msgspec

from ..cache import AnswerCache, Entry, Outcome, Served, SharedLog
from ..deadline import Clock, Deadline
from ..domain import all_attendance_page, encode_page
from ..errors import TokenRefused, UpstreamError, UpstreamTimeout, WrongStudent
from ..pages import ALL_ATTENDANCE
from ..upstream import Reservation, UpstreamClient
from ..web import Answer, Caller, make_answer
from .admission import PageAdmission
from .following import SharedGatherings, SubjectsGathering, SubjectsGatherings
from .records import HadFiles, StudentRecords

__all__ = ["AllAttendancePage"]

_RESOURCE: Final = ALL_ATTENDANCE.resource
_USUAL_CALLS: Final = 16


class AllAttendancePage:
    """Gathers the page for one worker's students. With a ``shared_log`` its askers see
    what other workers gather for them; ``target_percent`` is the attendance to be
    reached.
    """

    def __init__(
        self,
        records: StudentRecords,
        admission: PageAdmission,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        *,
        gather_seconds: float,
        target_percent: int,
        shared_log: SharedLog | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._records = records
        self._admission = admission
        self._upstream = upstream
        self._cache = answer_cache
        self._gather_seconds = gather_seconds
        self._target = target_percent
        self._clock = clock
        self._usual_calls = _USUAL_CALLS  # as many as the last page took
        self._gatherings = SubjectsGatherings()
        self._shared = SharedGatherings(self._gatherings, shared_log)

    async def page(
        self, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> Served[Answer]:
        """The page (docs/contract.rst 2.2), or what of it has been had by the deadline.

        Raises :class:`UpstreamTimeout` if that is nothing, with an estimate of when
        there is more.
        """
        session = caller.session
        key = session.resource_key(_RESOURCE)
        pending = True

        async def gather(within: Deadline) -> Entry[Answer]:
            nonlocal pending
            pending = False
            with (
                self._admission.at_once(caller, self._usual_calls) as reservation,
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
                return await self._as_it_stands(caller, pending=pending)

    async def gathering(self, caller: Caller) -> SubjectsGathering:
        """What has arrived so far, as soon as it is gathered by this worker, or by one
        that this one follows.
        """
        return await self._gatherings.begun(caller.session.resource_key(_RESOURCE))

    async def _gathered(
        self,
        caller: Caller,
        deadline: Deadline,
        fresh: bool,
        gathering: SubjectsGathering,
        reservation: Reservation,
    ) -> Entry[Answer]:
        """Every subject, day by day, in two round trips."""
        session = caller.session
        known = self._records.course_files_at_hand(session, self._clock()) is not None
        with self._upstream.expect_cards():
            had = await self._records.course_files(caller, deadline, fresh=fresh)
        if session.verified:
            reservation.verify()
        cf_ids = had.cf_ids()
        self._usual_calls = 1 + len(cf_ids)
        gathering.begin(had, len(cf_ids))
        # Of a student without course files no subject is kept: one look, not fifteen.
        kept = (
            self._records.subjects_at_hand(session, cf_ids, fresh=fresh)
            if known
            else {}
        )
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
        return await self._made_of(
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
        student_id = had.files.student_id
        if student_id is None:  # records cannot be asked for without it
            for cf_id in missing:
                gathering.add(cf_id, None)
            return

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

    async def _made_of(
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
        page = all_attendance_page(
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

    async def _as_it_stands(self, caller: Caller, *, pending: bool) -> Served[Answer]:
        """The page at its asker's deadline: what is there, while the rest is gathered
        on. It is not kept, so that the next asker waits for the whole one.

        Raises :class:`UpstreamTimeout` if not even the course files are there.
        """
        session = caller.session
        key = session.resource_key(_RESOURCE)
        gathering = self._gatherings.get(key)
        had = None if gathering is None else gathering.head
        if had is None:
            had = self._records.course_files_at_hand(session, self._clock())
        if had is None:
            raise self._too_late(key)
        entry = await self._made_of(caller, had, gathering)
        outcome = Outcome.PENDING if pending else Outcome.MISS
        return Served(
            msgspec.structs.replace(
                entry, fresh_until=entry.made_at, servable_until=entry.made_at
            ),
            Outcome.STALE if had.old else outcome,
        )

    def _too_late(self, key: bytes) -> UpstreamTimeout:
        """The error for an asker whose deadline has passed, with an estimate of when
        the answer is there.
        """
        gathering = self._gatherings.get(key)
        if gathering is None:
            return UpstreamTimeout()
        now = self._clock()
        left = gathering.began_at + self._gather_seconds - now
        estimate = gathering.seconds_left(now, trips=2)
        return UpstreamTimeout(retry_after=max(0.0, min(estimate, left)))
