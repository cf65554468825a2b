"""What stands between us and the platform at every call: pauses, breakers, slots and
retries, in that order and in one place.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from ..deadline import Deadline
from ..errors import (
    ApiError,
    InternalError,
    Overloaded,
    RateLimited,
    TokenRefused,
    UpstreamDropped,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from .bulkhead import Bulkhead, BulkheadFull
from .callers import CallerKey
from .circuit_breaker import CircuitOpen, State
from .endpoint_breakers import CallPermit, EndpointBreakers
from .pauses import Pauses
from .retry import RetryBudget, full_jitter

__all__ = ["CallObserver", "ResiliencePolicy"]

Result = TypeVar("Result")

# What fails fast and may be mended by the next try. A time-out is not: the call had
# all the time that there was.
_WORTH_REPEATING: Final = (UpstreamDropped, UpstreamFault, UpstreamUnavailable)
# Answers about this student or this request, which say nothing of the endpoint.
_NO_VERDICT: Final = (TokenRefused, UpstreamRejected, RateLimited)


class _Again(Exception):
    """A try failed, and another one is to follow after a pause."""

    def __init__(self, fault: ApiError, pause: float) -> None:
        self.fault = fault
        self.pause = pause


class CallObserver(Protocol):
    """Who is told of calls: metrics, in production."""

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One call to the platform ended; ``outcome`` is "ok" or an error's code."""

    def call_repeated(self, endpoint: str) -> None:
        """A call is made once more."""


