"""Owns how long a call waits before its next try."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

from .admission import Admission
from .calls import Call
from .retry import full_jitter

__all__ = ["RetryWaits"]

_LOOK_SECONDS: Final = 0.5  # between looks for a slot that nobody else wants


class RetryWaits:
    """The waits of calls between their tries, in seconds.

    >>> from aims_server.deadline import Deadline
    >>> from .bulkhead import Bulkhead
    >>> from .calls import CallerKey
    >>> from .endpoint_breakers import EndpointBreakers
    >>> admission = Admission(Bulkhead(1), EndpointBreakers(["cards"]))
    >>> waits = RetryWaits(admission, random=lambda: 0.5, background_seconds=20.0)
    >>> async def attempt(seconds, *, fresh): ...
    >>> caller = CallerKey.address("192.0.2.7")
    >>> call = Call("cards", caller, attempt, Deadline(30.0), True)
    >>> [waits.before_retry(1, seconds, call) for seconds in (None, 5.0, 15.0)]
    [0.025, 5.025, None]
    >>> late = Call("cards", caller, attempt, Deadline(15.0), True)
    >>> [waits.before_retry(1, seconds, late) for seconds in (None, 5.0)]
    [0.025, None]

    In the last ``background_seconds`` before its deadline no request waits for a call
    any more. So no retry is delayed until then: those who wait would not hear of the
    failure. And then none is made after a ``Retry-After``.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        random: Callable[[], float],
        background_seconds: float,
    ) -> None:
        self._admission = admission
        self._random = random
        self._background_seconds = background_seconds

    def before_retry(
        self, number: int, retry_after: float | None, call: Call[Any]
    ) -> float | None:
        """The wait after failed try ``number``, counted from 1; None for no retry."""
        pause = full_jitter(number - 1, self._random) + (retry_after or 0)
        left = self._left(call)
        if left <= 0 and not retry_after:
            left = call.deadline.remaining()
        return pause if pause < left else None

    async def until_entry(self, seconds: float, call: Call[Any]) -> None:
        """Wait out a pause that the platform asked for while a try waited for its slot.
        Otherwise one rejected call would cost a page all its waiting calls.
        """
        pause = seconds + full_jitter(0, self._random)
        await self.wait_out(pause, call, self._left(call))

    async def wait_out(
        self,
        pause: float,
        call: Call[Any],
        left: float = inf,
        *,
        after_others: bool = False,
    ) -> None:
        """Wait for ``pause`` seconds, if fewer than ``left``, and for pauses that the
        platform asks for meanwhile: of several calls rejected together, each would
        otherwise run into the pause of the next one. With ``after_others`` (it gave way
        to them, and may hang again) wait before that while others find no slot.
        """
        while after_others and not call.deadline.expired:
            if not self._admission.is_crowded():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        while 0 < pause < left:
            await asyncio.sleep(pause)
            left = self._left(call)
            pause = self._admission.pause_left(call.endpoint, call.caller)
            if pause:
                pause += full_jitter(0, self._random)

    def _left(self, call: Call[Any]) -> float:
        """Seconds for which a request may still wait for this call."""
        return call.deadline.remaining() - self._background_seconds
