"""What is kept for a session and for how long: the two read-throughs of a worker, the
lifetimes of their entries, and the rules of a refused or ended token.
"""

import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar, cast

import msgspec

from ..deadline import Clock, Deadline
from ..errors import (
    TokenRefused,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ..web import Answer, Session
from .loading import Fill, Outcome, Served
from .readthrough import ReadThrough, WrongOwner
from .singleflight import FlightCancelled
from .store import Entry

__all__ = ["AnswerCache", "Lifetimes", "LookupObserver"]

Kept = TypeVar("Kept")


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers live, in seconds: ``fresh``, then ``stale`` more while the
    platform is asked again; a fresh one on demand no sooner than ``floor``.
    """

    fresh: float
    stale: float
    floor: float
    incomplete: float = 15.0


class LookupObserver(Protocol):
    """Counts how resources were come by: metrics, in production."""

    def lookup(self, resource: str, outcome: str) -> None:
        """``outcome`` is one of HIT, MISS, STALE and PENDING."""


class _SaysLess(UpstreamError):
    """What was filled is incomplete, and what is kept is not."""

    def __init__(self, entry: Entry[Any]) -> None:
        super().__init__()
        self.entry = entry


class AnswerCache:
    """Answers, and the parts they are made of, by session and resource.

    ``answers`` and ``parts`` share a store, so that with a refused token goes
    everything that is kept for it, and nothing else. ``clock`` is monotonic seconds,
    ``wall`` Unix time.
    """

    def __init__(
        self,
        answers: ReadThrough[Answer],
        parts: ReadThrough[bytes],
        lifetimes: Lifetimes,
        observer: LookupObserver,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._answers = answers
        self._parts = parts
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
        max_age = self._max_age(fresh)
        return await self._read(
            self._answers, resource, session, fill, deadline, max_age
        )

    async def part(
        self,
        resource: str,
        session: Session,
        fill: Fill[bytes],
        deadline: Deadline,
        *,
        fresh: bool,
        old_at_once: bool = True,
    ) -> Served[bytes]:
        """As `answer`, for what answers are made of. Without ``old_at_once`` an old one
        is given only if a new one cannot be had: an answer would look new and be made
        of old parts.
        """
        max_age = self._max_age(fresh)
        if max_age is None and not old_at_once:
            max_age = self._lifetimes.fresh
        return await self._read(self._parts, resource, session, fill, deadline, max_age)

    async def derived(
        self,
        resource: str,
        session: Session,
        source: Awaitable[Served[Kept]],
        make: Callable[[Kept], Awaitable[Answer]],
    ) -> Served[Answer]:
        """The answer that is made of one part or answer alone, come by as that was and
        kept for as long.
        """

        async def made_of(entry: Entry[Kept]) -> Entry[Answer]:
            answer = await make(entry.value)
            made = msgspec.structs.replace(entry, value=answer, size=answer.size)
            return cast(Entry[Answer], made)

        outcome = Outcome.MISS
        try:
            key = session.resource_key(resource)
            served = await self._answers.derive(key, session.owner, source, made_of)
            outcome = served.outcome
        finally:
            self._observer.lookup(resource, outcome.value)
        return served

    def get_fresh(
        self, resource: str, session: Session, now: float, *, fresh: bool
    ) -> Entry[Answer] | None:
        """What `answer` would give as a HIT, without waiting; None says nothing of why.

        Not counted here: its caller counts the answer.
        """
        entry = self._answers.peek(
            session.resource_key(resource), session.owner, now, self._max_age(fresh)
        )
        if entry is not None:
            _confirm(session, entry)
        return entry

    def get_fresh_parts(
        self, resources: Iterable[str], session: Session, *, fresh: bool
    ) -> dict[str, Entry[bytes]]:
        """As `get_fresh`, for what answers are made of: those that there are."""
        keys = {session.resource_key(resource): resource for resource in resources}
        found = self._parts.find_fresh(keys, session.owner, self._max_age(fresh))
        return {keys[key]: entry for key, entry in found.items()}

    def find_part(self, resource: str, session: Session) -> Entry[bytes] | None:
        """A part that is kept by any worker and may be served, old or not."""
        key = session.resource_key(resource)
        return self._parts.find(key, session.owner)

    def new_answer(
        self,
        session: Session,
        answer: Answer,
        *,
        made_at: float | None = None,
        old: bool = False,
        complete: bool = True,
    ) -> Entry[Answer]:
        """An entry for an answer made at ``made_at`` of the monotonic clock, by default
        now. An ``old`` one, made of a part that should have been newer, is not fresh
        from the start. An incomplete one is kept for a few seconds, never served old,
        and never in place of a complete one.
        """
        return self._entry(session, answer, answer.size, made_at, old, complete)

    def new_part(
        self, session: Session, packed: bytes, *, complete: bool = True
    ) -> Entry[bytes]:
        """An entry for what was had now; see :meth:`new_answer`."""
        size = sys.getsizeof(packed)
        return self._entry(session, packed, size, None, False, complete)

    def _entry(
        self,
        session: Session,
        value: Kept,
        size: int,
        made_at: float | None,
        old: bool,
        complete: bool,
    ) -> Entry[Kept]:
        now = self._clock()
        made_at = now if made_at is None else made_at
        lives = self._lifetimes
        end = self._token_end(session)
        fresh_until = made_at + lives.fresh
        if complete:
            servable_until = fresh_until + lives.stale
        else:
            # However old its oldest part: what is missing was asked for just now.
            fresh_until = min(fresh_until, now + lives.incomplete)
            servable_until = fresh_until
        return Entry(
            value=value,
            size=size,
            owner=session.owner,
            made_at=made_at,
            fresh_until=min(now if old else fresh_until, end),
            servable_until=min(servable_until, end),
            old=old,
            complete=complete,
            student_id=session.verified_student,
        )

    async def _read(
        self,
        through: ReadThrough[Kept],
        resource: str,
        session: Session,
        fill: Fill[Kept],
        deadline: Deadline,
        max_age: float | None,
    ) -> Served[Kept]:
        key, owner = session.resource_key(resource), session.owner

        async def judged(within: Deadline) -> Entry[Kept]:
            try:
                filled = await fill(within)
            except TokenRefused:
                session.refuse()
                raise
            if not filled.complete and filled.says_less_than(through.find(key, owner)):
                raise _SaysLess(filled)
            return filled

        outcome = Outcome.MISS
        try:
            served = await through.get(key, owner, judged, deadline, max_age=max_age)
            outcome = served.outcome
        except _SaysLess as less:  # remembered, while what was kept has ended
            served = Served(less.entry, outcome)
        except TimeoutError:
            raise UpstreamTimeout from None
        except FlightCancelled:
            raise UpstreamUnavailable from None
        except WrongOwner:
            raise UpstreamError from None
        finally:
            self._observer.lookup(resource.partition("/")[0], outcome.value)
        _confirm(session, served.entry)
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


def _confirm(session: Session, entry: Entry[Kept]) -> None:
    """Give the token the standing that it had when this was made for it, perhaps in
    another process.
    """
    if entry.student_id not in (None, session.verified_student):
        session.confirm(student_id=entry.student_id)
