"""Owns the parts that pages are made of: a student's course files, and the days of each
subject; kept ones if possible, else from the platform.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Final

import msgspec

from ..cache import AnswerCache, Entry, Outcome, Served
from ..deadline import Clock, Deadline
from ..domain import SubjectDays, subject_keys
from ..errors import TokenRefused, UpstreamRejected
from ..pages import SUBJECT_ATTENDANCE
from ..primitives import utc_timestamp
from ..upstream import CourseFiles, pack_course_files, unpack_course_files
from ..web import Caller, Session
from .admission import PageAdmission
from .student_calls import StudentCalls

__all__ = ["FetchedFiles", "FetchedSubject", "StudentRecords"]

_COURSE_FILES: Final = "course-files"


class FetchedFiles(msgspec.Struct, frozen=True, gc=False):
    """Course files, fetched at ``made_at`` (monotonic seconds); ``old`` if they are no
    longer fresh.
    """

    files: CourseFiles
    made_at: float
    old: bool

    def cf_ids(self) -> list[int]:
        """The number of each course file once, even if the platform lists it twice."""
        return list(dict.fromkeys(course.cf_id for course in self.files.courses))

    def names(self) -> dict[int, str]:
        """The subject of each course file, as the pages name it."""
        courses = self.files.courses
        keys = subject_keys(courses)
        return {c.cf_id: key for c, key in zip(courses, keys, strict=True)}


class FetchedSubject(msgspec.Struct, array_like=True):
    """One subject as it is kept: when it was fetched (RFC 3339), and its days."""

    fetched_at: str
    days: SubjectDays


class StudentRecords:
    """One worker's parts of its students' pages.

    Each call is admitted, by itself or with others of its page.
    Old course files are used if new ones do not arrive within ``refresh_seconds``.
    ``clock`` gives monotonic seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        calls: StudentCalls,
        admission: PageAdmission,
        answer_cache: AnswerCache,
        *,
        refresh_seconds: float,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._calls = calls
        self._admission = admission
        self._cache = answer_cache
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._wall = wall

    def timestamp(self) -> str:
        """Now, in the form of ``cachedAt`` and ``fetchedAt`` (RFC 3339)."""
        return utc_timestamp(int(self._wall()))

    async def course_files(
        self,
        caller: Caller,
        deadline: Deadline,
        *,
        calls: int,
        fresh: bool = False,
    ) -> FetchedFiles:
        """The course files: one call, shared by every page. Old ones are returned if
        new ones cannot be had. So many ``calls`` are reserved meanwhile: this one and
        those that the page makes next, or none if the page has a reservation.
        """
        served = await self.packed_course_files(
            caller, deadline, fresh=fresh, old_at_once=False, calls=calls
        )
        return _fetched(served.entry, old=served.outcome is Outcome.STALE)

    async def packed_course_files(
        self,
        caller: Caller,
        deadline: Deadline,
        *,
        fresh: bool,
        old_at_once: bool,
        calls: int = 1,
    ) -> Served[bytes]:
        """As `course_files`, in the packed form that is kept (`unpack_course_files`).
        With ``old_at_once`` old ones are returned and refreshed in the background.
        """
        session = caller.session

        async def fill(within: Deadline) -> Entry[bytes]:
            with self._admission.reserve(caller, calls) if calls else nullcontext():
                files = await self._calls.course_files(caller, within)
            return self._cache.new_part(
                session, pack_course_files(files), complete=bool(files.courses)
            )

        waits = fresh or not old_at_once
        if waits and self._cache.find_part(_COURSE_FILES, session) is not None:
            # After this time the old ones are returned.
            patience = min(self._refresh_seconds, deadline.remaining())
            deadline = Deadline(patience, self._clock)
        return await self._cache.part(
            _COURSE_FILES, session, fill, deadline, fresh=fresh, old_at_once=old_at_once
        )

    def kept_course_files(self, session: Session) -> FetchedFiles | None:
        """The course files that a worker of this machine keeps, fresh or old."""
        entry = self._cache.find_part(_COURSE_FILES, session)
        if entry is None:
            return None
        return _fetched(entry, old=self._clock() >= entry.fresh_until)

    def newest_course_files(self, session: Session, old: FetchedFiles) -> FetchedFiles:
        """Newer course files, if some were kept since the ``old`` ones were taken; else
        the ``old`` ones.
        """
        kept = self.kept_course_files(session)
        return kept if kept is not None and kept.made_at > old.made_at else old

    async def subject(
        self,
        caller: Caller,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
        *,
        fresh: bool,
    ) -> tuple[Served[bytes], FetchedSubject]:
        """One subject, kept or from the platform: as served, and decoded. Raises
        :class:`UpstreamRejected` if the platform refuses this subject but not the
        token.
        """

        async def fill(within: Deadline) -> Entry[bytes]:
            with self._admission.reserve(caller, 1):
                try:
                    days = await self._calls.subject(caller, student_id, cf_id, within)
                except TokenRefused:
                    # Raises TokenRefused too if the platform refuses the token.
                    await self._calls.course_files(caller, within)
                    raise UpstreamRejected from None
            return self._packed(caller.session, days, self._clock())

        served = await self._cache.part(
            _subject(cf_id), caller.session, fill, deadline, fresh=fresh
        )
        return served, msgspec.json.decode(served.entry.value, type=FetchedSubject)

    def kept_subjects(
        self, session: Session, cf_ids: Iterable[int], *, fresh: bool
    ) -> tuple[dict[int, SubjectDays], float | None]:
        """The kept, fresh days by course file, and when the oldest of them were fetched
        (monotonic seconds); None if there are none.
        """
        names = {_subject(cf_id): cf_id for cf_id in cf_ids}
        kept = self._cache.get_fresh_parts(names, session, fresh=fresh)
        days = {
            names[name]: msgspec.json.decode(entry.value, type=FetchedSubject).days
            for name, entry in kept.items()
        }
        return days, min((entry.made_at for entry in kept.values()), default=None)

    def keep_subjects(
        self,
        session: Session,
        made_at: float,
        subjects: Mapping[int, SubjectDays],
    ) -> None:
        """Keep subjects that were asked for at ``made_at`` (monotonic seconds), so that
        the next request asks only for the others. The page neither waits for this nor
        fails with it: its time may be over.
        """
        for cf_id, days in subjects.items():
            entry = self._packed(session, days, made_at)
            self._cache.keep_part(_subject(cf_id), session, entry)

    def _packed(
        self, session: Session, days: SubjectDays, made_at: float
    ) -> Entry[bytes]:
        fetched_at = utc_timestamp(int(self._wall() - (self._clock() - made_at)))
        packed = msgspec.json.encode(FetchedSubject(fetched_at, days))
        return self._cache.new_part(session, packed, made_at=made_at)


def _fetched(entry: Entry[bytes], *, old: bool) -> FetchedFiles:
    return FetchedFiles(unpack_course_files(entry.value), entry.made_at, old)


def _subject(cf_id: int) -> str:
    return f"{SUBJECT_ATTENDANCE.resource}/{cf_id}"
