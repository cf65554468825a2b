"""The page of one subject, made of its kept days or of the platform's records."""

from typing import Final

import msgspec

from ..cache import Served
from ..deadline import Deadline
from ..domain import subject_attendance_page
from ..errors import Forbidden, NotFound, UpstreamTimeout
from ..web import Answer, Caller, make_answer
from .admission import PageAdmission
from .student_records import FetchedFiles, StudentRecords

__all__ = ["SubjectPage"]

_CALLS: Final = 2  # course files, and the records of one


class SubjectPage:
    """Answers about one subject. Its days are kept without the name, which the request
    chooses.
    """

    def __init__(self, records: StudentRecords, admission: PageAdmission) -> None:
        self._records = records
        self._admission = admission

    async def page(
        self,
        caller: Caller,
        subject: str,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
        *,
        fresh: bool,
    ) -> Served[Answer]:
        """One subject, day by day (docs/contract.rst 2.3), under the name ``subject``.

        Raises :class:`Forbidden` for any other student than the token's own, and
        :class:`NotFound` for a course file that is not the student's.
        """
        session = caller.session
        if session.student_id not in (None, student_id):
            raise Forbidden
        try:
            fetched = await self._course_files(caller, cf_id, deadline)
            if student_id != fetched.files.student_id:
                raise Forbidden
            if cf_id not in fetched.cf_ids():
                raise NotFound("This course is not among the student's.")
            served, kept = await self._records.subject(
                caller, student_id, cf_id, deadline, fresh=fresh
            )
        except UpstreamTimeout:
            raise self._admission.too_late() from None
        page = subject_attendance_page(
            subject, student_id, cf_id, kept.days, kept.fetched_at
        )
        body = msgspec.json.encode(page)
        return served.with_value(
            await make_answer(body, f'"fetchedAt":"{kept.fetched_at}"')
        )

    async def _course_files(
        self, caller: Caller, cf_id: int, deadline: Deadline
    ) -> FetchedFiles:
        """The kept course files, even old ones: pages that show them ask for newer
        ones. New ones if none are kept, or if old ones lack this course: it may be new.
        """
        kept = self._records.kept_course_files(caller.session)
        if kept is not None:
            has_course = kept.files.student_id is not None and cf_id in kept.cf_ids()
            if has_course or not kept.old:
                return kept
        return await self._records.course_files(caller, deadline, calls=_CALLS)
