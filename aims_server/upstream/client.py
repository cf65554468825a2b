"""The platform's calls as typed methods: each makes its request and decodes the answer.
The facts are in docs/platform.rst.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, TypeVar
from urllib.parse import urlencode

from ..deadline import Deadline
from ..errors import UpstreamError, WrongAnswer
from ..primitives import CircuitState, SerialExecutor
from .answer_reader import AnswerReader, Confirm, anyone
from .answers import (
    Cards,
    CardsPage,
    CourseFiles,
    Note,
    Notes,
    Oddities,
    Quizzes,
    Schedule,
    decode_cards,
    decode_course_files,
    decode_quizzes,
    decode_schedule,
    merge_pages,
    more_follows,
)
from .resilience import CallerKey, RecoveryProbe, Reservation, ResiliencePolicy
from .transport import Transport
from .verdicts import LoginAnswer, check_health, login_answer

__all__ = ["ENDPOINTS", "UpstreamClient"]

_PATHS: Final = {
    "login": "/admin/authenticate",
    "course_files": "/custom/getCFMappedWithStudentID",
    "cards": "/cards",
    "quizzes": "/custom/myEvaluatedQuizzes",
    "timetable": "/custom/getMyScheduleStudent",
}
ENDPOINTS: Final = tuple(_PATHS)
_PROBE_SECONDS: Final = 10.0

_MOST_PAGES: Final = 10

Decoded = TypeVar("Decoded")


class UpstreamClient:
    """Calls to one platform at ``base_url``; ``origin`` is its portal's.

    Every call takes its caller, and a deadline for the wait for a slot, all tries and
    the decoding. It raises :class:`UpstreamError` or :class:`TokenRefused`, ``log_in``
    also :class:`RateLimited`. ``confirm`` gets each decoded answer and raises
    :class:`WrongStudent` if it names another student than the asker. ``executor``
    decodes large answers.
    """

    def __init__(
        self,
        transport: Transport,
        policy: ResiliencePolicy,
        base_url: str,
        origin: str,
        oddities: Oddities,
        executor: SerialExecutor,
    ) -> None:
        self._transport = transport
        self._oddities = oddities
        self._reader = AnswerReader(oddities, executor)
        self._policy = policy
        self._base = base_url
        self._probe = RecoveryProbe(policy.breakers, self._ask_without_token)
        self._login_headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            # Since early 2025 the platform takes logins from its own portal only.
            "Origin": origin,
            "Referer": f"{origin}/",
        }

    @property
    def state(self) -> CircuitState:
        """The worst of the endpoints' states."""
        return self._policy.breakers.worst

    @property
    def endpoint_states(self) -> dict[str, CircuitState]:
        """The state of each endpoint's circuit breaker."""
        return self._policy.breakers.states()

    async def close(self) -> None:
        """Cancel the calls under way, and close the connections."""
        await self._probe.close()
        await self._policy.close()
        self._transport.close()

    def reserve(
        self, caller: CallerKey, calls: int, seconds: float
    ) -> AbstractContextManager[Reservation]:
        """Admit a page of so many calls as a whole; see :meth:`Admission.reserve`."""
        return self._policy.reserve(caller, calls, seconds)

    async def log_in(
        self, username: str, password: str, caller: CallerKey, deadline: Deadline
    ) -> LoginAnswer:
        """POST /admin/authenticate; a login is never retried."""
        form = urlencode({"username": username, "password": password}).encode()

        async def attempt(seconds: float, *, fresh: bool) -> LoginAnswer:
            reply = await self._transport.fetch(
                self._base + _PATHS["login"],
                headers=self._login_headers,
                body=form,
                seconds=seconds,
            )
            return login_answer(reply)

        return await self._policy.call(
            "login", caller, attempt, deadline, repeatable=False
        )

    def prepare(self) -> None:
        """Load curl and open a connection, so that the first call need not wait."""
        self._transport.prepare(self._base)

    def expect_cards(self, calls: int) -> AbstractContextManager[None]:
        """Open connections while the block runs, for so many calls that follow it: the
        records of every subject.
        """
        # The connection of the course files serves one of them.
        return self._transport.expect(self._base, calls - 1)

    async def course_files(
        self,
        token: str,
        caller: CallerKey,
        deadline: Deadline,
        confirm: Confirm[CourseFiles] = anyone,
    ) -> CourseFiles:
        """GET /custom/getCFMappedWithStudentID with the attendance summary."""
        return await self._get(
            "course_files",
            "?embed_attendance_summary=1",
            token,
            caller,
            decode_course_files,
            deadline,
            confirm,
        )

    async def cards(
        self,
        token: str,
        caller: CallerKey,
        student_id: int,
        cf_id: int,
        deadline: Deadline,
        confirm: Confirm[CardsPage] = anyone,
    ) -> Cards:
        """GET /cards: the attendance records of one student in one course file.

        Reads at most ten pages; ``complete`` is False if there are more or one fails.
        """
        query = (
            "?type=Attendance&sort_by=%2Bdatetime1"
            f"&equalto___fk_student={student_id}&equalto___cf_id={cf_id}"
        )

        def page(suffix: str) -> Awaitable[CardsPage]:
            return self._get(
                "cards", query + suffix, token, caller, decode_cards, deadline, confirm
            )

        first = await page("")
        if not (first.more or first.pages or first.total):
            return Cards(first.cards)  # as mostly
        pages = [first]
        try:
            while (more := more_follows(pages)) and len(pages) < _MOST_PAGES:
                pages.append(await page(f"&page={len(pages) + 1}"))
            complete = not more
        except UpstreamError:
            complete = False
        notes = self.card_notes()
        cards = merge_pages(pages, notes, complete=complete)
        notes.report()
        return cards

    def card_notes(self) -> Notes:
        """A `Note` for oddities of records, by themselves or against the summary."""
        return self._oddities.notes("cards")

    async def quizzes(
        self,
        token: str,
        caller: CallerKey,
        deadline: Deadline,
        confirm: Confirm[Quizzes] = anyone,
    ) -> Quizzes:
        """GET /custom/myEvaluatedQuizzes, whose answer is passed on unchanged."""
        return await self._get(
            "quizzes", "", token, caller, decode_quizzes, deadline, confirm
        )

    async def schedule(
        self, token: str, caller: CallerKey, deadline: Deadline
    ) -> Schedule:
        """GET /custom/getMyScheduleStudent: the platform's current month."""
        return await self._get(
            "timetable", "", token, caller, decode_schedule, deadline
        )

    async def _ask_without_token(self, endpoint: str) -> None:
        """GET an endpoint without a token; raises only for a fault of the platform."""
        reply = await self._transport.fetch(
            self._base + _PATHS[endpoint],
            headers={},
            seconds=_PROBE_SECONDS,
            fresh=True,
        )
        check_health(reply)

    def _get(
        self,
        endpoint: str,
        query: str,
        token: str,
        caller: CallerKey,
        decode: Callable[[bytes, Note], Decoded],
        deadline: Deadline,
        confirm: Confirm[Decoded] = anyone,
    ) -> Awaitable[Decoded]:
        # For /cards too. Public clients put the token into the query there, and so into
        # every log and proxy on the way.
        headers = {"Authorization": f"Bearer {token}"}
        url = self._base + _PATHS[endpoint] + query

        async def attempt(seconds: float, *, fresh: bool) -> Decoded:
            fetch = self._transport.fetch
            reply = await fetch(url, headers=headers, seconds=seconds, fresh=fresh)
            try:
                return await self._reader.read(endpoint, reply, decode, confirm)
            except WrongAnswer:
                if not self._transport.abandon(reply):
                    raise
            # It may have been the late answer to another call on that connection.
            reply = await fetch(
                url, headers=headers, seconds=deadline.remaining(), fresh=True
            )
            answer = await self._reader.read(endpoint, reply, decode, confirm)
            self._transport.distrust_kept()
            return answer

        return self._policy.call(endpoint, caller, attempt, deadline)
