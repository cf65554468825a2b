"""Decides by the outcomes of an endpoint's calls whether more are let through."""

import random as _random
import time
from collections.abc import Callable
from math import inf
from typing import Final

from ...deadline import Clock
from ...primitives import CircuitState
from .calls import CallerKey

__all__ = ["RECOVERY_PROBE", "CircuitBreaker", "CircuitOpen"]

_STUDENTS: Final = 3
_WINDOW_SECONDS: Final = 10.0
# In a simulated outage of five minutes (three students a second, each call fails at
# once) calls are refused for 1.6 s after the endpoint is back, 5.2 s at most, and a
# tenth of the usual calls are made meanwhile. Doubled once after failed probes it was
# 3.5 s, 10.9 s and a fourteenth.
_OPEN_SECONDS: Final = 5.0
_VERIFIED_FIRST_SECONDS: Final = 30.0
# For so long others wait for a probe. An older one keeps nobody from probing: made just
# before the endpoint was back, it may hang for as long as a page is gathered.
_PROBE_SECONDS: Final = 5.0

# Used for each call: looking up an Enum's member takes as long as calling a method.
_CLOSED: Final = CircuitState.CLOSED
_HALF_OPEN: Final = CircuitState.HALF_OPEN

RECOVERY_PROBE: Final = CallerKey.student("recovery probe")


class CircuitOpen(Exception):
    """The call may not be made; try again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"circuit open for {retry_after:.1f} s more")
        self.retry_after = retry_after


class CircuitBreaker:
    """Stops calls to an endpoint that fails for everybody; finds out when it is back.

    >>> breaker = CircuitBreaker()
    >>> for student in map(CallerKey.student, (1, 1, 2, 3)):
    ...     breaker.leave(breaker.enter(student), student, failed=True)
    >>> breaker.state
    <CircuitState.OPEN: 'open'>

    *Closed*, it counts the callers that failed in the last 10 s, each once, by calls
    that began after the last success. It opens at 3 verified students, or at `callers`
    of any kind if no call has succeeded for 10 s. So one caller alone cannot open it,
    nor can calls left hanging from before the endpoint was well again. Any answer is a
    success, however slow.

    *Open*, it lets nothing through for 5 s, multiplied by a random 0.8-1.0 so that
    workers do not probe in step.

    *Half-open*, it lets `probes` calls through at a time, not counting those that have
    hung for 5 s. The first success closes it; failures within 10 s open it by the rule
    above. A caller whose probe has so failed may not probe for 10 s. If a verified
    student has asked within 30 s, only verified students and `RECOVERY_PROBE`, which is
    nobody's, may probe: invented tokens prove nothing.

    A call counts only in the state in which it was admitted. `on_change` is called at
    every change of state.
    """

    def __init__(
        self,
        *,
        callers: int = 20,
        probes: int = 3,
        clock: Clock = time.monotonic,
        random: Callable[[], float] = _random.random,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._callers = callers
        self._probes = probes
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._admitted = 0  # calls so far; a call is identified by its number
        self._changed_after = 0  # the last call that began before the state changed
        self._succeeded_after = 0  # the last call that began before the last success
        self._open_until = 0.0
        self._probing: dict[int, float] = {}  # the probes under way: when each began
        self._verified_asked_at = -inf
        self._succeeded_at = -inf
        # When each caller last failed, in order of time. Never more than `callers`.
        self._failing: dict[CallerKey, float] = {}

    @property
    def state(self) -> CircuitState:
        """The present state; an open breaker whose time is over is half-open."""
        if self._state is CircuitState.OPEN and self._clock() >= self._open_until:
            self._enter(CircuitState.HALF_OPEN)
        return self._state

    def enter(self, caller: CallerKey) -> int:
        """Let one call through and return its number, with which `leave` must be called
        once. Raises CircuitOpen.
        """
        if caller.verified and caller is not RECOVERY_PROBE:
            self._verified_asked_at = self._clock()
        if self._state is not _CLOSED:
            if self.state is CircuitState.OPEN:
                raise CircuitOpen(self._open_until - self._clock())
            if not self._may_probe(caller):
                raise CircuitOpen(_PROBE_SECONDS)
            self._probing[self._admitted + 1] = self._clock()
        self._admitted += 1
        return self._admitted

    def wants_new_connection(self, number: int) -> bool:
        """Whether this call, which has not left, is a probe on a new connection: of
        those in a row every other one, the first among them. Kept connections may
        hang, and no new one may be had.
        """
        return number in self._probing and (number - self._changed_after) % 2 == 1

    def leave(self, number: int, caller: CallerKey, *, failed: bool | None) -> None:
        """A call has ended; ``failed`` is None if that says nothing of the endpoint."""
        began = self._probing.pop(number, inf)
        if failed is None or number <= self._changed_after:
            return
        if failed:
            # One that hung for longer says nothing of now: others probe since then.
            stale = self._clock() - began >= _WINDOW_SECONDS
            if number > self._succeeded_after and not stale:
                self._count(caller)
            return
        self._succeeded_after = self._admitted
        self._succeeded_at = self._clock()
        self._failing.clear()
        if self._state is _HALF_OPEN:
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
            # At most two of them are verified; keep those, they count for the opening.
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
        self._open_until = now + _OPEN_SECONDS * (0.8 + 0.2 * self._random())
        self._enter(CircuitState.OPEN)

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._changed_after = self._admitted
        self._failing.clear()
        self._on_change()
