"""Who serves, who leaves and what is due next: the rules of births, deaths and rolls.

It decides and does nothing, so it knows no process and no signal.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

__all__ = [
    "FAILED_STARTS",
    "HUNG_SECONDS",
    "START_SECONDS",
    "YOUNG_SECONDS",
    "Child",
    "Rollout",
]

# A worker that ends by itself this soon after it began to serve has failed to start.
YOUNG_SECONDS: Final = 0.5
FAILED_STARTS: Final = 6
# How long one may be silent before it serves, and then.
START_SECONDS: Final = 20.0
HUNG_SECONDS: Final = 15.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
# Of a longer absence the parent itself was the cause: stopped, or the machine asleep.
_LONGEST_ABSENCE: Final = 1.0
_TO_BE_REPLACED: Final = -1


class Child(msgspec.Struct, eq=False):
    """A living worker; moments are those of the rollout's clock, silence in seconds.

    ``slot`` belongs to no other living one. ``rank`` belongs to no other serving one of
    its generation; when a roll is through, the ranks are 0, 1, 2 and so on.
    """

    slot: int
    rank: int
    generation: int
    born_at: float
    pid: int = 0
    ready_at: float | None = None
    leaving: bool = False
    silence: float = 0.0


class Rollout:
    """Keeps the list of workers at ``wanted`` serving ones, all of one generation."""

    def __init__(
        self, wanted: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wanted = wanted
        self.generation = 0
        self.children: list[Child] = []
        self._clock = clock
        self._failed_starts = 0
        self._failed_at = 0.0
        self._next_birth = 0.0
        self._looked_at = clock()

    @property
    def serving(self) -> list[Child]:
        """Those that were not told to leave, the eldest first; some may still start."""
        return [child for child in self.children if not child.leaving]

    @property
    def converged(self) -> bool:
        """Whether there are as many as there should be, and all of them serve."""
        serving = self.serving
        return len(serving) == self.wanted and all(
            child.ready_at is not None and child.generation == self.generation
            for child in serving
        )

    @property
    def failing(self) -> bool:
        """Whether so many births failed in a row that trying on is no use."""
        return self._failed_starts >= FAILED_STARTS

    @property
    def none_ready(self) -> bool:
        """Whether nobody serves at all."""
        return all(child.ready_at is None for child in self.serving)

    # -- what is wanted ---------------------------------------------------

    def roll(self, wanted: int) -> None:
        """Replace everybody from now on, one by one."""
        self.wanted = wanted
        self.generation += 1
        self._failed_starts = 0
        self._next_birth = self._clock()

    def end_roll(self, wanted: int) -> None:
        """Be content with those who serve."""
        self.wanted = wanted
        self._failed_starts = 0
        for child in self.serving:
            child.generation = self.generation

    def replace(self, child: Child) -> None:
        """Have another one take this one's spec, then let it leave."""
        child.generation = _TO_BE_REPLACED

    # -- what is due ------------------------------------------------------

    @property
    def seconds_to_spawn(self) -> float | None:
        """Until somebody is to be born; 0 if that is now, None if nobody is."""
        serving = self.serving
        if len(serving) < self.wanted or self._may_overlap(serving):
            return max(0.0, self._next_birth - self._clock())
        return None

    def _may_overlap(self, serving: list[Child]) -> bool:
        """Whether it is time for one more than wanted, in whose favour one leaves."""
        return (
            len(serving) == self.wanted
            and any(child.generation != self.generation for child in serving)
            and all(child.ready_at is not None for child in serving)
            # Memory: however often a roll is asked for, those who go are no more
            # than those who stay.
            and len(self.children) - len(serving) <= self.wanted
        )

    def enter(self) -> Child:
        """Enter a worker that is about to be born."""
        slots = {child.slot for child in self.children}
        ranks = {c.rank for c in self.serving if c.generation == self.generation}
        child = Child(
            slot=_least_not_in(slots),
            rank=_least_not_in(ranks),
            generation=self.generation,
            born_at=self._clock(),
        )
        self.children.append(child)
        return child

    def next_to_leave(self) -> Child | None:
        """One who is not needed any more, while all others serve; None if all are."""
        serving = self.serving
        if len(serving) <= self.wanted or any(c.ready_at is None for c in serving):
            return None
        old = (c for c in serving if c.generation != self.generation)
        return next(old, serving[-1])

    # -- what happened ----------------------------------------------------

    def heard(self, child: Child, *, ready: bool) -> None:
        """It gave a sign of life; with ``ready``, that it serves from now on."""
        now = self._clock()
        child.silence = 0.0
        if ready:
            child.ready_at = now
        self._has_served(child, now)

    def unresponsive(self) -> list[Child]:
        """Those that hang, to be killed; call it again and again."""
        now = self._clock()
        absence = min(now - self._looked_at, _LONGEST_ABSENCE)
        self._looked_at = now
        hung = []
        for child in self.children:
            child.silence += absence
            patience = START_SECONDS if child.ready_at is None else HUNG_SECONDS
            if child.silence > patience:
                child.silence = 0.0
                hung.append(child)
        return hung

    def ended(self, child: Child) -> None:
        """It lives no more.

        Who served a while is replaced at once. The more fail to start in a row, the
        longer the next birth waits.
        """
        self.children.remove(child)
        now = self._clock()
        if child.leaving:
            return
        if self._has_served(child, now):
            self._next_birth = now
            return
        self._failed_starts += 1
        self._failed_at = now
        doubled = _FIRST_PAUSE * 2 ** min(self._failed_starts, FAILED_STARTS)
        self._next_birth = now + min(doubled, _LONGEST_PAUSE)

    def _has_served(self, child: Child, now: float) -> bool:
        """Whether it did so for a while; one that does proves that births succeed."""
        served = child.ready_at is not None and now - child.ready_at > YOUNG_SECONDS
        if served and child.born_at >= self._failed_at:
            self._failed_starts = 0
        return served


def _least_not_in(taken: Iterable[int]) -> int:
    taken = set(taken)
    return next(n for n in range(len(taken) + 1) if n not in taken)
