"""Owns the work in flight: one task per missing key, shared by all who ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Generic, TypeVar

from ..deadline import Clock, Deadline

__all__ = ["FlightCancelled", "SingleFlight", "Start"]

V = TypeVar("V")

Start = Callable[[Deadline], Awaitable[V]]


class FlightCancelled(Exception):
    """The shared work was cancelled before it had a value or an error.

    Its waiters get this and not CancelledError, which would say that they
    themselves were cancelled.
    """


class _Flight(Generic[V]):
    """One start of the work for one key."""

    __slots__ = ("deadline", "joinable_until", "started_at", "task")

    def __init__(self, start: Start[V], deadline: Deadline, now: float) -> None:
        self.deadline = deadline
        self.started_at = now
        self.joinable_until = deadline.at
        self.task = asyncio.create_task(_run(start, self.deadline))

    def extend(self, deadline: Deadline) -> None:
        """Extend the work's deadline to this asker's.

        A flight is joinable until its start plus the longest time that any asker had
        left. New askers do not prolong this by coming later, so that a hung call is
        made a second time instead of collecting waiters.
        """
        patience = self.started_at + deadline.remaining()
        self.joinable_until = max(self.joinable_until, patience)
        self.deadline.extend(deadline)


class _Waiter(Generic[V]):
    """One asker's share in a flight; awaited once, or never."""

    __slots__ = ("_deadline", "_task")

    def __init__(self, task: asyncio.Task[V], deadline: Deadline) -> None:
        self._task = task
        self._deadline = deadline

    def __await__(self) -> Generator[object, None, V]:
        task = self._task
        del self._task  # see the end of _outcome
        return _outcome(task, self._deadline).__await__()


class SingleFlight(Generic[V]):
    """One task per key, however many ask; all share its value and its error.

    >>> async def main() -> None:
    ...     async def work(deadline: Deadline) -> str:
    ...         return "made once"
    ...     flights: SingleFlight[str] = SingleFlight()
    ...     first, _ = flights.join(b"key", work, Deadline(10))
    ...     second, joined = flights.join(b"key", work, Deadline(10))
    ...     print(await first is await second, joined)
    >>> asyncio.run(main())
    True True

    The task goes on when all who asked have left, for at least `work_seconds` and as
    long as the most patient of them waits. A failure is remembered for
    `failure_memory` seconds, during which the key is not started again, and for at most
    `max_failures` keys, since each holds some 50 kB of frames. A flight that ran out of
    its deadline is not remembered: the next asker may have more time.

    A waiter leaves at its own deadline.
    """

    def __init__(
        self,
        *,
        work_seconds: float = 0.0,
        failure_memory: float = 1.0,
        max_failures: int = 256,
        clock: Clock = time.monotonic,
    ) -> None:
        self._work_seconds = work_seconds
        self._failure_memory = failure_memory
        self._max_failures = max_failures
        self._clock = clock
        self._running: dict[bytes, _Flight[V]] = {}
        self._failed: dict[bytes, _Flight[V]] = {}
        # Also those that a newer flight has replaced; a loop holds tasks only weakly
        self._tasks: set[asyncio.Task[V]] = set()

    def __len__(self) -> int:
        """How many tasks run."""
        return len(self._tasks)

    def join(
        self, key: bytes, start: Start[V], deadline: Deadline
    ) -> tuple[Awaitable[V], bool]:
        """Join the flight of this key, or start it; whether it was joined.

        Awaiting the first gives the value; it need not be awaited. Raises what
        `start` raised, TimeoutError when this asker's deadline has passed,
        FlightCancelled. `start` runs in a task, with the deadline of the most
        patient asker so far (read it again after each wait).
        """
        now = self._clock()
        flight = self._running.get(key) or self._failed.get(key)
        joined = flight is not None and now < flight.joinable_until
        if flight is None or not joined:
            flight = self._launch(key, start, deadline, now)
        elif not flight.task.done():
            flight.extend(deadline)
        return _Waiter(flight.task, deadline), joined

    async def close(self) -> None:
        """Cancel what runs and wait for its end; waiters get FlightCancelled."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self._failed.clear()

    def _launch(
        self, key: bytes, start: Start[V], deadline: Deadline, now: float
    ) -> _Flight[V]:
        patience = Deadline(self._work_seconds, self._clock)
        patience.extend(deadline)
        flight = _Flight(start, patience, now)
        self._running[key] = flight
        self._tasks.add(flight.task)
        # Not a `finally` in the task: cancelled before its first step, it runs nothing
        flight.task.add_done_callback(lambda _: self._on_done(key, flight))
        return flight

    def _on_done(self, key: bytes, flight: _Flight[V]) -> None:
        task = flight.task
        self._tasks.discard(task)
        # Asking for the exception also keeps asyncio from complaining that nobody did
        failed = not task.cancelled() and task.exception() is not None
        if self._running.get(key) is not flight:
            return  # a newer flight has taken its place
        del self._running[key]
        if failed and not flight.deadline.expired:
            self._remember(key, flight)

    def _remember(self, key: bytes, flight: _Flight[V]) -> None:
        flight.joinable_until = self._clock() + self._failure_memory
        while len(self._failed) >= self._max_failures:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = flight
        # The error holds the frames it passed through: it must go without traffic too
        loop = flight.task.get_loop()
        loop.call_later(self._failure_memory, self._forget, key, flight)

    def _forget(self, key: bytes, flight: _Flight[V]) -> None:
        if self._failed.get(key) is flight:
            del self._failed[key]


async def _run(start: Start[V], deadline: Deadline) -> V:
    return await start(deadline)


async def _outcome(task: asyncio.Task[V], deadline: Deadline) -> V:
    """Wait for a shared task, which a waiter that leaves does not end."""
    await asyncio.wait({task}, timeout=deadline.remaining())
    if not task.done():
        raise TimeoutError("no answer before the deadline")
    if task.cancelled():
        raise FlightCancelled
    try:
        # Sets the shared error's traceback anew for each waiter: it does not grow
        return task.result()
    finally:
        # The error holds the frames it passes through, and these must not hold the
        # error: their locals (tokens, bodies) would stay until the next collection.
        del task
