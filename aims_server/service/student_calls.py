"""Fetches a student's data from the platform, and checks that an answer names the
student who asked.
"""

import logging
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ..deadline import Deadline
from ..domain import RECORDS_A_STEP, SubjectDays, count_days
from ..errors import WrongStudent
from ..primitives import SerialExecutor, finish
from ..upstream import CallerKey, CourseFiles, Quizzes, Schedule, UpstreamClient
from ..web import Caller, Session

__all__ = ["StudentCalls", "caller_key"]

_log = logging.getLogger(__name__)


class StudentCalls:
    """One worker's calls for students. Each raises what :class:`UpstreamClient` raises,
    or :class:`WrongStudent`: then nothing of the answer is served or kept.

    ``on_wrong_student`` is called with the endpoint of such an answer. ``executor``
    counts long lists of records in steps.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        executor: SerialExecutor,
        on_wrong_student: Callable[[str], object],
    ) -> None:
        self._upstream = upstream
        self._executor = executor
        self._on_wrong_student = on_wrong_student

    def confirm(self, session: Session, endpoint: str, **named: Any) -> None:
        """Check that an answer names the asker (see :meth:`Session.confirm`)."""
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

    async def course_files(self, caller: Caller, deadline: Deadline) -> CourseFiles:
        """The course files; if they name no student, they are the asker's."""
        session = caller.session
        files = await self._upstream.course_files(
            caller.token,
            caller_key(caller),
            deadline,
            lambda named: self.confirm(
                session, "course_files", student_id=named.student_id
            ),
        )
        if files.student_id is None:
            files = replace(files, student_id=session.student_id)
        return files

    async def subject(
        self, caller: Caller, student_id: int, cf_id: int, deadline: Deadline
    ) -> SubjectDays:
        """The days of one subject, counted from its records."""
        sent = await self._upstream.cards(
            caller.token,
            caller_key(caller),
            student_id,
            cf_id,
            deadline,
            lambda named: self.confirm(
                caller.session, "cards", student_id=named.student_id
            ),
        )
        notes = self._upstream.card_notes()
        counting = count_days(sent.cards, notes, complete=sent.complete)
        if len(sent.cards) <= RECORDS_A_STEP:
            days = finish(counting)  # quick, even if sixteen such lists arrive at once
        else:
            days = await self._executor.run_steps(counting)
        notes.report()
        return days

    async def quizzes(self, caller: Caller, deadline: Deadline) -> Quizzes:
        """The evaluated quizzes."""
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
        """The month's table, which names no student."""
        return await self._upstream.schedule(caller.token, caller_key(caller), deadline)


def caller_key(caller: Caller) -> CallerKey:
    """The caller for whom `upstream` counts a call: the verified student, else the
    client address.
    """
    student_id = caller.session.verified_student
    if student_id is not None:
        return CallerKey.student(student_id)
    return CallerKey.address(caller.address)
