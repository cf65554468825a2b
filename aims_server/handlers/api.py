"""Handlers of the frontend's endpoints: the login and a student's pages."""

from typing import Final, TypeVar

import msgspec

from ..pages import LOGIN, Page
from ..web import (
    Caller,
    SubjectRequest,
    TokenRequest,
    bearer_token,
    checked_body_token,
    json_object,
    preferred_media,
    query_object,
    wants_fresh,
)
from .base import BaseHandler
from .context import HandlerContext
from .login import Login

__all__ = ["LoginHandler", "PageHandler", "SubjectHandler"]


Shape = TypeVar("Shape", bound=msgspec.Struct)

_SUBJECT_FIELDS: Final[tuple[str, ...]] = ("subject", "studentId", "cfId")


class LoginHandler(BaseHandler):
    """POST /api/login, if the fast path has declined it."""

    endpoint = LOGIN

    def initialize(self, context: HandlerContext) -> None:
        """Prepare the login: its client may leave before it is begun."""
        super().initialize(context)
        self._login = Login(context, self.exchange)

    async def post(self) -> None:
        """Answer as the platform does."""
        self.send(
            await self._login.answer(
                self.request.body, self.request.headers.get("Content-Type")
            )
        )

    def on_connection_close(self) -> None:
        """Stop waiting for the platform."""
        self._login.client_left()


class _StudentHandler(BaseHandler):
    """A page of one student, for the bearer of a token."""

    endpoint: Page

    def initialize(  # type: ignore[override]  # the route's arguments
        self, context: HandlerContext, page: Page
    ) -> None:
        """``page`` is the request's row in the table of pages."""
        self.endpoint = page
        super().initialize(context)

    @property
    def fresh(self) -> bool:
        """Whether the client refuses a kept answer."""
        return wants_fresh(self.request.headers.get("Cache-Control"))

    def bearer(self) -> Caller:
        """The caller, from the token in the ``Authorization`` header."""
        return self.exchange.admit(
            bearer_token(self.request.headers.get("Authorization"))
        )

    def body_as(self, shape: type[Shape]) -> Shape:
        """The request's body as an object of this shape."""
        content_type = self.request.headers.get("Content-Type")
        return json_object(self.request.body, content_type, shape)


class PageHandler(_StudentHandler):
    """A page without parameters."""

    async def get(self) -> None:
        """The page for the bearer of the token."""
        await self._answer(self.bearer())

    async def post(self) -> None:
        """The page for the token in the body."""
        token = self.body_as(TokenRequest).token
        await self._answer(self.exchange.admit(checked_body_token(token)))

    async def _answer(self, caller: Caller) -> None:
        await self.send_answer(
            await self.service.page(
                self.endpoint,
                caller,
                self.exchange.deadline,
                fresh=self.fresh,
                media=preferred_media(
                    self.request.headers.get("Accept"), self.endpoint.other_media
                ),
            )
        )


class SubjectHandler(_StudentHandler):
    """/api/subject-attendance: one subject, named in the query or in the body."""

    async def get(self) -> None:
        """One subject, named in the query."""
        caller = self.bearer()
        fields = {
            # Not `get_query_argument`, which has a blank for each control character.
            name: self.decode_argument(values[-1], name).strip()
            for name, values in self.request.query_arguments.items()
            if name in _SUBJECT_FIELDS
        }
        await self._answer(caller, query_object(fields, SubjectRequest))

    async def post(self) -> None:
        """One subject, named in the body."""
        request = self.body_as(SubjectRequest)
        await self._answer(
            self.exchange.admit(checked_body_token(request.token)), request
        )

    async def _answer(self, caller: Caller, request: SubjectRequest) -> None:
        student_id, cf_id = request.ids()
        await self.send_answer(
            await self.service.subject.page(
                caller,
                request.subject,
                student_id,
                cf_id,
                self.exchange.deadline,
                fresh=self.fresh,
            )
        )
