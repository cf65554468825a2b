"""Owns the work in flight: one task per missing key, shared by all who ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from ..deadline import Clock, Deadline
from ..primitives import done_within

__all__ = ["FlightCancelled", "SingleFlight", "Start"]

V = TypeVar("V")

Start = Callable[[Deadline], Coroutine[Any, Any, V]]


class FlightCancelled(Exception):
    """The shared work was cancelled before it had a value or an error.

    Its waiters get this and not CancelledError, which would say that they
    themselves were cancelled.
    """


class _Flight(Generic[V]):
    """One run of the work for one key."""

    __slots__ = ("deadline", "joinable_until", "started_at", "task")

    def __init__(self, start: Start[V], deadline: Deadline, now: float) -> None:
        self.deadline = deadline
        self.started_at = now
        self.joinable_until = deadline.at
        self.task = asyncio.create_task(start(deadline))

    def extend(self, deadline: Deadline) -> None:
        """Extend the work's deadline to this asker's.

        A flight is joinable until its start plus the longest time that any asker had
        left. Later askers do not prolong this, so that a hung call is retried instead
        of collecting waiters.
        """
        patience = self.started_at + deadline.remaining()
        self.joinable_until = max(self.joinable_until, patience)
        self.deadline.extend(deadline)


class _Waiter(Generic[V]):
    """One asker's wait for a flight; await it once or never."""

    __slots__ = ("_deadline", "_task")

    def __init__(self, task: asyncio.Task[V], deadline: Deadline) -> None:
        self._task = task
        self._deadline = deadline

    def __await__(self) -> Generator[object, None, V]:
        task = self._task
        del self._task  # see the end of _outcome
        return _outcome(task, self._deadline).__await__()


class SingleFlight(Generic[V]):
    """One task per key, however many ask; all of them share its value or error.

    >>> async def main() -> None:
    ...     async def work(deadline: Deadline) -> str:
    ...         return "made once"
    ...     flights: SingleFlight[str] = SingleFlight()
    ...     first, _ = flights.join(b"key", work, Deadline(10))
    ...     second, joined = flights.join(b"key", work, Deadline(10))
    ...     print(await first is await second, joined)
    >>> asyncio.run(main())
    True True

    An asker leaves at its own deadline. The task goes on without askers: its deadline
    is `work_seconds` after its start, or the latest of theirs. A failure is remembered
    for `failure_memory` seconds, in which the key is not started again; at most for
    `max_failures` keys, since each holds some 50 kB of frames. A flight that failed at
    its deadline is not remembered: the next asker may have more time.
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
        # Also of flights that a newer one has replaced; a loop holds tasks only weakly
        self._tasks: set[asyncio.Task[V]] = set()

    def __len__(self) -> int:
        """The number of running tasks."""
        return len(self._tasks)

    def join(
        self, key: bytes, start: Start[V], deadline: Deadline
    ) -> tuple[Awaitable[V], bool]:
        """Join the flight of this key, or start one. Returns an awaitable of its value,
        which need not be awaited, and whether a flight was joined.

        Awaiting raises what `start` raised, TimeoutError at this asker's deadline, and
        FlightCancelled. `start` runs in a task; it gets the flight's deadline, which
        later askers may extend (read it again after each wait).
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
        """Cancel all tasks and wait for their ends; waiters get FlightCancelled."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _launch(
        self, key: bytes, start: Start[V], deadline: Deadline, now: float
    ) -> _Flight[V]:
        patience = Deadline(self._work_seconds, self._clock)
        patience.extend(deadline)
        flight = _Flight(start, patience, now)
        self._running[key] = flight
        self._tasks.add(flight.task)
        # A `finally` in the task would not run if it is cancelled before its first step
        flight.task.add_done_callback(lambda _: self._on_done(key, flight))
        return flight

    def _on_done(self, key: bytes, flight: _Flight[V]) -> None:
        task = flight.task
        self._tasks.discard(task)
        # Reading the exception also keeps asyncio from logging that nobody did
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
        # The error holds the frames it passed through, so it must go without traffic
        # too
        loop = flight.task.get_loop()
        loop.call_later(self._failure_memory, self._forget, key, flight)

    def _forget(self, key: bytes, flight: _Flight[V]) -> None:
        if self._failed.get(key) is flight:
            del self._failed[key]


async def _outcome(task: asyncio.Task[V], deadline: Deadline) -> V:
    """Wait for a shared task; a waiter that leaves does not end it."""
    if not await done_within(task, deadline.remaining()):
        raise TimeoutError("no answer before the deadline")
    if task.cancelled():
        raise FlightCancelled
    try:
        # Sets the shared error's traceback anew for each waiter, so it does not grow
        return task.result()
    finally:
        # The error holds this frame. If the frame held the error too, its locals
        # (tokens, bodies) would stay until the next garbage collection.
        del task
