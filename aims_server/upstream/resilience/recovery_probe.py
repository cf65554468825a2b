"""Probes endpoints whose breaker is half-open, in case no student calls them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ...primitives import CircuitState, watched_task
from .circuit_breaker import RECOVERY_PROBE, CircuitOpen
from .endpoint_breakers import EndpointBreakers

__all__ = ["RecoveryProbe"]

_INTERVAL_SECONDS: Final = 30.0


class RecoveryProbe:
    """Calls an endpoint whose breaker is half-open every 30 s, the endpoints in turn.

    >>> from aims_server.upstream.resilience import CallerKey
    >>> async def example():
    ...     breakers = EndpointBreakers(["cards"])
    ...     probe = RecoveryProbe(breakers, ask=print)
    ...     for student in (1, 2, 3):
    ...         breakers.admit("cards", CallerKey.student(student)).failure()
    ...     print(probe.is_running)
    ...     await probe.close()
    >>> asyncio.run(example())
    True

    ``ask(endpoint)`` makes the call without a student's token. It proves that the
    platform can be reached and that the endpoint does not answer with a fault of its
    own. That closes the breaker; if students' calls still fail, they open it again.

    It runs while any breaker is not closed.
    """

    def __init__(
        self,
        breakers: EndpointBreakers,
        ask: Callable[[str], Awaitable[object]],
    ) -> None:
        self._breakers = breakers
        self._ask = ask
        self._turns = list(breakers.states())  # the one probed last stands last
        self._task: asyncio.Task[None] | None = None
        breakers.subscribe(self._on_change)

    @property
    def is_running(self) -> bool:
        """Whether it probes now."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """Stop probing; cancel the call under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_change(self, *_: object) -> None:
        if not self.is_running:
            self._task = watched_task(self._run())

    async def _run(self) -> None:
        while self._breakers.worst is not CircuitState.CLOSED:
            await asyncio.sleep(_INTERVAL_SECONDS)
            for endpoint in self._turns:
                if self._breakers.state(endpoint) is CircuitState.HALF_OPEN:
                    self._turns.remove(endpoint)
                    self._turns.append(endpoint)
                    await self._probe(endpoint)
                    break

    async def _probe(self, endpoint: str) -> None:
        try:
            permit = self._breakers.admit(endpoint, RECOVERY_PROBE)
        except CircuitOpen:
            return  # students' calls are probing it just now
        try:
            await self._ask(endpoint)
        except UpstreamUnreachable:
            permit.unreachable()
        except UpstreamTimeout:
            return
        except UpstreamError:
            permit.answered()
        else:
            permit.success()
        finally:
            permit.discard()  # unless it has told its outcome
