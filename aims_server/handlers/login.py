"""A login: its checks, its call to the platform and its answer, for the handler and the
fast path.
"""

import asyncio
import time
from typing import Final

from ..errors import LoginRefused
from ..upstream import LoginAnswer
from ..web import (
    CLIENT_CLOSED,
    LoginRequest,
    Response,
    address_key,
    error_response,
    form_object,
    json_response,
)
from .context import HandlerContext
from .exchange import Exchange

__all__ = ["Login"]

# Only for the log: the client has left, or has at least closed its sending side.
_LEFT: Final = json_response(CLIENT_CLOSED, b"")


class Login:
    """One request's login; `answer` may be awaited once."""

    __slots__ = ("_call", "_context", "_exchange", "_left")

    def __init__(self, context: HandlerContext, exchange: Exchange) -> None:
        self._context = context
        self._exchange = exchange
        self._call: asyncio.Timeout | None = None
        self._left = False

    async def answer(self, body: bytes, content_type: str | None) -> Response:
        """Pass the login to the platform and its answer back; begin the prefetch.

        Raises :class:`ApiError` for a body that is no login, for too many logins, and
        if the platform did not answer.
        """
        request = form_object(body, content_type, LoginRequest)
        if self._left:
            return _LEFT
        context, exchange = self._context, self._exchange
        client = address_key(exchange.address)
        try:
            async with asyncio.timeout(None) as self._call:
                answer = await self._made(request, client)
        except TimeoutError:
            return _LEFT
        finally:
            self._call = None
        if answer.status != 200:
            return self._refused(answer)
        if answer.token is not None:
            context.service.logged_in(
                context.sessions.caller(answer.token, client), answer
            )
        return json_response(answer.status, answer.body)

    def client_left(self) -> None:
        """Stop waiting, or do not begin: unlike for a page, nobody else waits for this
        answer. A call that has been sent already runs to its end.
        """
        self._left = True
        call, self._call = self._call, None  # a second time changes nothing
        if call is not None:
            call.reschedule(asyncio.get_running_loop().time())

    async def _made(self, request: LoginRequest, client: str) -> LoginAnswer:
        """The platform's answer, once the login is within its limits."""
        context, exchange = self._context, self._exchange
        user_name = request.user_name()
        exchange.quota = await context.limits.by_login(
            user_name, exchange.address, exchange.deadline
        )
        exchange.quota.check()
        began, refused = time.monotonic(), False
        try:
            answer = await context.service.log_in(
                user_name, request.password, client, exchange.deadline
            )
            refused = answer.status != 200
        finally:
            exchange.upstream_seconds = time.monotonic() - began
            context.limits.login_ended(exchange.address, refused=refused)
        return answer

    def _refused(self, answer: LoginAnswer) -> Response:
        """The platform's own fields with ours beside them."""
        refusal = LoginRefused(answer.text, status=answer.status)
        self._exchange.error_code = refusal.code
        return error_response(refusal, self._exchange.request_id, beside=answer.body)
