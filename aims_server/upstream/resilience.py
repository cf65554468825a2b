"""What stands between us and the platform at every call: breaker, slots, retries and
the platform's own requests for a pause, in that order and in one place.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from ..deadline import Deadline
from ..errors import (
    ApiError,
    InternalError,
    Overloaded,
    TokenRefused,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .bulkhead import Bulkhead, BulkheadFull
from .circuit_breaker import (
    CircuitBreaker,
    CircuitOpen,
    Permit,
    State,
)
from .retry import RetryBudget, full_jitter

__all__ = ["CallObserver", "ResiliencePolicy"]

Result = TypeVar("Result")

TRIES: Final = 3
_WORTH_REPEATING: Final = (
    UpstreamDropped,
    UpstreamFault,
    UpstreamBusy,
    UpstreamTimeout,
)
# Answers that say nothing of the platform's health: about this student or request,
# or its own wish for a pause, which has its own memory here.
_NO_VERDICT: Final = (TokenRefused, UpstreamRejected)


class CallObserver(Protocol):
    """Who is told of calls: metrics, in production."""

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One call to the platform ended; ``outcome`` is "ok" or an error's code."""

    def call_repeated(self, endpoint: str) -> None:
        """A call is made once more."""


class ResiliencePolicy:
    """Makes calls as carefully as the platform needs.

    A call passes the open breaker's door, waits for a slot (fair between requests,
    refused at once when its deadline cannot be met), and is made again only when it
    is repeatable, the fault is one that a second try can mend, time is left, and the
    retry budget allows it.
    """

    def __init__(
        self,
        slots: Bulkhead,
        breaker: CircuitBreaker,
        budget: RetryBudget,
        observer: CallObserver,
        *,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._slots = slots
        self._breaker = breaker
        self._budget = budget
        self._observer = observer
        self._random = random
        self._clock = clock
        self._sleep = sleep
        self._paused_until: dict[str, float] = {}
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def state(self) -> str:
        """The breaker's: "closed", "open" or "half-open"."""
        return self._breaker.state.value

    async def close(self) -> None:
        """Give up the calls under way."""
        for call in self._running:
            call.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def call(
        self,
        endpoint: str,
        attempt: Callable[[float], Awaitable[Result]],
        deadline: Deadline,
        *,
        repeatable: bool = True,
    ) -> Result:
        """The result of ``attempt(seconds)``, tried up to three times.

        Raises the error of the last try, :class:`Overloaded` when no slot can be had
        in time, :class:`UpstreamUnavailable` while the breaker is open or the
        platform has asked for a pause, :class:`UpstreamTimeout` past the deadline.
        """
        tries = TRIES if repeatable else 1
        for number in range(1, tries + 1):
            try:
                return await self._try(endpoint, attempt, deadline, number, tries)
            except _WORTH_REPEATING as fault:
                pause = _asked(fault) + full_jitter(number, random=self._random)
                if (
                    number == tries
                    or pause >= deadline.remaining()
                    or not self._budget.take()
                ):
                    raise
            await self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _try(
        self,
        endpoint: str,
        attempt: Callable[[float], Awaitable[Result]],
        deadline: Deadline,
        number: int,
        tries: int,
    ) -> Result:
        permit = await self._admission(endpoint, deadline)
        if number == 1:
            self._budget.record_try()
        else:
            self._observer.call_repeated(endpoint)
        remaining = deadline.remaining()
        # A hung connection must leave time for a second try, a slow platform must
        # not lose every first one: half of what is left, then half of that.
        timeout = remaining / 2 if number < tries else remaining
        made = self._observed(endpoint, attempt, permit, timeout)
        # What may be repeated is shared, and awaited by a flight that nobody can
        # cancel; what may not has an asker of its own.
        return await (made if tries > 1 else self._run_uncancelled(made))

    async def _run_uncancelled(self, made: Coroutine[Any, Any, Result]) -> Result:
        """Await a call whose asker may leave: its slot is free only when curl is done
        with it.
        """
        call = asyncio.ensure_future(made)
        call.add_done_callback(_looked_at)
        await asyncio.wait([call])
        return call.result()

    async def _admission(self, endpoint: str, deadline: Deadline) -> Permit:
        """A slot and the breaker's leave; the call gives both back."""
        self._check_pause(endpoint)
        if self._breaker.state is State.OPEN:
            # No reason to stand in line: this raises, or, if the time to be open has
            # ended since the line above, gives a probe's place that is not used yet.
            self._permit().discard()
        await self._enter_line(deadline)
        try:
            self._check_pause(endpoint)  # it may have been asked for in the meantime
            return self._permit()
        except BaseException:
            self._slots.release(None)
            raise

    async def _observed(
        self,
        endpoint: str,
        attempt: Callable[[float], Awaitable[Result]],
        permit: Permit,
        allowed: float,
    ) -> Result:
        began = self._clock()
        outcome = InternalError.code  # unless it ends in a way that is foreseen
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            result = await attempt(allowed)
        except ApiError as fault:
            outcome = fault.code
            self._record_outcome(endpoint, fault, permit, self._clock() - began)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        else:
            outcome = "ok"
            permit.success(self._clock() - began)
            return result
        finally:
            seconds = self._clock() - began
            self._running.discard(task)
            permit.discard()  # only the first verdict counts
            self._slots.release(seconds)
            self._observer.call_finished(endpoint, outcome, seconds)

    def _record_outcome(
        self, endpoint: str, fault: ApiError, permit: Permit, seconds: float
    ) -> None:
        if isinstance(fault, UpstreamUnavailable) and fault.retry_after is not None:
            # Of calls that were under way together, the longest wish counts.
            self._paused_until[endpoint] = max(
                self._paused_until.get(endpoint, 0.0), self._clock() + fault.retry_after
            )
        if isinstance(fault, _NO_VERDICT) or type(fault) is UpstreamUnavailable:
            permit.discard()
        else:
            permit.failure(seconds)

    def _check_pause(self, endpoint: str) -> None:
        left = self._paused_until.get(endpoint, 0.0) - self._clock()
        if left > 0:
            raise UpstreamUnavailable(retry_after=left)

    def _permit(self) -> Permit:
        try:
            return self._breaker.admit()
        except CircuitOpen as refusal:
            raise UpstreamUnavailable(retry_after=refusal.retry_after) from None

    async def _enter_line(self, deadline: Deadline) -> None:
        if deadline.expired:
            raise UpstreamTimeout
        try:
            # A request's calls share its deadline, so that names its place in line.
            await self._slots.acquire(id(deadline), deadline)
        except BulkheadFull as refusal:
            raise Overloaded(retry_after=refusal.wait) from None


def _asked(fault: ApiError) -> float:
    return fault.retry_after or 0.0


def _looked_at(call: "asyncio.Future[Any]") -> None:
    """Ask for the outcome of a call that nobody may be waiting for any more."""
    if not call.cancelled():
        call.exception()
