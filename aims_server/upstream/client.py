"""The platform as typed calls: what is asked, how its answers are read, and which of
our errors stands for each thing that can go wrong (facts: docs/platform.rst).
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from ..deadline import Deadline
from ..errors import (
    FailureCause,
    RateLimited,
    TokenRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamUnavailable,
)
from ..web import is_token
from . import messages, models
from .callers import CallerKey
from .circuit_breaker import State
from .failure_log import FailureLog
from .oddities import Note, Oddities
from .recovery_probe import RecoveryProbe
from .resilience import ResiliencePolicy
from .schedule import Schedule, decode_schedule
from .serial_executor import SerialExecutor
from .transport import Reply, Transport

__all__ = ["ENDPOINTS", "LoginAnswer", "UpstreamClient"]

_PATHS: Final = {
    "login": "/admin/authenticate",
    "course_files": "/custom/getCFMappedWithStudentID",
    "cards": "/cards",
    "quizzes": "/custom/myEvaluatedQuizzes",
    "timetable": "/custom/getMyScheduleStudent",
}
ENDPOINTS: Final = tuple(_PATHS)
_PROBE_SECONDS: Final = 10.0

_LONGEST_PAUSE: Final = 120.0  # seconds; a longer Retry-After is not believed
_DEFAULT_PAUSE: Final = 1.0  # seconds, for a 429 that names no time

_MOST_PAGES: Final = 10
_LARGEST_REFUSAL: Final = 4096  # bytes; a larger body has rows, or is a page of HTML
_LARGE_BODY: Final = 128 * 1024  # bytes, for which decoding takes half a millisecond

Decoded = TypeVar("Decoded")


class LoginAnswer(msgspec.Struct, frozen=True):
    """The platform's answer to a login, to be passed on: status, its own JSON bytes,
    and the token when there is one that we can serve. ``text`` is what the platform
    says in words; the other two are whose login it is, where the answer says so.
    """

    status: int
    body: bytes
    token: str | None
    text: str | None = None
    student_id: int | None = None
    admission_number: str | None = None


class UpstreamClient:
    """Calls to one platform at ``base_url``.

    Every call takes who makes it, and a deadline that covers its wait for a slot, every
    try, and the decoding. Raises the upstream half of :mod:`aims_server.errors`.
    """

    def __init__(
        self,
        transport: Transport,
        guard: ResiliencePolicy,
        base_url: str,
        origin: str,
        oddities: Oddities,
        failures: FailureLog | None = None,
    ) -> None:
        self._transport = transport
        self._oddities = oddities
        self.note_cards = oddities.of("cards")
        """Notes what is odd about records beside their summary."""

        self._guard = guard
        self._base = base_url
        self._turns = SerialExecutor()
        self._failures = failures or FailureLog(base_url)
        self._probe = RecoveryProbe(guard.breakers, self._ask_without_token)
        guard.breakers.subscribe(self._breaker_changed)
        self._login_headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            # Since early 2025 the platform takes logins from its own portal only.
            "Origin": origin,
            "Referer": f"{origin}/",
        }

    def _breaker_changed(self, _: str, state: State) -> None:
        if state is not State.CLOSED:
            self._probe.wake()

    @property
    def state(self) -> str:
        """The worst of the endpoints' states: "closed", "half-open" or "open"."""
        return self._guard.breakers.worst.value

    @property
    def endpoint_states(self) -> dict[str, str]:
        """Each endpoint's circuit breaker, in the same words."""
        return self._guard.breakers.states()

    async def close(self) -> None:
        """Give up the calls under way, and the connections."""
        await self._probe.close()
        await self._guard.close()
        self._transport.close()

    async def log_in(
        self, username: str, password: str, caller: CallerKey, deadline: Deadline
    ) -> LoginAnswer:
        """POST /admin/authenticate, once: a login is never repeated."""
        form = urlencode({"username": username, "password": password}).encode()

        async def attempt(seconds: float) -> LoginAnswer:
            reply = await self._transport.fetch(
                "POST",
                self._base + _PATHS["login"],
                headers=self._login_headers,
                body=form,
                seconds=seconds,
            )
            return _login_answer(reply)

        watched = self._failures.watched("login", attempt)
        return await self._guard.call(
            "login", caller, watched, deadline, repeatable=False
        )

    async def course_files(
        self, token: str, caller: CallerKey, deadline: Deadline
    ) -> models.CourseFiles:
        """GET /custom/getCFMappedWithStudentID with the attendance summary."""
        return await self._get(
            "course_files",
            "?embed_attendance_summary=1",
            token,
            caller,
            models.decode_course_files,
            deadline,
        )

    async def cards(
        self,
        token: str,
        caller: CallerKey,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
    ) -> models.Cards:
        """GET /cards: the attendance records of one student in one course file.

        All pages of them, up to ten: the answer says whether there are more.
        """
        query = (
            "?type=Attendance&sort_by=%2Bdatetime1"
            f"&equalto___fk_student={student_id}&equalto___cf_id={cf_id}"
        )

        def page(suffix: str) -> Awaitable[models.CardsPage]:
            return self._get(
                "cards", query + suffix, token, caller, models.decode_cards, deadline
            )

        pages = [await page("")]
        complete = True
        while models.more_follows(pages) and complete:
            try:
                pages.append(await page(f"&page={len(pages) + 1}"))
            except UpstreamError:
                complete = False
            if len(pages) == _MOST_PAGES:
                complete = complete and not models.more_follows(pages)
                break
        try:
            return models.merge_pages(pages, self.note_cards, complete=complete)
        except models.BadShape as fault:
            raise UpstreamError from fault

    async def quizzes(
        self, token: str, caller: CallerKey, deadline: Deadline
    ) -> models.Quizzes:
        """GET /custom/myEvaluatedQuizzes, to be passed on unchanged."""
        return await self._get(
            "quizzes", "", token, caller, models.decode_quizzes, deadline
        )

    async def schedule(
        self, token: str, caller: CallerKey, deadline: Deadline
    ) -> Schedule:
        """GET /custom/getMyScheduleStudent: the platform's current month."""
        return await self._get(
            "timetable", "", token, caller, decode_schedule, deadline
        )

    async def _ask_without_token(self, endpoint: str) -> None:
        """GET an endpoint as nobody; any answer but a fault of the platform will do."""
        reply = await self._transport.fetch(
            "GET",
            self._base + _PATHS[endpoint],
            headers={"Accept": "application/json"},
            seconds=_PROBE_SECONDS,
        )
        _check_health(reply)

    async def _get(
        self,
        endpoint: str,
        query: str,
        token: str,
        caller: CallerKey,
        decode: Callable[[bytes, Note], Decoded],
        deadline: Deadline,
    ) -> Decoded:
        # The header works for /cards too; clients that put the token into the query
        # there leave it in every log and proxy on the way.
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        url = self._base + _PATHS[endpoint] + query

        async def attempt(seconds: float) -> Decoded:
            reply = await self._transport.fetch(
                "GET", url, headers=headers, seconds=seconds
            )
            body = _checked_body(reply)
            with self._oddities.noting(endpoint) as note:
                try:
                    if len(body) < _LARGE_BODY:
                        return decode(body, note)
                    return await self._turns.run(lambda: decode(body, note))
                except models.BadShape as fault:
                    raise UpstreamError from fault

        watched = self._failures.watched(endpoint, attempt)
        return await self._guard.call(endpoint, caller, watched, deadline)


