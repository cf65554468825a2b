"""What is kept for a session and for how long: the two read-throughs of a worker, the
lifetimes of their entries, and the rules of a refused or ended token.
"""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from ..deadline import Clock, Deadline
from ..errors import (
    TokenRefused,
    Unauthorized,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ..web import Answer, Session
from .readthrough import (
    Outcome,
    ReadThrough,
    Served,
    WrongOwner,
)
from .singleflight import FlightCancelled
from .store import Entry

__all__ = ["AnswerCache", "Fill", "Lifetimes", "LookupObserver"]

Kept = TypeVar("Kept")
Fill = Callable[[Deadline], Awaitable[Entry[Kept]]]


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers live, in seconds: ``fresh``, then ``stale`` more while the
    platform is asked again; a fresh one on demand no sooner than ``floor``.
    """

    fresh: float
    stale: float
    floor: float
    incomplete: float = 15.0


class LookupObserver(Protocol):
    """Who is told how each resource was come by: metrics, in production."""

    def lookup(self, resource: str, outcome: str) -> None:
        """``outcome`` is one of HIT, MISS, STALE and PENDING."""


class AnswerCache:
    """Answers, and the intermediates they are made of, by session and resource.

    ``answers`` and ``intermediates`` share a store, so that a refused token takes
    everything kept for it along. ``clock`` is monotonic seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        answers: ReadThrough[Answer],
        intermediates: ReadThrough[bytes],
        lifetimes: Lifetimes,
        observer: LookupObserver,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._answers = answers
        self._intermediates = intermediates
        self._lifetimes = lifetimes
        self._observer = observer
        self._clock = clock
        self._wall = wall

    async def answer(
        self,
        resource: str,
        session: Session,
        fill: Fill[Answer],
        deadline: Deadline,
        *,
        fresh: bool,
    ) -> Served[Answer]:
        """The answer, kept or filled; with ``fresh`` none older than the floor.

        Raises what ``fill`` raises, and the upstream half of our errors.
        """
        through = self._answers
        return await self._read(through, resource, session, fill, deadline, fresh)

    async def intermediate(
        self,
        resource: str,
        session: Session,
        fill: Fill[bytes],
        deadline: Deadline,
        *,
        fresh: bool,
    ) -> Served[bytes]:
        """The like for what answers are made of."""
        through = self._intermediates
        return await self._read(through, resource, session, fill, deadline, fresh)

    def get_fresh(
        self, resource: str, session: Session, now: float, *, fresh: bool
    ) -> Entry[Answer] | None:
        """What `answer` would give as a HIT, without waiting; None says nothing of why.

        Tells no observer: whoever serves it does.
        """
        entry = self._answers.peek(
            session.resource_key(resource), session.owner, now, self._max_age(fresh)
        )
        if entry is not None:
            session.verify(None)
        return entry

    def new_answer(
        self,
        session: Session,
        answer: Answer,
        *,
        made_at: float | None = None,
        complete: bool = True,
    ) -> Entry[Answer]:
        """An entry for an answer made at ``made_at`` of the monotonic clock, by default
        now. An incomplete one is kept for a few seconds and never served old.
        """
        made_at = self._clock() if made_at is None else made_at
        lives = self._lifetimes
        fresh_until = made_at + (lives.fresh if complete else lives.incomplete)
        end = self._token_end(session)
        return Entry(
            value=answer,
            size=answer.size,
            owner=session.owner,
            made_at=made_at,
            fresh_until=min(fresh_until, end),
            servable_until=min(fresh_until + (lives.stale if complete else 0), end),
        )

    def new_intermediate(self, session: Session, packed: bytes) -> Entry[bytes]:
        """An entry for what was had now. It is never served old: an old page may be,
        but not one that looks new and is made of old parts.
        """
        now = self._clock()
        end = min(now + self._lifetimes.fresh, self._token_end(session))
        return Entry(
            value=packed,
            size=sys.getsizeof(packed),
            owner=session.owner,
            made_at=now,
            fresh_until=end,
            servable_until=end,
        )

    async def _read(
        self,
        through: ReadThrough[Kept],
        resource: str,
        session: Session,
        fill: Fill[Kept],
        deadline: Deadline,
        fresh: bool,
    ) -> Served[Kept]:
        async def vouched(within: Deadline) -> Entry[Kept]:
            try:
                return await fill(within)
            except TokenRefused:
                if session.verified:
                    raise
                # Nothing was ever kept for this token, and a made-up one that names a
                # student must not have that student's answers dropped.
                raise Unauthorized(TokenRefused.sentence) from None

        outcome = Outcome.MISS
        try:
            served = await through.get(
                session.resource_key(resource),
                session.owner,
                vouched,
                deadline,
                max_age=self._max_age(fresh),
            )
            outcome = served.outcome
        except TimeoutError:
            raise UpstreamTimeout from None
        except FlightCancelled:
            raise UpstreamUnavailable from None
        except WrongOwner:
            raise UpstreamError from None
        finally:
            self._observer.lookup(resource.partition("/")[0], outcome.value)
        # Whatever is kept under this token's key was once given to this token.
        session.verify(None)
        return served

    def _max_age(self, fresh: bool) -> float | None:
        """The floor: how old a kept answer may be for a client that asks for a fresh
        one.
        """
        return self._lifetimes.floor if fresh else None

    def _token_end(self, session: Session) -> float:
        """When the token ends by its own claim, on the monotonic clock."""
        if session.expires_at is None:
            return float("inf")
        return self._clock() + session.expires_at - self._wall()