class ResiliencePolicy:
    """Makes calls as carefully as the platform needs.

    A call is refused while its caller or its endpoint has been asked to pause, or its
    endpoint's breaker is open. It waits for a slot (in its caller's line, refused at
    once when its deadline cannot be met), and is made again after a failure as long
    as it is repeatable, the fault is one that a second try can mend, time is left, and
    the retry budget allows it.

    A time-out counts against the endpoint only if the call had at least
    ``sick_seconds``: a slow platform that answers is not a sick one.
    """

    def __init__(
        self,
        slots: Bulkhead,
        breakers: EndpointBreakers,
        budget: RetryBudget,
        observer: CallObserver,
        *,
        random: Callable[[], float],
        sick_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.breakers = breakers
        self._slots = slots
        self._budget = budget
        self._observer = observer
        self._random = random
        self._sick_seconds = sick_seconds
        self._clock = clock
        self._sleep = sleep
        self._pauses: dict[str, Pauses] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Give up the calls under way."""
        for call in self._running:
            call.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def call(
        self,
        endpoint: str,
        caller: CallerKey,
        attempt: Callable[[float], Awaitable[Result]],
        deadline: Deadline,
        *,
        repeatable: bool = True,
    ) -> Result:
        """The result of ``attempt(seconds)``, tried again while that may help.

        Raises the error of the last try that was answered, :class:`Overloaded` when no
        slot can be had in time, :class:`UpstreamUnavailable` while the breaker is open
        or the platform has asked for a pause, :class:`UpstreamTimeout` when there was
        no answer before the deadline.
        """
        answered: ApiError | None = None
        try:
            for number in count(1):
                try:
                    return await self._try(
                        number, endpoint, caller, attempt, deadline, repeatable
                    )
                except UpstreamTimeout:
                    if answered is None:
                        raise
                    raise answered from None
                except _Again as again:
                    answered, pause = again.fault, again.pause
                await self._sleep(pause)
        finally:
            del answered  # its traceback holds this frame: see `_observed`
        raise AssertionError("the last try returns or raises")

    async def _try(
        self,
        number: int,
        endpoint: str,
        caller: CallerKey,
        attempt: Callable[[float], Awaitable[Result]],
        deadline: Deadline,
        repeatable: bool,
    ) -> Result:
        """One try, whose outcome the breaker is told; raises _Again if another one is
        to follow.
        """
        permit = await self._admission(endpoint, caller, deadline)
        if number == 1:
            self._budget.record_try(caller)
        else:
            self._observer.call_repeated(endpoint)
        made = self._observed(endpoint, caller, attempt, deadline.remaining())
        began = self._clock()
        with permit:
            try:
                # What may be repeated is shared, and awaited by a flight that nobody
                # can cancel; what may not has an asker of its own.
                result = await (made if repeatable else self._run_uncancelled(made))
            except ApiError as fault:
                self._note_pause(endpoint, caller, fault)
                pause = (
                    self._pause_before_retry(number, fault, caller, deadline)
                    if repeatable
                    else None
                )
                seconds = self._clock() - began
                self._record_fault(permit, fault, seconds, again=pause is not None)
                if pause is None:
                    raise
                raise _Again(fault, pause) from None
            permit.success()
            return result

    async def _run_uncancelled(self, made: Coroutine[Any, Any, Result]) -> Result:
        """Await a call whose asker may leave: its slot is free only when curl is done
        with it.
        """
        call = asyncio.ensure_future(made)
        call.add_done_callback(_looked_at)
        try:
            await asyncio.wait([call])
            return call.result()
        finally:
            del call  # its error's traceback holds this frame: see `_observed`

    async def _admission(
        self, endpoint: str, caller: CallerKey, deadline: Deadline
    ) -> CallPermit:
        """A slot, which the call gives back, and the breaker's leave."""
        self._check_pause(endpoint, caller)
        if self.breakers.state(endpoint) is State.OPEN:
            # No reason to stand in line: this raises, or, if the time to be open has
            # ended since the line above, gives a probe's place that is not used yet.
            self._permit(endpoint, caller).discard()
        await self._enter_line(caller, deadline)
        try:
            self._check_pause(endpoint, caller)  # asked for in the meantime
            return self._permit(endpoint, caller)
        except BaseException:
            self._slots.release(caller, None)
            raise

    async def _observed(
        self,
        endpoint: str,
        caller: CallerKey,
        attempt: Callable[[float], Awaitable[Result]],
        seconds: float,
    ) -> Result:
        """One try, with its slot in hand, which is free afterwards."""
        began = self._clock()
        outcome = InternalError.code  # unless it ends in a way that is foreseen
        self._running.add(_this_task())
        try:
            result = await attempt(seconds)
        except ApiError as fault:
            outcome = fault.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        else:
            outcome = "ok"
            return result
        finally:
            # No local name for the task: a refusal's traceback holds this frame, and
            # the task holds the refusal; a circle only the collector would find.
            self._running.discard(_this_task())
            took = self._clock() - began
            self._slots.release(caller, took)
            self._observer.call_finished(endpoint, outcome, took)

    def _record_fault(
        self, permit: CallPermit, fault: ApiError, seconds: float, *, again: bool
    ) -> None:
        """What a failed try says of the endpoint; one that is made again failed nobody
        yet.
        """
        if isinstance(fault, UpstreamUnreachable):
            permit.unreachable()
        elif isinstance(fault, UpstreamTimeout) and seconds < self._sick_seconds:
            permit.discard()
        elif (
            again
            or isinstance(fault, _NO_VERDICT)
            or type(fault) is UpstreamUnavailable  # a 429, which has its own memory
        ):
            permit.answered()
        else:
            permit.failure()

    def _pause_before_retry(
        self, number: int, fault: ApiError, caller: CallerKey, deadline: Deadline
    ) -> float | None:
        """Seconds until the next try, or None if there is to be none."""
        if not isinstance(fault, _WORTH_REPEATING):
            return None
        pause = (fault.retry_after or 0.0) + full_jitter(number, random=self._random)
        if pause >= deadline.remaining() or not self._budget.take(caller):
            return None
        return pause

    def _note_pause(self, endpoint: str, caller: CallerKey, fault: ApiError) -> None:
        if isinstance(fault, UpstreamUnavailable) and fault.retry_after is not None:
            if endpoint not in self._pauses:
                self._pauses[endpoint] = Pauses(clock=self._clock)
            self._pauses[endpoint].wish(caller, fault.retry_after)

    def _check_pause(self, endpoint: str, caller: CallerKey) -> None:
        pauses = self._pauses.get(endpoint)
        left = pauses.left(caller) if pauses is not None else 0.0
        if left > 0:
            raise UpstreamUnavailable(retry_after=left)

    def _permit(self, endpoint: str, caller: CallerKey) -> CallPermit:
        try:
            return self.breakers.admit(endpoint, caller)
        except CircuitOpen as refusal:
            raise UpstreamUnavailable(retry_after=refusal.retry_after) from None

    async def _enter_line(self, caller: CallerKey, deadline: Deadline) -> None:
        if deadline.expired:
            raise UpstreamTimeout
        try:
            await self._slots.acquire(caller, deadline)
        except BulkheadFull as refusal:
            raise Overloaded(retry_after=refusal.wait) from None


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _looked_at(call: "asyncio.Future[Any]") -> None:
    """Ask for the outcome of a call that nobody may be waiting for any more."""
    if not call.cancelled():
        call.exception()