def _checked_body(reply: Reply) -> bytes:
    """The body of an answer that may be decoded; raises for every other."""
    status, body = reply.status, reply.body
    if len(body) < _LARGEST_REFUSAL and messages.refuses_token(status, body):
        raise TokenRefused
    if 200 <= status < 300:
        return body
    _check_health(reply)
    if status == 404 and messages.says_nothing_there(body):
        return models.NO_ROWS
    if 400 <= status < 500:
        raise UpstreamRejected
    if messages.leads_to_login(reply.location):
        raise TokenRefused
    # A redirect, or something that is no final status.
    raise _with_status(UpstreamError(), reply)


def _check_health(reply: Reply) -> None:
    """Raise for statuses that speak of the platform rather than of the request."""
    if reply.status == 429:
        pause = _pause(reply) or _DEFAULT_PAUSE
        raise _with_status(UpstreamUnavailable(retry_after=pause), reply)
    if reply.status == 503:
        raise _with_status(UpstreamBusy(retry_after=_pause(reply)), reply)
    if reply.status >= 500:
        raise _with_status(UpstreamFault(), reply)


def _with_status(error: UpstreamError, reply: Reply) -> UpstreamError:
    error.cause = FailureCause(f"status_{reply.status}")
    return error


def _pause(reply: Reply) -> float | None:
    seconds = reply.retry_after
    return None if seconds is None else min(seconds, _LONGEST_PAUSE)


def _check_login_health(reply: Reply) -> None:
    """The like for logins: a 429 is about the account, so that others of the same
    address may go on, and a 500 may be a refusal.
    """
    if reply.status == 429:
        raise RateLimited("platform", _pause(reply) or _DEFAULT_PAUSE)
    if reply.status != 500:
        _check_health(reply)


def _login_answer(reply: Reply) -> LoginAnswer:
    _check_login_health(reply)
    if reply.status // 100 not in (2, 4, 5):
        raise _with_status(UpstreamError(), reply)
    try:
        said = models.read_login(reply.body)
    except models.BadShape as fault:
        _check_health(reply)
        raise UpstreamError from fault
    whose = said.text, said.student_id, said.admission_number
    if reply.status >= 500:
        # The company's own app takes any 200 to 500 for an answer with a message.
        if not said.refuses:
            raise _with_status(UpstreamFault(), reply)
        return LoginAnswer(401, reply.body, None, *whose)
    if reply.status >= 400:
        return LoginAnswer(reply.status, reply.body, None, *whose)
    if said.token is None:
        return LoginAnswer(401, reply.body, None, *whose)
    token = said.token if is_token(said.token) else None
    return LoginAnswer(200, reply.body, token, *whose)
