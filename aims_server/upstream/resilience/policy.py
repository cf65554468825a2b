"""Owns how a call is made: with retries after failures and hedges when it is late.
Reports each try to the breaker, the budgets and the metrics.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from ...deadline import Deadline
from ...errors import (
    ApiError,
    InternalError,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .admission import Admission, AskedToPause
from .calls import Attempt, Call, CallerKey, CallObserver
from .hanging import Hanging, NewestAnswer
from .hedging import GaveWay, Hedging
from .outcomes import record_fault
from .retry import RetryBudget
from .retry_waits import RetryWaits

__all__ = ["ResiliencePolicy"]

Result = TypeVar("Result")

# Failures that a retry may mend. A time-out is none: the call had all the time that
# there was.
_WORTH_REPEATING: Final = (
    UpstreamDropped,
    UpstreamFault,
    UpstreamUnavailable,
    GaveWay,
)
# Failures after which another call under way may still succeed.
_INCONCLUSIVE: Final = (*_WORTH_REPEATING, UpstreamTimeout)


class ResiliencePolicy:
    """Makes calls with retries and hedges.

    >>> from .bulkhead import Bulkhead
    >>> from .endpoint_breakers import EndpointBreakers
    >>> class Uncounted(CallObserver): ...
    >>> async def example():
    ...     retries = RetryBudget()
    ...     policy = ResiliencePolicy(
    ...         Admission(Bulkhead(1), EndpointBreakers(["cards"])), Uncounted(),
    ...         retries=retries, hedges=retries.for_hedges(),
    ...         random=lambda: 0.0)
    ...     tries = []
    ...     async def attempt(seconds, *, fresh):
    ...         tries.append(seconds)
    ...         if len(tries) == 1:
    ...             raise UpstreamDropped
    ...         return "the second try's answer"
    ...     student, deadline = CallerKey.student(1), Deadline(60.0)
    ...     return await policy.call("cards", student, attempt, deadline)
    >>> asyncio.run(example())
    "the second try's answer"

    A repeatable call is retried after a failure if a retry may mend it, time is left,
    and the budget ``retries`` allows it. A late one is hedged if a slot is free and the
    budget ``hedges``, of the same `tries`, allows it. A hedge that is answered first
    costs no budget: if every fifth call hangs, all can be hedged. Nor is any needed for
    a call that hangs: it is hedged, or, while others find no slot, ended, and made
    again once they do.

    ``on_failure`` is called for each failed call, with endpoint, error and seconds.
    `Hanging` explains ``hanging_seconds``, `record_fault` ``failing_seconds`` and which
    failures count for the breakers, `RetryWaits` ``random`` and ``background_seconds``.
    """

    def __init__(
        self,
        admission: Admission,
        observer: CallObserver,
        *,
        retries: RetryBudget,
        hedges: RetryBudget,
        random: Callable[[], float],
        on_failure: Callable[[str, UpstreamError, float], object] = lambda *_: None,
        failing_seconds: float = 15.0,
        hanging_seconds: float = 10.0,
        background_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breakers = admission.breakers
        self.reserve = admission.reserve
        self._admission = admission
        self._observer = observer
        self._retries = retries
        self._hedges = hedges
        self._waits = RetryWaits(
            admission, random=random, background_seconds=background_seconds
        )
        self._on_failure = on_failure
        self._failing_seconds = failing_seconds
        self._clock = clock
        newest = NewestAnswer()  # of all endpoints
        self._hedging: defaultdict[str, Hedging] = defaultdict(
            lambda: Hedging(
                inconclusive=_INCONCLUSIVE,
                hanging=Hanging(hanging_seconds, newest, clock=clock),
                crowded=admission.is_crowded,
                clock=clock,
            )
        )
        self._uncancelled: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Cancel the calls under way."""
        calls = [*self._uncancelled]
        for hedging in self._hedging.values():
            calls += hedging.callers
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def call(
        self,
        endpoint: str,
        caller: CallerKey,
        attempt: Attempt[Result],
        deadline: Deadline,
        *,
        repeatable: bool = True,
    ) -> Result:
        """The result of ``attempt``, retried while that may help.

        Raises the error of the last try that failed with an answer, what
        :meth:`Admission.enter` raises, or :class:`UpstreamTimeout` if there was no
        answer before the deadline.
        """
        call = Call(endpoint, caller, attempt, deadline, repeatable)
        answered: ApiError | None = None
        try:
            number, fresh = 0, False
            while True:
                try:
                    permit = await self._admission.enter(endpoint, caller, deadline)
                except AskedToPause as asked:
                    await self._waits.until_entry(asked.seconds, call)
                    continue
                number += 1
                self._count_try(number, call)
                began = self._clock()
                try:
                    fresh = fresh or permit.wants_new_connection
                    result = await self._hedged(call, fresh=fresh)
                except ApiError as fault:
                    pause = self._pause_before_retry(number, fault, call)
                    seconds = self._clock() - began
                    record_fault(
                        permit,
                        fault,
                        seconds,
                        failing_seconds=self._failing_seconds,
                        again=pause is not None,
                    )
                    if pause is None:
                        raise
                    fresh = isinstance(fault, GaveWay)
                    # A call that gave way was not answered.
                    answered = answered if fresh else fault
                except BaseException:
                    permit.discard()
                    raise
                else:
                    permit.success()
                    return result
                await self._waits.wait_out(pause, call, after_others=fresh)
        except UpstreamTimeout as late:
            raise answered or late from None
        finally:
            # Its traceback holds this frame: a cycle that would keep the token in these
            # frames until the garbage collector runs.
            del answered

    def _count_try(self, number: int, call: Call[Any]) -> None:
        if number > 1:
            self._observer.call_repeated(call.endpoint)
        else:
            self._retries.tries.add(call.caller)

    def _hedged(
        self, call: Call[Result], *, fresh: bool
    ) -> Coroutine[Any, Any, Result]:
        if not call.repeatable:
            return self._run_uncancelled(self._made(call))
        # A flight awaits a repeatable call, and no request can cancel it.
        hedging = self._hedging[call.endpoint]
        return hedging.run(self._made(call, fresh=fresh), partial(self._hedge, call))

    def _hedge(
        self, call: Call[Result], hangs: bool
    ) -> Coroutine[Any, Any, Result] | None:
        """A hedge with its slot, or None. It needs no budget if the call ``hangs``: one
        that takes the place of a dead call is no more load.
        """
        if not self._admission.try_enter(call.endpoint, call.caller):
            return None
        if not hangs and not self._hedges.take(call.caller):
            self._admission.leave(call.caller, None)
            return None
        self._observer.call_hedged(call.endpoint, "started")
        return self._made_hedge(call, hangs)

    async def _made_hedge(self, call: Call[Result], hangs: bool) -> Result:
        result = await self._made(call, fresh=True)
        self._observer.call_hedged(call.endpoint, "won")
        if not hangs:
            self._hedges.give_back(call.caller)
        return result

    async def _run_uncancelled(self, made: Coroutine[Any, Any, Result]) -> Result:
        """Await a call that goes on if its caller is cancelled, since its slot is free
        only when curl has finished.
        """
        call = asyncio.create_task(made)
        self._uncancelled.add(call)
        call.add_done_callback(self._on_end)
        try:
            return await asyncio.shield(call)
        finally:
            del call  # as in `call`

    def _on_end(self, call: asyncio.Task[Any]) -> None:
        self._uncancelled.discard(call)
        if not call.cancelled():
            call.exception()  # read it, since its caller may be gone

    async def _made(self, call: Call[Result], *, fresh: bool = False) -> Result:
        """Make one call on a slot taken before, and release the slot."""
        began = self._clock()
        outcome = InternalError.code  # unless it ends as below
        try:
            result = await call.attempt(call.deadline.remaining(), fresh=fresh)
        except ApiError as fault:
            outcome = fault.code
            if isinstance(fault, UpstreamError):
                self._on_failure(call.endpoint, fault, self._clock() - began)
            if isinstance(fault, UpstreamUnavailable) and fault.retry_after:
                # Before the slot is free, or one more call would be made.
                self._admission.pause(call.endpoint, call.caller, fault.retry_after)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        else:
            outcome = "ok"
            self._hedging[call.endpoint].answered(began)
            return result
        finally:
            took = self._clock() - began
            self._admission.leave(call.caller, took)
            self._observer.call_finished(call.endpoint, outcome, took)

    def _pause_before_retry(
        self, number: int, fault: ApiError, call: Call[Result]
    ) -> float | None:
        """Seconds until the retry, or None for no retry."""
        if not (call.repeatable and isinstance(fault, _WORTH_REPEATING)):
            return None
        pause = self._waits.before_retry(number, fault.retry_after, call)
        if pause is None or isinstance(fault, GaveWay):
            return pause  # in place of a dead call: no more load
        return pause if self._retries.take(call.caller) else None
