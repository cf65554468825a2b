"""The frontend's endpoints: log in, and the three pages of a student."""

import asyncio
import time
from typing import ClassVar, Final

from ..upstream import LoginAnswer
from ..web import (
    Caller,
    LoginRequest,
    SubjectRequest,
    TokenRequest,
    bearer_token,
    checked_body_token,
    form_object,
    json_object,
    query_object,
    wants_fresh,
)
from .base import BaseHandler

__all__ = [
    "AllAttendanceHandler",
    "AttendanceHandler",
    "LoginHandler",
    "QuizHandler",
    "SubjectAttendanceHandler",
]


_SUBJECT_FIELDS: Final[tuple[str, ...]] = ("subject", "studentId", "cfId")


class _StudentHandler(BaseHandler):
    """A page of one student, for whoever holds the student's token."""

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def caller(self) -> Caller:
        """The bearer of the request's token."""
        return self.admitted(bearer_token(self.request.headers.get("Authorization")))

    @property
    def fresh(self) -> bool:
        """Whether the client will not take a kept answer."""
        return wants_fresh(self.request.headers.get("Cache-Control"))


class LoginHandler(BaseHandler):
    """POST /api/login."""

    route = "login"
    methods = ("POST",)
    _call: "asyncio.Future[LoginAnswer] | None" = None

    async def post(self) -> None:
        """Pass a login on to the platform, and its answer back."""
        request = form_object(
            self.request.body, self.request.headers.get("Content-Type"), LoginRequest
        )
        self.quota = self.context.limits.by_user_name(request.username)
        self.quota.check()
        began = time.monotonic()
        self._call = asyncio.ensure_future(
            self.service.log_in(
                request.username, request.password, self.address, self.deadline
            )
        )
        await asyncio.wait({self._call})
        if self._call.cancelled():
            self.set_status(499, "Client Closed Request")  # nginx's, for the log only
            return
        answer = self._call.result()
        self.upstream_seconds = time.monotonic() - began
        self.send_json(answer.status, answer.body)
        if answer.token is not None:
            self.service.prefetch(
                self.context.sessions.caller(answer.token, self.address)
            )

    def on_connection_close(self) -> None:
        """Leave the line: nobody else waits for this answer, unlike for a page."""
        if self._call is not None:
            self._call.cancel()


class AttendanceHandler(_StudentHandler):
    """GET and POST /api/attendance."""

    route = "attendance"
    methods = ("GET", "POST")

    async def get(self) -> None:
        """The summary for the bearer."""
        await self._answer(self.caller())

    async def post(self) -> None:
        """The summary for the token in the body."""
        request = json_object(
            self.request.body, self.request.headers.get("Content-Type"), TokenRequest
        )
        await self._answer(self.admitted(checked_body_token(request.token)))

    async def _answer(self, caller: Caller) -> None:
        began = time.monotonic()
        self.send_answer(
            await self.service.attendance(caller, self.deadline, fresh=self.fresh),
            began,
        )


class AllAttendanceHandler(_StudentHandler):
    """GET /api/all-attendance."""

    route = "all-attendance"

    async def get(self) -> None:
        """Every subject, day by day."""
        began = time.monotonic()
        caller = self.caller()
        self.send_answer(
            await self.service.all_attendance(caller, self.deadline, fresh=self.fresh),
            began,
        )


class SubjectAttendanceHandler(_StudentHandler):
    """GET and POST /api/subject-attendance."""

    route = "subject-attendance"
    methods = ("GET", "POST")

    async def get(self) -> None:
        """One subject, named in the query."""
        caller = self.caller()
        fields = {
            name: self.get_query_argument(name)
            for name in _SUBJECT_FIELDS
            if name in self.request.query_arguments
        }
        await self._answer(caller, query_object(fields, SubjectRequest))

    async def post(self) -> None:
        """One subject, named in the body."""
        request = json_object(
            self.request.body, self.request.headers.get("Content-Type"), SubjectRequest
        )
        await self._answer(self.admitted(checked_body_token(request.token)), request)

    async def _answer(self, caller: Caller, request: SubjectRequest) -> None:
        student_id, cf_id = request.ids()
        began = time.monotonic()
        self.send_answer(
            await self.service.subject_attendance(
                caller,
                request.subject.strip(),
                student_id,
                cf_id,
                self.deadline,
                fresh=self.fresh,
            ),
            began,
        )


class QuizHandler(_StudentHandler):
    """GET /api/quiz."""

    route = "quiz"

    async def get(self) -> None:
        """The platform's evaluated quizzes, unchanged."""
        began = time.monotonic()
        caller = self.caller()
        self.send_answer(
            await self.service.quiz(caller, self.deadline, fresh=self.fresh), began
        )
