"""The platform as typed calls: what is asked, how its answers are read, and which of
our errors stands for each thing that can go wrong (facts: docs/platform.rst).
"""

from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from ..deadline import Deadline
from ..errors import (
    TokenRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamUnavailable,
)
from ..text import whole_number
from ..web import is_token
from . import models
from .resilience import ResiliencePolicy
from .serial_executor import SerialExecutor
from .transport import Reply, Transport

__all__ = ["LoginAnswer", "UpstreamClient"]

_LONGEST_PAUSE: Final = 120.0  # seconds; a longer Retry-After is not believed
_DEFAULT_PAUSE: Final = 1.0  # seconds, for a 429 that names no time

_LARGE_BODY: Final = 128 * 1024  # bytes, for which decoding takes half a millisecond

Decoded = TypeVar("Decoded")


class LoginAnswer(msgspec.Struct, frozen=True):
    """The platform's answer to a login, to be passed on: status, its own JSON bytes,
    and the token when there is one that we can serve.
    """

    status: int
    body: bytes
    token: str | None


class UpstreamClient:
    """Calls to one platform at ``base_url``.

    Every call takes a deadline that covers its wait for a slot, every try, and the
    decoding. Raises the upstream half of :mod:`aims_server.errors`.
    """

    def __init__(
        self, transport: Transport, guard: ResiliencePolicy, base_url: str, origin: str
    ) -> None:
        self._transport = transport
        self._guard = guard
        self._base = base_url
        self._turns = SerialExecutor()
        self._login_headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            # Since early 2025 the platform takes logins from its own portal only.
            "Origin": origin,
            "Referer": f"{origin}/",
        }

    @property
    def state(self) -> str:
        """The circuit breaker's state: "closed", "open" or "half-open"."""
        return self._guard.state

    async def close(self) -> None:
        """Give up the calls under way, and the connections."""
        await self._guard.close()
        self._transport.close()

    async def log_in(
        self, username: str, password: str, deadline: Deadline
    ) -> LoginAnswer:
        """POST /admin/authenticate, once: a login is never repeated."""
        form = urlencode({"username": username, "password": password}).encode()

        async def attempt(seconds: float) -> LoginAnswer:
            reply = await self._transport.fetch(
                "POST",
                f"{self._base}/admin/authenticate",
                headers=self._login_headers,
                body=form,
                seconds=seconds,
            )
            return _login_answer(reply)

        return await self._guard.call("login", attempt, deadline, repeatable=False)

    async def course_files(self, token: str, deadline: Deadline) -> models.CourseFiles:
        """GET /custom/getCFMappedWithStudentID with the attendance summary."""
        return await self._get(
            "course_files",
            "/custom/getCFMappedWithStudentID?embed_attendance_summary=1",
            token,
            models.decode_course_files,
            deadline,
        )

    async def cards(
        self, token: str, student_id: int, cf_id: int, deadline: Deadline
    ) -> tuple[models.Card, ...]:
        """GET /cards: the attendance records of one student in one course file."""
        return await self._get(
            "cards",
            "/cards?type=Attendance&sort_by=%2Bdatetime1"
            f"&equalto___fk_student={student_id}&equalto___cf_id={cf_id}",
            token,
            models.decode_cards,
            deadline,
        )

    async def quizzes(self, token: str, deadline: Deadline) -> bytes:
        """GET /custom/myEvaluatedQuizzes: checked, and passed on unchanged."""
        return await self._get(
            "quizzes", "/custom/myEvaluatedQuizzes", token, _checked_quizzes, deadline
        )

    async def _get(
        self,
        endpoint: str,
        path: str,
        token: str,
        decode: Callable[[bytes], Decoded],
        deadline: Deadline,
    ) -> Decoded:
        # The header works for /cards too; clients that put the token into the query
        # there leave it in every log and proxy on the way.
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        url = self._base + path

        async def attempt(seconds: float) -> Decoded:
            reply = await self._transport.fetch(
                "GET", url, headers=headers, seconds=seconds
            )
            _check_status(reply)
            try:
                if len(reply.body) < _LARGE_BODY:
                    return decode(reply.body)
                return await self._turns.run(lambda: decode(reply.body))
            except models.BadShape as fault:
                if models.refuses_token(reply.body):
                    raise TokenRefused from None
                raise UpstreamError from fault

        return await self._guard.call(endpoint, attempt, deadline)


def _checked_quizzes(body: bytes) -> bytes:
    models.check_quizzes(body)
    return body


def _check_status(reply: Reply) -> None:
    """Raise unless the reply is a 2xx."""
    status = reply.status
    if 200 <= status < 300:
        return
    if status in (401, 403) or (status == 400 and models.refuses_token(reply.body)):
        raise TokenRefused
    _check_health(reply)
    if 400 <= status < 500:
        raise UpstreamRejected
    raise UpstreamError  # a redirect, or something that is no final status


def _check_health(reply: Reply) -> None:
    """Raise for statuses that speak of the platform rather than of the request."""
    if reply.status == 429:
        raise UpstreamUnavailable(retry_after=_pause(reply) or _DEFAULT_PAUSE)
    if reply.status == 503:
        raise UpstreamBusy(retry_after=_pause(reply))
    if reply.status >= 500:
        raise UpstreamFault


def _pause(reply: Reply) -> float | None:
    """The seconds of ``Retry-After``; its date form is not known from the platform."""
    seconds = whole_number((reply.retry_after or "").strip(), digits=100)
    return None if seconds is None else min(float(seconds), _LONGEST_PAUSE)


def _login_answer(reply: Reply) -> LoginAnswer:
    _check_health(reply)
    if reply.status // 100 not in (2, 4):
        raise UpstreamError
    try:
        token = models.login_token(reply.body)
    except models.BadShape as fault:
        raise UpstreamError from fault
    if reply.status >= 400:
        return LoginAnswer(reply.status, reply.body, None)
    if token is None:
        return LoginAnswer(401, reply.body, None)
    return LoginAnswer(200, reply.body, token if is_token(token) else None)
