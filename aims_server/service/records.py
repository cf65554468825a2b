"""What the platform tells of a student, asked for or kept: course files, the days of a
subject, quizzes and the timetable; and whether it is told of the right one.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from ..cache import AnswerCache, Entry, Outcome, Served
from ..deadline import Clock, Deadline
from ..domain import SubjectDays, count_days, subject_keys
from ..errors import TokenRefused, UpstreamRejected, WrongStudent
from ..pages import SUBJECT_ATTENDANCE
from ..primitives import finish, utc_timestamp
from ..upstream import (
    CallerKey,
    CourseFiles,
    Quizzes,
    Schedule,
    UpstreamClient,
    pack_course_files,
    unpack_course_files,
)
from ..web import Caller, Session

__all__ = [
    "Admit",
    "HadFiles",
    "HadSubject",
    "StudentRecords",
    "caller_key",
]

_log = logging.getLogger(__name__)

Admit = Callable[[], AbstractContextManager[object]]

_COURSE_FILES: Final = "course-files"
# So many take a tenth of a millisecond; sixteen such lists may come in one turn.
_MANY_RECORDS: Final = 250


class HadFiles(NamedTuple):
    """Course files and when they were had; ``old`` ones should have been newer."""

    files: CourseFiles
    made_at: float
    old: bool

    def cf_ids(self) -> list[int]:
        """Each course file once, though a platform may list it twice."""
        return list(dict.fromkeys(course.cf_id for course in self.files.courses))

    def names(self) -> dict[int, str]:
        """What each course file's subject is called in the pages."""
        courses = self.files.courses
        keys = subject_keys(courses)
        return {c.cf_id: key for c, key in zip(courses, keys, strict=True)}


class HadSubject(msgspec.Struct, array_like=True):
    """One subject as it is kept: when it was had, and its counted days."""

    fetched_at: str
    days: SubjectDays


