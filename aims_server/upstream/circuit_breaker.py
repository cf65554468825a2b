"""Owns the judgement whether calls to one far side are worth making; makes none."""

import enum
import random as _random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Self

from msgspec import Struct

from ..deadline import Clock

__all__ = ["CircuitBreaker", "CircuitOpen", "Permit", "State"]

_TICKS: Final = 10
_PROBES_TAKEN_RETRY_AFTER: Final = 1.0  # seconds; their outcome is near but unknown


class State(enum.Enum):
    """Whether calls are let through: all, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpen(Exception):
    """The call may not be made; it is worth asking again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"circuit open for {retry_after:.1f} s more")
        self.retry_after = retry_after


class Permit:
    """Leave to make one call, given back with the call's outcome.

    Only the first outcome counts, so `ignore` may stand in a `finally`; leaving the
    permit's `with` block without an outcome ignores the call too.
    """

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: "CircuitBreaker", generation: int) -> None:
        self._breaker: CircuitBreaker | None = breaker
        self._generation = generation

    def success(self, seconds: float) -> None:
        """The call was answered after `seconds`."""
        self._settle(failed=False, seconds=seconds)

    def failure(self, seconds: float) -> None:
        """The far side failed the call after `seconds`."""
        self._settle(failed=True, seconds=seconds)

    def discard(self) -> None:
        """The call says nothing about the far side; a probe's place is free again."""
        self._settle(failed=None, seconds=0.0)

    def _settle(self, *, failed: bool | None, seconds: float) -> None:
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker._settle(self._generation, failed, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_details: object) -> None:
        self.discard()


class _Tally(Struct):
    tick: int = 0
    calls: int = 0
    failed: int = 0
    slow: int = 0

    def add(self, *, failed: bool, slow: bool) -> None:
        self.calls += 1
        self.failed += failed
        self.slow += slow

    def subtract(self, other: "_Tally") -> None:
        self.calls -= other.calls
        self.failed -= other.failed
        self.slow -= other.slow


class CircuitBreaker:
    """Stops calls to a far side that fails or crawls, and finds out when it is back.

    Closed, it counts the calls of the last `window` seconds (in tenths) and opens when
    at least `minimum` of them ended and the share of failures has reached
    `failure_share`, or the share of those that took `slow_seconds` or more, failed or
    not, has reached `slow_share`.

    Open, it lets nothing through for `open_seconds`, doubled at each opening in a row
    up to `max_open_seconds`, times a random 0.8-1.0 so that several workers do not
    probe in step. Openings are in a row while it has not stayed closed for
    `max_open_seconds` in between.

    Half-open, it lets `probes` calls through. A failed one opens it again; when all
    have succeeded it closes, unless their slow share is too large even so.

    A call counts only in the state it was admitted in: what was under way when the
    breaker changed says nothing new. `on_change` hears of every change of state.
    """

    def __init__(
        self,
        *,
        window: float = 20.0,
        minimum: int = 20,
        failure_share: float = 0.5,
        slow_share: float = 0.8,
        slow_seconds: float = 5.0,
        open_seconds: float = 5.0,
        max_open_seconds: float = 30.0,
        probes: int = 3,
        clock: Clock = time.monotonic,
        random: Callable[[], float] = _random.random,
        on_change: Callable[[State], None] | None = None,
    ) -> None:
        self._tick_seconds = window / _TICKS
        self._minimum = minimum
        self._failure_share = failure_share
        self._slow_share = slow_share
        self._slow_seconds = slow_seconds
        self._open_seconds = open_seconds
        self._max_open_seconds = max_open_seconds
        self._probes = probes
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._state = State.CLOSED
        self._generation = 0
        self._closed_at = clock()
        self._openings_in_a_row = 0
        self._open_until = 0.0
        self._probing = 0
        self._ticks: deque[_Tally] = deque()
        self._sum = _Tally()

    @property
    def state(self) -> State:
        """The state now; an open breaker whose time is over is half-open."""
        if self._state is State.OPEN and self._clock() >= self._open_until:
            self._enter(State.HALF_OPEN)
        return self._state

    def admit(self) -> Permit:
        """Give leave for one call, whose outcome must be told; or raise CircuitOpen."""
        state = self.state
        if state is State.OPEN:
            raise CircuitOpen(self._open_until - self._clock())
        if state is State.HALF_OPEN:
            if self._probing + self._sum.calls >= self._probes:
                raise CircuitOpen(_PROBES_TAKEN_RETRY_AFTER)
            self._probing += 1
        return Permit(self, self._generation)

    def _settle(self, generation: int, failed: bool | None, seconds: float) -> None:
        if generation != self._generation:
            return
        half_open = self._state is State.HALF_OPEN
        if half_open:
            self._probing -= 1
        if failed is None:
            return
        slow = seconds >= self._slow_seconds
        self._sum.add(failed=failed, slow=slow)
        if half_open:
            self._judge_probes()
        else:
            self._current_tick().add(failed=failed, slow=slow)
            if self._sum.calls >= self._minimum and self._is_bad():
                self._open()

    def _judge_probes(self) -> None:
        all_ended = self._sum.calls == self._probes
        if self._sum.failed or (all_ended and self._is_bad()):
            self._open()
        elif all_ended:
            self._closed_at = self._clock()
            self._enter(State.CLOSED)

    def _is_bad(self) -> bool:
        calls = self._sum.calls
        return (
            self._sum.failed >= self._failure_share * calls
            or self._sum.slow >= self._slow_share * calls
        )

    def _open(self) -> None:
        now = self._clock()
        calm = now - self._closed_at >= self._max_open_seconds
        if self._state is State.CLOSED and calm:
            self._openings_in_a_row = 0
        longest = min(
            self._open_seconds * 2.0**self._openings_in_a_row, self._max_open_seconds
        )
        self._openings_in_a_row = min(self._openings_in_a_row + 1, 64)
        self._open_until = now + longest * (0.8 + 0.2 * self._random())
        self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._probing = 0
        self._ticks.clear()
        self._sum = _Tally()
        if self._on_change is not None:
            self._on_change(state)

    def _current_tick(self) -> _Tally:
        number = int(self._clock() // self._tick_seconds)
        while self._ticks and self._ticks[0].tick <= number - _TICKS:
            self._sum.subtract(self._ticks.popleft())
        if not self._ticks or self._ticks[-1].tick != number:
            self._ticks.append(_Tally(number))
        return self._ticks[-1]
