"""The page with a summary per course, made of the course files alone."""

from functools import partial

import msgspec

from ..cache import AnswerCache, Served
from ..deadline import Deadline
from ..domain.attendance import attendance
from ..errors import UpstreamTimeout
from ..pages import ATTENDANCE
from ..upstream import unpack_course_files
from ..web import Answer, Caller, make_answer
from .admission import PageAdmission
from .records import StudentRecords

__all__ = ["SummaryPage"]


class SummaryPage:
    """Its requests wait for the course files, together with those of other pages;
    ``target_percent`` is the attendance to be reached.
    """

    def __init__(
        self,
        records: StudentRecords,
        admission: PageAdmission,
        answer_cache: AnswerCache,
        target_percent: int,
    ) -> None:
        self._records = records
        self._admission = admission
        self._cache = answer_cache
        self._target = target_percent

    async def page(
        self, caller: Caller, deadline: Deadline, *, fresh: bool
    ) -> Served[Answer]:
        """The summary (docs/contract.rst 2.1)."""
        files = self._records.packed_course_files(
            caller,
            deadline,
            fresh=fresh,
            admit=partial(self._admission.at_once, caller, 1),
            old_at_once=True,
        )
        try:
            return await self._cache.derived(
                ATTENDANCE.resource, caller.session, files, self._make
            )
        except UpstreamTimeout:
            raise self._admission.too_late() from None

    async def _make(self, packed: bytes) -> Answer:
        page = attendance(unpack_course_files(packed), self._target)
        return await make_answer(msgspec.json.encode(page))
