"""Decides whether and when a call may be made: by pauses, breakers and slots."""

import time
from collections.abc import Callable
from math import inf
from typing import Final

from ...deadline import Clock, Deadline
from ...errors import Overloaded, UpstreamTimeout, UpstreamUnavailable
from ...primitives import CircuitState
from .bulkhead import Bulkhead, BulkheadFull
from .calls import CallerKey
from .circuit_breaker import CircuitOpen
from .endpoint_breakers import CallPermit, EndpointBreakers
from .pauses import Pauses
from .reservations import Reservation

__all__ = ["Admission", "AskedToPause"]

_JUST_SECONDS: Final = 1.0  # for so long one that was refused counts as waiting


class AskedToPause(Exception):
    """While a call waited for its slot, the platform asked its caller to pause; the
    pause lasts ``seconds`` from now.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a pause of {seconds:.1f} s")
        self.seconds = seconds


class Admission:
    """Admits a call with a slot and a breaker's permit, or raises why not.

    >>> async def example():
    ...     admission = Admission(Bulkhead(1), EndpointBreakers(["cards"]))
    ...     student = CallerKey.student(1)
    ...     permit = await admission.enter("cards", student, Deadline(5.0))
    ...     permit.success()
    ...     admission.leave(student, 0.2)
    ...     admission.pause("cards", student, 60.0)
    ...     await admission.enter("cards", student, Deadline(5.0))
    >>> import asyncio
    >>> asyncio.run(example())
    Traceback (most recent call last):
    ...
    aims_server.errors.UpstreamUnavailable: The attendance platform is not available ...

    ``on_overload`` is called with the expected seconds of a call whenever one is
    refused because it would end too late.
    """

    def __init__(
        self,
        slots: Bulkhead,
        breakers: EndpointBreakers,
        *,
        on_overload: Callable[[float], object] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.breakers = breakers
        self._slots = slots
        self._on_overload = on_overload
        self._clock = clock
        self._refused_at = -inf  # the last call or page without a slot in time
        self._pauses: dict[str, Pauses] = {}

    def reserve(self, caller: CallerKey, calls: int, seconds: float) -> Reservation:
        """Admit a page of so many ``calls`` as a whole, until the reservation ends.

        Raises :class:`Overloaded` if not all could be made within ``seconds``.
        """
        try:
            return self._slots.reserve(caller, calls, seconds)
        except BulkheadFull as refusal:
            raise self._overloaded(refusal) from None

    async def enter(
        self, endpoint: str, caller: CallerKey, deadline: Deadline
    ) -> CallPermit:
        """Take a slot and return the breaker's permit; :meth:`leave` returns the slot.

        Raises :class:`UpstreamUnavailable` during a pause of the caller or the endpoint
        and while the breaker is open, :class:`Overloaded` if no slot can be free in
        time, :class:`UpstreamTimeout` after the deadline, and :class:`AskedToPause`.
        """
        pause = self.pause_left(endpoint, caller)
        if pause > 0:
            raise UpstreamUnavailable(retry_after=pause)
        if deadline.expired or not self._slots.try_acquire(caller):
            await self._wait_for_slot(endpoint, caller, deadline)
        try:
            return self._permit(endpoint, caller)
        except BaseException:
            self._slots.release(caller, None)
            raise

    def try_enter(self, endpoint: str, caller: CallerKey) -> bool:
        """Take a slot for a hedge, which needs no permit. False if no slot is free, the
        caller has to pause or the breaker is not closed.
        """
        return (
            self.pause_left(endpoint, caller) == 0
            and self.breakers.state(endpoint) is CircuitState.CLOSED
            and self._slots.try_acquire(caller)
        )

    def is_crowded(self) -> bool:
        """Whether no slot is free, though a call waits for one, or one or a page has
        just been refused.
        """
        slots = self._slots
        just_refused = self._clock() - self._refused_at < _JUST_SECONDS
        return slots.pool.is_full and (slots.is_waited_for or just_refused)

    def leave(self, caller: CallerKey, seconds: float | None) -> None:
        """Return a slot after a call of ``seconds``; None if no call was made."""
        self._slots.release(caller, seconds)

    def pause(self, endpoint: str, caller: CallerKey, seconds: float) -> None:
        """Note that the platform asked this caller to pause for ``seconds``."""
        pauses = self._pauses.setdefault(endpoint, Pauses(clock=self._clock))
        pauses.add(caller, seconds)

    def pause_left(self, endpoint: str, caller: CallerKey) -> float:
        """Seconds for which this caller must not call this endpoint."""
        pauses = self._pauses.get(endpoint)
        return 0.0 if pauses is None else pauses.left(caller)

    async def _wait_for_slot(
        self, endpoint: str, caller: CallerKey, deadline: Deadline
    ) -> None:
        if self.breakers.state(endpoint) is CircuitState.OPEN:
            # Do not wait for a slot: this raises. If the breaker has just become
            # half-open, it takes a probe's place, which is not used yet.
            self._permit(endpoint, caller).discard()
        if deadline.expired:
            raise UpstreamTimeout
        try:
            await self._slots.wait_for_turn(caller, deadline)
        except BulkheadFull as refusal:
            raise self._overloaded(refusal) from None
        pause = self.pause_left(endpoint, caller)
        if pause > 0:
            self._slots.release(caller, None)
            raise AskedToPause(pause)

    def _overloaded(self, refusal: BulkheadFull) -> Overloaded:
        self._refused_at = self._clock()
        self._on_overload(self._slots.recent_seconds)
        return Overloaded(retry_after=refusal.wait)

    def _permit(self, endpoint: str, caller: CallerKey) -> CallPermit:
        try:
            return self.breakers.admit(endpoint, caller)
        except CircuitOpen as refusal:
            raise UpstreamUnavailable(retry_after=refusal.retry_after) from None
