"""How much each process of a family has on its hands, in memory that all of them see,
so that who has more can leave the next to who has less.
"""

import mmap
from typing import Final

__all__ = ["ConnectionCount", "ConnectionCounts"]

_PLACES: Final = 512  # a process past these is not seen, and defers to nobody
_ABSENT: Final = 2**62
_BYTES: Final = 8


class ConnectionCount:
    """One process's own number, and how it stands beside the others'."""

    def __init__(self, loads: "memoryview[int]", place: int) -> None:
        self._loads = loads
        self._place = place

    def tell(self, number: int) -> None:
        """Have so much; to be told at every change, from the first on."""
        self._loads[self._place] = number

    def leave(self) -> None:
        """Be compared with nobody any more."""
        self._loads[self._place] = _ABSENT

    @property
    def excess(self) -> int:
        """By how much this number is above the least."""
        return self._loads[self._place] - min(self._loads.tolist())


class ConnectionCounts:
    """The numbers of all processes; make it before the fork."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, _PLACES * _BYTES)
        self._loads = memoryview(memory).cast("q")
        for place in range(len(self._loads)):
            self._loads[place] = _ABSENT

    def of(self, slot: int) -> ConnectionCount:
        """That of the process with this slot, which no other living one has."""
        if slot < _PLACES:
            return ConnectionCount(self._loads, slot)
        return ConnectionCount(memoryview(bytearray(_BYTES)).cast("q"), 0)
