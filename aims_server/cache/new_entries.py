"""Owns the making of entries: how long an answer or part of a session may be served."""

import sys
from typing import TypeVar

from ..deadline import Clock
from ..web import Answer, Session
from .lifetimes import Lifetimes
from .store import Entry

__all__ = ["NewEntries"]

Kept = TypeVar("Kept")


class NewEntries:
    """Makes entries that end with the session's token, if not before. ``clock`` gives
    monotonic seconds, ``wall`` Unix time.

    >>> from aims_server.web import SessionReader
    >>> lifetimes = Lifetimes(fresh=300, stale=1800, floor=15)
    >>> entries = NewEntries(lifetimes, clock=lambda: 1000.0, wall=lambda: 1.7e9)
    >>> entry = entries.part(SessionReader(b"secret").read("token"), b"packed")
    >>> entry.fresh_until, entry.servable_until
    (1300.0, 3100.0)
    """

    def __init__(
        self,
        lifetimes: Lifetimes,
        *,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._lifetimes = lifetimes
        self._clock = clock
        self._wall = wall

    def answer(
        self,
        session: Session,
        answer: Answer,
        *,
        made_at: float | None = None,
        old: bool = False,
        complete: bool = True,
    ) -> Entry[Answer]:
        """An entry for an answer made at ``made_at`` (monotonic seconds), by default
        now. For ``old`` and ``complete`` see :meth:`Lifetimes.ends`; an incomplete
        entry never replaces a complete one.
        """
        return self._entry(session, answer, answer.size, made_at, old, complete)

    def part(
        self,
        session: Session,
        packed: bytes,
        *,
        made_at: float | None = None,
        complete: bool = True,
    ) -> Entry[bytes]:
        """An entry for a part; see :meth:`answer`."""
        size = sys.getsizeof(packed)
        return self._entry(session, packed, size, made_at, False, complete)

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
        fresh_until, servable_until = self._lifetimes.ends(
            made_at, now, old=old, complete=complete
        )
        token_end = self._token_end(session)
        return Entry(
            value=value,
            size=size,
            owner=session.owner,
            made_at=made_at,
            fresh_until=min(fresh_until, token_end),
            servable_until=min(servable_until, token_end),
            old=old,
            complete=complete,
            student_id=session.verified_student,
        )

    def _token_end(self, session: Session) -> float:
        """The end that the token itself states, by the monotonic clock."""
        if session.expires_at is None:
            return float("inf")
        return self._clock() + session.expires_at - self._wall()
