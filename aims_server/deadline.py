"""Owns the time by which a piece of work must end; knows no event loop."""

import time
from collections.abc import Callable

__all__ = ["Clock", "Deadline"]

Clock = Callable[[], float]


class Deadline:
    """A moment on a monotonic clock, `seconds` from now, handed down the call chain.

    >>> deadline = Deadline(10, clock=lambda: 5.0)
    >>> deadline.at, deadline.remaining(), deadline.expired
    (15.0, 10.0, False)

    It only moves later (`extend`), when an asker with more time has joined. So code
    that waits in steps must read it again at each step.
    """

    __slots__ = ("_clock", "at")

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.at = clock() + seconds
        """The moment itself, in seconds of that clock."""

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self._clock() >= self.at

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        left = self.at - self._clock()
        return left if left > 0.0 else 0.0  # `max` takes twice as long

    def extend(self, other: "Deadline") -> None:
        """Move to the moment of `other` if that is the later one."""
        self.at = max(self.at, other.at)

    def __repr__(self) -> str:
        return f"Deadline({self.at - self._clock():+.3f} s)"
