"""Decides which worker to start, retire or kill next: the rules of starts, exits and
rolls. It acts on nothing and knows no process or signal; its caller reports what
happened.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ..primitives import WORKER_NUMBERS

__all__ = [
    "FAILED_STARTS",
    "HUNG_SECONDS",
    "MIN_SERVED_SECONDS",
    "RETRY_SECONDS",
    "START_SECONDS",
    "Child",
    "Rollout",
]

# A worker that ends by itself sooner after it was ready has failed to start.
MIN_SERVED_SECONDS: Final = 0.5
FAILED_STARTS: Final = 6
# The longest silence of a worker before it is ready, and after that.
START_SECONDS: Final = 20.0
HUNG_SECONDS: Final = 15.0
_FIRST_BACKOFF: Final = 0.05
_MAX_BACKOFF: Final = 2.0
# Between failing starts, while other workers serve.
RETRY_SECONDS: Final = 30.0
# A longer gap between two checks is the parent's own (it was stopped, or the machine
# slept) and does not count against workers.
_MAX_GAP: Final = 1.0
_OUTDATED: Final = -1


class Child(msgspec.Struct, eq=False):
    """A living worker; its times are by the rollout's clock.

    ``number`` is unique among living workers. ``rank`` is unique among the serving ones
    of a generation; after a roll the ranks are 0, 1, 2 and so on.
    """

    number: int
    rank: int
    generation: int
    spawned_at: float
    ready_at: float | None = None
    leaving: bool = False
    silent_seconds: float = 0.0


class Rollout:
    """Keeps ``wanted`` workers serving, all of one generation.

    >>> rollout = Rollout(wanted=1)
    >>> child = rollout.add()           # seconds_to_spawn was 0: start one
    >>> rollout.on_message(child, ready=True)
    >>> rollout.converged, rollout.seconds_to_spawn
    (True, None)
    """

    def __init__(
        self, wanted: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wanted = wanted
        self.generation = 0
        #: In a row, until now.
        self.failed_starts = 0
        self.children: list[Child] = []
        self._clock = clock
        self._rolls = 0
        self._tries = FAILED_STARTS
        self._failed_at = 0.0
        self._next_spawn = 0.0
        self._checked_at = clock()

    def child(self, number: int) -> Child:
        """The living worker with this number."""
        return next(child for child in self.children if child.number == number)

    @property
    def serving(self) -> list[Child]:
        """Workers that were not told to leave, oldest first; some may be starting."""
        return [child for child in self.children if not child.leaving]

    @property
    def converged(self) -> bool:
        """Whether exactly the wanted workers run, all ready and of this generation."""
        serving = self.serving
        return len(serving) == self.wanted and all(
            child.ready_at is not None and child.generation == self.generation
            for child in serving
        )

    @property
    def failing(self) -> bool:
        """Whether so many starts failed in a row that another one is pointless."""
        return self.failed_starts >= self._tries

    @property
    def given_up(self) -> bool:
        """Whether the next start comes after a long pause."""
        return self._tries > FAILED_STARTS

    @property
    def none_ready(self) -> bool:
        """Whether no worker serves at all."""
        return all(child.ready_at is None for child in self.serving)

    # -- what is wanted ---------------------------------------------------

    def roll(self, wanted: int) -> None:
        """Start a new generation: replace every worker, one by one."""
        self.wanted = wanted
        self._rolls += 1
        self.generation = self._rolls
        self._forget_failures()
        self._next_spawn = self._clock()

    def give_up(self, wanted: int, generation: int) -> None:
        """Go back to this generation: its workers stay. Missing ones, and successors of
        workers of another generation, are started after a long pause; if that fails
        too, `failing` holds at once.
        """
        self.wanted = wanted
        self.generation = generation
        if self.seconds_to_spawn is None:
            self._forget_failures()
        else:
            self._tries = self.failed_starts + 1
        self._next_spawn = self._clock() + RETRY_SECONDS

    def replace(self, child: Child) -> None:
        """Start a successor of this worker, which is retired once that serves."""
        child.generation = _OUTDATED

    # -- what to do next --------------------------------------------------

    @property
    def seconds_to_spawn(self) -> float | None:
        """Seconds until a worker must be started, 0 for now; None if none is needed or
        all numbers are taken.
        """
        if len(self.children) >= WORKER_NUMBERS:
            return None
        serving = self.serving
        if len(serving) < self.wanted or self._may_overlap(serving):
            return max(0.0, self._next_spawn - self._clock())
        return None

    def _may_overlap(self, serving: list[Child]) -> bool:
        """Whether one more worker may start, in place of one that will leave."""
        now = self._clock()
        old = [child for child in serving if child.generation != self.generation]
        # More than wanted, if fewer are wanted than before: they stay until then.
        proven = sum(self._has_served(child, now) for child in old)
        return (
            bool(old)
            and len(serving) <= max(self.wanted, proven)
            and all(child.ready_at is not None for child in serving)
            # Bounds memory: however often rolls are requested, no more workers drain
            # than serve.
            and len(self.children) - len(serving) <= self.wanted
        )

    def add(self) -> Child:
        """Record a worker that is about to be started."""
        numbers = {child.number for child in self.children}
        ranks = {c.rank for c in self.serving if c.generation == self.generation}
        child = Child(
            number=_least_not_in(numbers),
            rank=_least_not_in(ranks),
            generation=self.generation,
            spawned_at=self._clock(),
        )
        self.children.append(child)
        return child

    def retire_next(self) -> Child | None:
        """Mark one surplus worker as leaving. None if there is none, while a serving
        one is not ready, and until one of this generation has served for a moment: if
        that dies, the older ones are still there.
        """
        serving = self.serving
        if len(serving) <= self.wanted or any(c.ready_at is None for c in serving):
            return None
        old = [c for c in serving if c.generation != self.generation]
        new = [c for c in serving if c.generation == self.generation]
        now = self._clock()
        # First one that has not served either, as a roll soon followed its own.
        child = min(old or new[-1:], key=lambda c: self._has_served(c, now))
        proven = any(self._has_served(c, now) for c in new)
        if old and not proven and (new or self._has_served(child, now)):
            return None
        child.leaving = True
        return child

    def retire_all(self) -> list[Child]:
        """Mark all workers as leaving."""
        for child in self.children:
            child.leaving = True
        return self.children

    def unresponsive(self) -> list[Child]:
        """Hanging workers, which should be killed; call it periodically."""
        now = self._clock()
        gap = min(now - self._checked_at, _MAX_GAP)
        self._checked_at = now
        hung = []
        for child in self.children:
            child.silent_seconds += gap
            limit = START_SECONDS if child.ready_at is None else HUNG_SECONDS
            if child.silent_seconds > limit:
                child.silent_seconds = 0.0
                hung.append(child)
        return hung

    # -- what happened ----------------------------------------------------

    def on_message(self, child: Child, *, ready: bool) -> None:
        """The worker has sent a message; with ``ready`` it serves from now on."""
        now = self._clock()
        child.silent_seconds = 0.0
        if ready:
            child.ready_at = now
        self._has_served(child, now)

    def on_exit(self, child: Child, *, killed: bool = False) -> bool:
        """The worker's process has ended, or could not be started; return whether that
        counts as a failed start.

        A worker that had served is replaced at once, and so is a ready one that was
        ``killed``, which says nothing about starts. After failed starts in a row the
        next one waits, each time twice as long.
        """
        self.children.remove(child)
        now = self._clock()
        if child.leaving:
            return False
        if self._has_served(child, now) or (killed and child.ready_at is not None):
            self._next_spawn = now
            if self.none_ready:
                self._forget_failures()  # before the end, starts have all their tries
            return False
        self.failed_starts += 1
        self._failed_at = now
        doubled = _FIRST_BACKOFF * 2 ** min(self.failed_starts, FAILED_STARTS)
        self._next_spawn = now + min(doubled, _MAX_BACKOFF)
        return True

    def _has_served(self, child: Child, now: float) -> bool:
        """Whether it has served long enough; one such worker proves starts succeed."""
        served = (
            child.ready_at is not None and now - child.ready_at > MIN_SERVED_SECONDS
        )
        if served and child.spawned_at >= self._failed_at:
            self._forget_failures()
        return served

    def _forget_failures(self) -> None:
        self.failed_starts = 0
        self._tries = FAILED_STARTS


def _least_not_in(taken: Iterable[int]) -> int:
    taken = set(taken)
    return next(n for n in range(len(taken) + 1) if n not in taken)
