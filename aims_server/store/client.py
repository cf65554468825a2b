"""Owns the circuit to the store: whether it is called, and the calls.

The breaker of `upstream` counts by callers and uses some of their calls as probes. Here
no request may be a probe: a task pings, and sends what was held back, before any other
call is made.
"""

import asyncio
import logging
import random as _random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from ..deadline import Clock
from ..logs import RateLimitedLog
from ..primitives import CircuitState, watched_task
from .connection import Connection, Overdue, Refused, StoreError, end

__all__ = ["StoreClient", "StoreObserver", "StoreUnavailable"]

_log = logging.getLogger(__name__)

_LAST_CALLS: Final = 20
_MOST_FAILURES: Final = 10
_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0


class StoreUnavailable(Exception):
    """The store did not answer this call, or is not called now."""


class StoreObserver(Protocol):
    """Observes this worker's use of the store; the metrics do."""

    def store_called(self, outcome: str, seconds: float) -> None:
        """``outcome`` is one of ok, timeout, error and refused."""

    def store_changed(self, state: str) -> None:
        """One of the words of `CircuitState`."""

    def store_unopened(self) -> None:
        """An entry could not be opened with our secret."""

    def dropped(self, source: str) -> None:
        """An owner's pages are void: refused ``here`` or ``elsewhere``."""

    def drops_waiting(self, number: int) -> None:
        """So many drops have not been sent to the store yet."""

    def limits_synced(self, keys: int) -> None:
        """So many limits were summed over the machines."""


class StoreClient:
    """Calls the store; bounds what a failing store can cost.

    >>> from ..primitives import StoreAddress
    >>> from .redis_clients import open_client
    >>> class Uncounted(StoreObserver): ...
    >>> async def example():
    ...     nobody = open_client(StoreAddress.parse("redis://127.0.0.1:1"))
    ...     client = StoreClient(
    ...         Connection(nobody), Uncounted(),
    ...         where="nobody", patience=0.25, catch_up=asyncio.Event().wait)
    ...     for _ in range(10):
    ...         try:
    ...             await client.call("PING")
    ...         except StoreUnavailable:
    ...             pass
    ...     print(client.state)
    ...     await client.close()
    >>> asyncio.run(example())
    open

    A call without an answer in ``patience`` seconds fails, for its caller only. When
    ten of the last twenty calls have failed, no call is made until a ping was answered
    and ``catch_up`` has run. Pings come after one second, then two, up to ten, each
    times a random 0.8 to 1.0, so that workers do not return in step.

    Make it inside the event loop.
    """

    def __init__(
        self,
        connection: Connection,
        observer: StoreObserver,
        *,
        where: str,
        patience: float,
        catch_up: Callable[[], Awaitable[None]],
        clock: Clock = time.monotonic,
        random: Callable[[], float] = _random.random,
        log: RateLimitedLog | None = None,
    ) -> None:
        self.where = where
        """The store's address as log lines have it, without its password."""
        self._connection = connection
        self._observer = observer
        self._patience = patience
        self._catch_up = catch_up
        self._clock = clock
        self._random = random
        self._log = log or RateLimitedLog(_log)
        self._failed: deque[bool] = deque(maxlen=_LAST_CALLS)
        self._state = CircuitState.CLOSED
        self._probing: asyncio.Task[None] | None = None

    @property
    def state(self) -> CircuitState:
        """Whether the store is called."""
        return self._state

    async def call(self, *command: Any) -> Any:
        """The answer to one command; raises `StoreUnavailable`."""
        if self._state is not CircuitState.CLOSED:
            raise StoreUnavailable
        return await self.call_always(*command)

    async def call_always(self, *command: Any) -> Any:
        """As `call`, in any state: for what is sent before other calls are made."""
        started = self._clock()
        try:
            answer = await self._connection.call(*command, seconds=self._patience)
        except Overdue as error:
            raise StoreUnavailable(str(error)) from None
        except Refused as error:
            # An answer, though a refusal, is no failure of the store.
            self._record("refused", started)
            self.log_refusal(str(error))
            raise StoreUnavailable(f"refused: {error}") from None
        except StoreError as error:
            late = self._clock() - started >= self._patience
            outcome = "timeout" if late else "error"
            self._record(outcome, started, failure=str(error))
            raise StoreUnavailable(str(error)) from None
        self._record("ok", started)
        return answer

    def log_refusal(self, reason: str) -> None:
        """Log that the store has refused a command, which it may do for days while it
        is healthy.
        """
        self._log.event(
            ("store refuses", reason),
            logging.WARNING,
            f"The store at {self.where} refuses a command: {reason}. What it cannot do"
            " this machine does alone",
        )

    def open_circuit(self, reason: str) -> None:
        """Call the store no more until it has answered a ping."""
        if self._state is CircuitState.CLOSED:
            _log.warning(
                "The store at %s is not used: %s. This machine gathers pages and counts"
                " limits alone, and asks it again every %.0f to %.0f s",
                self.where,
                reason,
                _SHORTEST_PAUSE,
                _LONGEST_PAUSE,
            )
            self._enter(CircuitState.OPEN)
            self._probing = watched_task(self._probe_until_answered())

    async def close(self) -> None:
        """End the probing and the connection."""
        if self._probing is not None:
            await end(self._probing)
        await self._connection.close()

    def _record(self, outcome: str, started: float, failure: str = "") -> None:
        self._observer.store_called(outcome, self._clock() - started)
        self._failed.append(bool(failure))
        failures = sum(self._failed)
        if failures >= _MOST_FAILURES:
            self.open_circuit(
                f"{failures} of its last {len(self._failed)} calls failed: {failure}"
            )

    async def _probe_until_answered(self) -> None:
        pause = _SHORTEST_PAUSE
        while self._state is not CircuitState.CLOSED:
            await asyncio.sleep(pause * (0.8 + 0.2 * self._random()))
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._enter(CircuitState.HALF_OPEN)
            try:
                await self.call_always("PING")
                await self._catch_up()
            except StoreUnavailable:
                self._enter(CircuitState.OPEN)
            else:
                self._failed.clear()
                self._enter(CircuitState.CLOSED)
                _log.info("The store at %s is used again", self.where)

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._observer.store_changed(state)
