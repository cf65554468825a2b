"""Owns which calls to an endpoint hang, by what was answered meanwhile."""

import time
from math import inf
from typing import Final

from msgspec import Struct

from ...deadline import Clock

__all__ = ["Hanging", "NewestAnswer"]

_FASTER: Final = 3.0  # so many times as fast was a newer call than one that hangs
_PROBE_SECONDS: Final = 1.0  # between two calls to see whether any is answered


class NewestAnswer(Struct):
    """When the call that was answered last began, and when it ended."""

    began: float = -inf
    ended: float = -inf


class Hanging:
    """Judges the calls to one endpoint. The times are those of ``clock``.

    >>> now = 0.0
    >>> hanging = Hanging(10.0, clock=lambda: now)
    >>> hanging.first_began()
    >>> now = 8.5
    >>> hanging.answered(began=8.0)
    >>> hanging.is_hanging(began=0.0)
    False
    >>> now = 10.0
    >>> hanging.is_hanging(began=0.0)
    True

    A call of at least ``seconds``, the longest that a request waits, hangs if a newer
    one was answered in far less time. If none was answered for ``seconds``, all may be
    slow. Then only one call a second hangs, so that a new one is tried; and none does
    while other endpoints answer calls that take as long (the last is in ``newest``).
    After the first answer that ends such a silence, a call that began before it may
    hang though it has taken less than ``seconds``.
    """

    def __init__(
        self,
        seconds: float,
        newest: NewestAnswer | None = None,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._own = NewestAnswer()
        self._newest = newest or NewestAnswer()
        self._clock = clock
        self._replaced_at = -inf
        self._silent_since = -inf
        self._back_at = -inf  # when the first call answered after a silence began

    def first_began(self) -> None:
        """A call begins while no other is under way."""
        self._silent_since = self._clock()

    def answered(self, began: float) -> None:
        """A call that began then is answered now."""
        now = self._clock()
        if self.silent_seconds >= self.seconds:
            self._back_at = began
        for answer in (self._own, self._newest):
            answer.began, answer.ended = began, now
        self._silent_since = now

    def replaced(self) -> None:
        """Another call is to be made in place of one that hangs."""
        self._replaced_at = self._clock()

    @property
    def silent_seconds(self) -> float:
        """For how long no call was answered, though some were under way."""
        return self._clock() - self._silent_since

    def is_hanging(self, began: float) -> bool:
        """Whether a call that began then hangs."""
        now = self._clock()
        seconds = now - began
        if seconds < self.seconds and began >= self._back_at:
            return False
        if self.is_overtaken(began):
            return True
        if now - self._own.ended < self.seconds:
            return False
        return now - self._replaced_at >= _PROBE_SECONDS and (
            now - self._newest.ended >= self.seconds
            or self._is_far_slower(seconds, self._newest)
        )

    def is_overtaken(self, began: float) -> bool:
        """Whether the call answered last began later than one that began then, which
        has taken far longer so far.
        """
        seconds = self._clock() - began
        return began < self._own.began and self._is_far_slower(seconds, self._own)

    @staticmethod
    def _is_far_slower(seconds: float, answer: NewestAnswer) -> bool:
        return seconds > _FASTER * (answer.ended - answer.began)
