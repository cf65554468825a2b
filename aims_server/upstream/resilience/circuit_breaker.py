"""Decides by the outcomes of calls to an endpoint whether more are let through."""

import random as _random
import time
from collections.abc import Callable
from typing import Final

from ...deadline import Clock
from ...primitives import CircuitState
from .calls import CallerKey

__all__ = ["RECOVERY_PROBE", "CircuitBreaker", "CircuitOpen"]

_STUDENTS: Final = 3
_WINDOW_SECONDS: Final = 10.0
_OPEN_SECONDS: Final = 5.0
# In a simulated outage of an hour (3 students a second, each call fails at once) calls
# are refused for 4 s more when the endpoint is back, 11 at most, for 0.35 a second that
# are made meanwhile. With 28 s these were 12 s, 26 s and 0.14.
_MAX_OPEN_SECONDS: Final = 10.0
_VERIFIED_FIRST_SECONDS: Final = 30.0
_PROBES_TAKEN_RETRY_AFTER: Final = 1.0  # seconds; their outcome is near but unknown
# After which a probe keeps nobody else from trying: one that was made a moment before
# the endpoint was back may hang for as long as a page is gathered.
_PROBE_SECONDS: Final = 5.0

# For each call: to look up a member of an Enum takes as long as to call a method.
_CLOSED: Final = CircuitState.CLOSED
_HALF_OPEN: Final = CircuitState.HALF_OPEN

RECOVERY_PROBE: Final = CallerKey.student("recovery probe")


class CircuitOpen(Exception):
    """The call may not be made; it is worth asking again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"circuit open for {retry_after:.1f} s more")
        self.retry_after = retry_after


class CircuitBreaker:
    """Stops calls to an endpoint that fails everybody, and finds out when it is back.

    >>> breaker = CircuitBreaker()
    >>> for student in map(CallerKey.student, (1, 1, 2, 3)):
    ...     breaker.leave(breaker.enter(student), student, failed=True)
    >>> breaker.state
    <CircuitState.OPEN: 'open'>

    Closed, it remembers which callers have failed in the last 10 s, with calls that
    began since any call succeeded, each of them once: a single caller opens nothing,
    however many of its calls fail, nor do calls that were left hanging before the
    endpoint was well again. It opens when they are 3 verified students, or `callers` of
    any kind while no call has succeeded for 10 s. An answer is a success, however slow.

    Open, it lets nothing through for 5 s, doubled at each opening in a row up to
    `max_open_seconds`, times a random 0.8-1.0 so that several workers do not probe in
    step. Openings are in a row while it has not stayed closed for so long in between.

    Half-open, it lets `probes` calls through at a time, beside those that have hung for
    5 s, and closes with the first success. A caller whose probe has failed gets no
    other one for 10 s, and the rule above opens it again. While verified students have
    asked within 30 s, only they and `RECOVERY_PROBE`, which is no student's, may probe:
    made-up tokens prove nothing.

    A call counts only in the state it was admitted in: what was under way when the
    breaker changed says nothing new. `on_change` is called at every change of state.
    """

    def __init__(
        self,
        *,
        callers: int = 20,
        max_open_seconds: float = _MAX_OPEN_SECONDS,
        probes: int = 3,
        clock: Clock = time.monotonic,
        random: Callable[[], float] = _random.random,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._callers = callers
        self._max_open_seconds = max_open_seconds
        self._probes = probes
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._admitted = 0  # calls so far; each is known by its number
        self._changed_after = 0  # the last that began before the state changed
        self._succeeded_after = 0  # the last that began before the last success
        self._closed_at = clock()
        self._openings_in_a_row = 0
        self._open_until = 0.0
        self._probing: dict[int, float] = {}  # when each began that is under way
        self._verified_asked_at = float("-inf")
        self._succeeded_at = float("-inf")
        # When each last failed, the longest ago first. Never more than `callers`.
        self._failing: dict[CallerKey, float] = {}

    @property
    def state(self) -> CircuitState:
        """The state now; an open breaker whose time is over is half-open."""
        if self._state is CircuitState.OPEN and self._clock() >= self._open_until:
            self._enter(CircuitState.HALF_OPEN)
        return self._state

    def enter(self, caller: CallerKey) -> int:
        """Let one call through; its outcome is told to `leave`, once, with the number
        that this returns. Raises CircuitOpen.
        """
        if caller.verified and caller is not RECOVERY_PROBE:
            self._verified_asked_at = self._clock()
        if self._state is not _CLOSED:
            if self.state is CircuitState.OPEN:
                raise CircuitOpen(self._open_until - self._clock())
            if not self._may_probe(caller):
                raise CircuitOpen(_PROBES_TAKEN_RETRY_AFTER)
            self._probing[self._admitted + 1] = self._clock()
        self._admitted += 1
        return self._admitted

    def leave(self, number: int, caller: CallerKey, *, failed: bool | None) -> None:
        """A call has ended; ``failed`` is None if that says nothing of the endpoint."""
        self._probing.pop(number, None)
        if failed is None or number <= self._changed_after:
            return
        if failed:
            if number > self._succeeded_after:
                self._count(caller)
            return
        self._succeeded_after = self._admitted
        self._succeeded_at = self._clock()
        self._failing.clear()
        if self._state is _HALF_OPEN:
            self._closed_at = self._succeeded_at
            self._enter(CircuitState.CLOSED)

    def _may_probe(self, caller: CallerKey) -> bool:
        now = self._clock()
        self._forget(now)
        waited_for = sum(now - at < _PROBE_SECONDS for at in self._probing.values())
        if waited_for >= self._probes or caller in self._failing:
            return False
        asked_ago = now - self._verified_asked_at
        return caller.verified or asked_ago >= _VERIFIED_FIRST_SECONDS

    def _count(self, caller: CallerKey) -> None:
        now = self._clock()
        self._forget(now)
        self._failing.pop(caller, None)
        if len(self._failing) >= self._callers:
            # Verified ones are too few yet to open it, but two of them count.
            del self._failing[next(each for each in self._failing if not each.verified)]
        self._failing[caller] = now
        students = sum(each.verified for each in self._failing)
        none_succeeded = now - self._succeeded_at >= _WINDOW_SECONDS
        if students >= _STUDENTS or (
            none_succeeded and len(self._failing) >= self._callers
        ):
            self._open(now)

    def _forget(self, now: float) -> None:
        while self._failing:
            caller, failed_at = next(iter(self._failing.items()))
            if now - failed_at < _WINDOW_SECONDS:
                break
            del self._failing[caller]

    def _open(self, now: float) -> None:
        calm = now - self._closed_at >= self._max_open_seconds
        if self._state is CircuitState.CLOSED and calm:
            self._openings_in_a_row = 0
        longest = min(
            _OPEN_SECONDS * 2.0**self._openings_in_a_row, self._max_open_seconds
        )
        self._openings_in_a_row = min(self._openings_in_a_row + 1, 64)
        self._open_until = now + longest * (0.8 + 0.2 * self._random())
        self._enter(CircuitState.OPEN)

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._changed_after = self._admitted
        self._failing.clear()
        self._on_change()
