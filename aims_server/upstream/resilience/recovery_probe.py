"""Probes endpoints whose breaker is open while no student calls them."""

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
    """Makes a call every half minute, while a breaker is not closed: the endpoints by
    turns.

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

    ``ask(endpoint)`` makes the call, without any student's token. It proves that the
    platform can be reached and that the endpoint answers with something else than a
    fault of its own. That is enough to close the breaker; if students' calls fail all
    the same, they open it again. An endpoint whose breaker students' calls have closed
    meanwhile is not probed.

    It runs from the first change to a state that is not closed until all are closed.
    """

    def __init__(
        self,
        breakers: EndpointBreakers,
        ask: Callable[[str], Awaitable[object]],
    ) -> None:
        self._breakers = breakers
        self._ask = ask
        self._turns = list(breakers.states())  # the endpoint probed last is last
        self._task: asyncio.Task[None] | None = None
        breakers.subscribe(self._on_change)

    @property
    def is_running(self) -> bool:
        """Whether it probes now."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """Stop, with the call under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_change(self, _: str, state: CircuitState) -> None:
        if state is not CircuitState.CLOSED and not self.is_running:
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
            return  # students are probing it at this moment
        with permit:
            try:
                await self._ask(endpoint)
            except UpstreamUnreachable:
                permit.unreachable()
            except UpstreamTimeout:
                permit.discard()
            except UpstreamError:
                permit.answered()
            else:
                permit.success()