class StudentRecords:
    """One worker's access to students' records.

    ``on_wrong_student`` is called with the endpoint whenever the platform's answer
    names another student than the asker, who then gets nothing.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        answer_cache: AnswerCache,
        *,
        refresh_seconds: float,
        on_wrong_student: Callable[[str], object] = bool,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._upstream = upstream
        self._cache = answer_cache
        self._on_wrong_student = on_wrong_student
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._wall = wall

    def timestamp(self) -> str:
        """Now, as answers tell it."""
        return utc_timestamp(int(self._wall()))

    def confirm(self, session: Session, endpoint: str, **named: Any) -> None:
        """Compare whom an answer names with the asker (see :meth:`Session.confirm`)."""
        try:
            session.confirm(**named)
        except WrongStudent:
            _log.error(
                "The platform answered %s for another student: nothing of it is served"
                " or kept",
                endpoint,
            )
            self._on_wrong_student(endpoint)
            raise

    async def course_files(
        self,
        caller: Caller,
        deadline: Deadline,
        *,
        fresh: bool,
        admit: Admit = nullcontext,
    ) -> HadFiles:
        """The course files: one call, shared by every page. Kept ones that are past
        their time will do only if no others can be had. A call is made within
        ``admit``, which may raise.
        """
        served = await self.packed_course_files(
            caller, deadline, fresh=fresh, admit=admit, old_at_once=False
        )
        return _had(served.entry, old=served.outcome is Outcome.STALE)

    async def packed_course_files(
        self,
        caller: Caller,
        deadline: Deadline,
        *,
        fresh: bool,
        admit: Admit,
        old_at_once: bool,
    ) -> Served[bytes]:
        """The same as they are kept; with ``old_at_once`` those that are past their
        time will do while others are asked for.
        """
        session = caller.session

        async def fill(within: Deadline) -> Entry[bytes]:
            with admit():
                files = await self._ask_course_files(caller, within)
            if files.student_id is None:  # the platform does not say whose they are
                files = replace(files, student_id=session.student_id)
            return self._cache.new_part(
                session, pack_course_files(files), complete=bool(files.courses)
            )

        waits = fresh or not old_at_once
        if waits and self._cache.find_part(_COURSE_FILES, session) is not None:
            # Old ones will do if newer ones do not come soon.
            patience = min(self._refresh_seconds, deadline.remaining())
            deadline = Deadline(patience, self._clock)
        return await self._cache.part(
            _COURSE_FILES, session, fill, deadline, fresh=fresh, old_at_once=old_at_once
        )

    def course_files_at_hand(self, session: Session, now: float) -> HadFiles | None:
        """Those that are kept by any worker, old or not."""
        entry = self._cache.find_part(_COURSE_FILES, session)
        return None if entry is None else _had(entry, old=now >= entry.fresh_until)

    async def subject(
        self, caller: Caller, student_id: int, cf_id: int, deadline: Deadline
    ) -> SubjectDays:
        """The days of one subject, from the platform."""
        notes = self._upstream.card_notes()
        had = await self._upstream.cards(
            caller.token,
            caller_key(caller),
            student_id,
            cf_id,
            deadline,
            lambda named: self.confirm(
                caller.session, "cards", student_id=named.student_id
            ),
            notes,
        )
        counting = count_days(had.cards, notes, complete=had.complete)
        if len(had.cards) < _MANY_RECORDS:
            days = finish(counting)
        else:
            days = await self._upstream.executor.run_steps(counting)
        notes.report()
        return days

    async def kept_subject(
        self,
        caller: Caller,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
        *,
        fresh: bool,
        admit: Admit,
    ) -> tuple[Served[bytes], HadSubject]:
        """The same, kept or from the platform, with how it was come by; for ``admit``
        see :meth:`course_files`. Raises :class:`UpstreamRejected` where this subject
        alone is refused.
        """

        async def fill(within: Deadline) -> Entry[bytes]:
            with admit():
                try:
                    days = await self.subject(caller, student_id, cf_id, within)
                except TokenRefused:
                    # Of one subject, unless the list of them is refused as well.
                    await self._ask_course_files(caller, within)
                    raise UpstreamRejected from None
            return self._packed(caller.session, days)

        served = await self._cache.part(
            _subject(cf_id), caller.session, fill, deadline, fresh=fresh
        )
        return served, msgspec.json.decode(served.entry.value, type=HadSubject)

    def subjects_at_hand(
        self, session: Session, cf_ids: Iterable[int], *, fresh: bool
    ) -> dict[int, tuple[SubjectDays, float]]:
        """Those that are kept, by course file, with when they were had."""
        names = {_subject(cf_id): cf_id for cf_id in cf_ids}
        kept = self._cache.get_fresh_parts(names, session, fresh=fresh)
        return {
            names[name]: (
                msgspec.json.decode(entry.value, type=HadSubject).days,
                entry.made_at,
            )
            for name, entry in kept.items()
        }

    async def keep_subjects(
        self, session: Session, subjects: Mapping[int, SubjectDays], deadline: Deadline
    ) -> None:
        """Keep what was had, so that the next request asks for the others only."""
        for cf_id, days in subjects.items():
            entry = self._packed(session, days)

            async def fill(_: Deadline, entry: Entry[bytes] = entry) -> Entry[bytes]:
                return entry

            await self._cache.part(
                _subject(cf_id), session, fill, deadline, fresh=False
            )

    async def quizzes(self, caller: Caller, deadline: Deadline) -> Quizzes:
        """The evaluated quizzes, from the platform."""
        return await self._upstream.quizzes(
            caller.token,
            caller_key(caller),
            deadline,
            lambda named: self.confirm(
                caller.session,
                "quizzes",
                student_id=named.student_id,
                admission_number=named.admission_number,
            ),
        )

    async def schedule(self, caller: Caller, deadline: Deadline) -> Schedule:
        """The month's table, from the platform; it names nobody."""
        return await self._upstream.schedule(caller.token, caller_key(caller), deadline)

    async def _ask_course_files(
        self, caller: Caller, deadline: Deadline
    ) -> CourseFiles:
        session = caller.session
        return await self._upstream.course_files(
            caller.token,
            caller_key(caller),
            deadline,
            lambda named: self.confirm(
                session, "course_files", student_id=named.student_id
            ),
        )

    def _packed(self, session: Session, days: SubjectDays) -> Entry[bytes]:
        packed = msgspec.json.encode(HadSubject(self.timestamp(), days))
        return self._cache.new_part(session, packed)


def caller_key(caller: Caller) -> CallerKey:
    """What the platform's side knows the caller by, as things stand now."""
    student_id = caller.session.verified_student
    if student_id is not None:
        return CallerKey.student(student_id)
    return CallerKey.address(caller.address)


def _had(entry: Entry[bytes], *, old: bool) -> HadFiles:
    return HadFiles(unpack_course_files(entry.value), entry.made_at, old)


def _subject(cf_id: int) -> str:
    return f"{SUBJECT_ATTENDANCE.resource}/{cf_id}"
