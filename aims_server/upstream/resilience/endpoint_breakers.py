"""Owns a server's circuit breakers: one for each endpoint, one for connections."""

import random as _random
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from ...deadline import Clock
from ...primitives import CircuitState
from .calls import CallerKey
from .circuit_breaker import CircuitBreaker

__all__ = ["CallPermit", "EndpointBreakers"]

_ANYBODY: Final = CallerKey.student("anybody")
_SEVERITY: Final = list(CircuitState)  # from closed to open


class CallPermit:
    """Permission to make one call. The first method called reports the outcome; later
    ones change nothing.
    """

    __slots__ = (
        "_caller",
        "_connection_number",
        "_connections",
        "_endpoint",
        "_number",
    )

    def __init__(
        self, connections: CircuitBreaker, endpoint: CircuitBreaker, caller: CallerKey
    ) -> None:
        self._connections: CircuitBreaker | None = connections
        self._endpoint = endpoint
        self._caller = caller
        self._connection_number = connections.enter(_ANYBODY)
        try:
            self._number = endpoint.enter(caller)
        except BaseException:
            connections.leave(self._connection_number, _ANYBODY, failed=None)
            raise

    @property
    def wants_new_connection(self) -> bool:
        """Whether the call, which has not ended, is to see on a new connection whether
        server or endpoint are back.
        """
        connections = self._connections
        return self._endpoint.wants_new_connection(self._number) or (
            connections is not None
            and connections.wants_new_connection(self._connection_number)
        )

    def success(self) -> None:
        """The endpoint answered as it should."""
        self._leave(unreachable=False, failed=False)

    def failure(self) -> None:
        """The server was reached, but the endpoint failed for this caller."""
        self._leave(unreachable=False, failed=True)

    def answered(self) -> None:
        """The server was reached; nothing new is known about the endpoint."""
        self._leave(unreachable=False, failed=None)

    def unreachable(self) -> None:
        """No connection could be made."""
        self._leave(unreachable=True, failed=None)

    def discard(self) -> None:
        """The call says nothing about the server or the endpoint."""
        self._leave(unreachable=None, failed=None)

    def _leave(self, *, unreachable: bool | None, failed: bool | None) -> None:
        connections, self._connections = self._connections, None
        if connections is None:
            return
        # Each failed connection counts by itself, whoever the caller is.
        wanted = CallerKey.student(object()) if unreachable else _ANYBODY
        connections.leave(self._connection_number, wanted, failed=unreachable)
        self._endpoint.leave(self._number, self._caller, failed=failed)


class EndpointBreakers:
    """One :class:`CircuitBreaker` for each endpoint, and one for connections.

    >>> breakers = EndpointBreakers(["login", "cards"])
    >>> for student in (1, 2, 3):
    ...     breakers.admit("cards", CallerKey.student(student)).failure()
    >>> [str(state) for state in breakers.states().values()]
    ['closed', 'open']
    >>> for _ in range(3):
    ...     breakers.admit("login", CallerKey.address("192.0.2.7")).unreachable()
    >>> [str(state) for state in breakers.states().values()]
    ['open', 'open']

    An endpoint is open while its own breaker or the connections' breaker is open. The
    latter opens when three connections in a row failed, of whichever callers: no caller
    can cause that. Any answer of any endpoint closes it.

    A subscriber is called with an endpoint and its new state at each change.
    """

    def __init__(
        self,
        endpoints: Collection[str],
        *,
        clock: Clock = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._subscribers: list[Callable[[str, CircuitState], object]] = []
        self._connections = CircuitBreaker(
            clock=clock,
            random=random,
            on_change=lambda: self._notify(*self._breakers),
        )
        self._breakers: Mapping[str, CircuitBreaker] = {
            endpoint: CircuitBreaker(
                clock=clock,
                random=random,
                on_change=partial(self._notify, endpoint),
            )
            for endpoint in endpoints
        }

    def subscribe(self, on_change: Callable[[str, CircuitState], object]) -> None:
        """Call ``on_change`` at every change from now on."""
        self._subscribers.append(on_change)

    @property
    def worst(self) -> CircuitState:
        """The worst of the endpoints' states."""
        return max(map(self.state, self._breakers), key=_SEVERITY.index)

    def state(self, endpoint: str) -> CircuitState:
        """The worse of the endpoint's own state and that of the connections."""
        own, shared = self._breakers[endpoint].state, self._connections.state
        return own if own is shared else max(own, shared, key=_SEVERITY.index)

    def states(self) -> dict[str, CircuitState]:
        """Every endpoint's state."""
        return {endpoint: self.state(endpoint) for endpoint in self._breakers}

    def admit(self, endpoint: str, caller: CallerKey) -> CallPermit:
        """Permit one call, whose outcome must be reported. Raises CircuitOpen."""
        return CallPermit(self._connections, self._breakers[endpoint], caller)

    def _notify(self, *endpoints: str) -> None:
        for endpoint in endpoints:
            for on_change in self._subscribers:
                on_change(endpoint, self.state(endpoint))
