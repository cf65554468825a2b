"""Owns what is kept for a session: its answers, and the parts that they are made of."""

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar, cast

from msgspec.structs import replace

from ..deadline import Clock, Deadline
from ..errors import UpstreamTimeout, UpstreamUnavailable, WrongStudent
from ..web import Answer, Session
from .lifetimes import Lifetimes
from .loading import Fill, Outcome, Served
from .new_entries import NewEntries
from .readthrough import ReadThrough
from .singleflight import FlightCancelled
from .store import Entry

__all__ = ["AnswerCache"]

Kept = TypeVar("Kept")


class AnswerCache:
    """Answers and parts, by session and resource.

    Answers are made of parts, which are kept by themselves. ``resource`` names a page
    or a part; parts of one kind differ in what follows a "/". ``answers`` and ``parts``
    share a store, so that a refusal of a token drops everything kept for it.
    ``on_lookup`` gets each look-up's resource and `Outcome`. ``clock`` gives monotonic
    seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        answers: ReadThrough[Answer],
        parts: ReadThrough[bytes],
        lifetimes: Lifetimes,
        on_lookup: Callable[[str, str], object],
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._answers = answers
        self._parts = parts
        self._lifetimes = lifetimes
        self._on_lookup = on_lookup
        entries = NewEntries(lifetimes, clock=clock, wall=wall)
        self.new_answer = entries.answer
        self.new_part = entries.part

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

        Raises what ``fill`` raises, :class:`UpstreamTimeout` at the deadline, and
        :class:`UpstreamUnavailable` when the service stops.
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
        """As `answer`, for a part. Without ``old_at_once`` an old one is returned only
        if the fill fails or takes too long, because an answer made of it would look
        new.
        """
        max_age = self._max_age(fresh)
        if max_age is None and not old_at_once:
            max_age = self._lifetimes.fresh
        return await self._read(self._parts, resource, session, fill, deadline, max_age)

    def keep_part(self, resource: str, session: Session, entry: Entry[bytes]) -> None:
        """Keep a part in the background, unless the token was refused since the session
        began, a fill of the part is under way, or one has just failed.
        """
        self._parts.keep(session.resource_key(resource), session.epoch, entry)

    async def derived(
        self,
        resource: str,
        session: Session,
        source: Awaitable[Served[Kept]],
        make: Callable[[Kept], Awaitable[Answer]],
    ) -> Served[Answer]:
        """The answer that ``make`` makes of the ``source``, a part or another answer;
        it has the source's outcome and times.
        """

        async def made_of(entry: Entry[Kept]) -> Entry[Answer]:
            answer = await make(entry.value)
            made = replace(entry, value=answer, size=answer.size)
            return cast("Entry[Answer]", made)

        outcome = Outcome.MISS
        try:
            key = session.resource_key(resource)
            served = await self._answers.derive(key, session.owner, source, made_of)
            outcome = served.outcome
        finally:
            self._on_lookup(resource, outcome.value)
        return served

    def get_fresh(
        self, resource: str, session: Session, now: float, *, fresh: bool
    ) -> Entry[Answer] | None:
        """The entry that `answer` would give as a HIT, without waiting, or None.

        Not reported as a look-up: the caller counts the answer.
        """
        entry = self._answers.kept.get_fresh(
            session.resource_key(resource), session.owner, now, self._max_age(fresh)
        )
        if entry is not None:
            try:
                _confirm(session, entry)
            except WrongStudent:
                return None  # `answer` will raise it
        return entry

    def get_fresh_parts(
        self, resources: Iterable[str], session: Session, *, fresh: bool
    ) -> dict[str, Entry[bytes]]:
        """As `get_fresh`, for parts: those that are kept, by resource."""
        keys = {session.resource_key(resource): resource for resource in resources}
        found = self._parts.kept.find_fresh(keys, session.owner, self._max_age(fresh))
        return {keys[key]: entry for key, entry in found.items()}

    def find_part(self, resource: str, session: Session) -> Entry[bytes] | None:
        """A part that a worker of this machine keeps, fresh or old."""
        key = session.resource_key(resource)
        return self._parts.kept.find(key, session.owner)

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
        filled = partial(_filled, through, session, fill)
        outcome = Outcome.MISS
        try:
            served = await through.get(key, owner, filled, deadline, max_age=max_age)
            kept = None if served.entry.complete else through.kept.find(key, owner)
            if kept is not None and kept.complete:
                served = replace(served, entry=kept, outcome=Outcome.STALE)
            outcome = served.outcome
        except TimeoutError:
            raise UpstreamTimeout from None
        except FlightCancelled:
            raise UpstreamUnavailable from None
        finally:
            self._on_lookup(resource.partition("/")[0], outcome.value)
        # An answer requested before a refusal, by another request, gives no standing.
        if through.epochs.is_current(served.epoch):
            _confirm(session, served.entry)
        return served

    def _max_age(self, fresh: bool) -> float | None:
        """The greatest age of a kept answer in seconds; None for any age."""
        return self._lifetimes.floor if fresh else None


async def _filled(
    through: ReadThrough[Kept], session: Session, fill: Fill[Kept], deadline: Deadline
) -> Entry[Kept]:
    """Run ``fill`` for a session that has an epoch."""
    # A token without one gets the one just begun. An answer that arrives after that
    # epoch has ended gives no standing.
    session.epoch = session.epoch or through.epochs.of(session.owner)
    return await fill(deadline)


def _confirm(session: Session, entry: Entry[Kept]) -> None:
    """Verify the session with the student whom the platform has named for this entry,
    perhaps to another process.
    """
    if entry.student_id not in (None, session.verified_student):
        session.confirm(student_id=entry.student_id)
