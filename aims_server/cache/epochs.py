"""Owns the owners' epochs: counters in memory that all workers share. What was made
or begun in an earlier epoch of its owner may no longer be kept or served.
"""

import mmap
from collections.abc import Hashable
from typing import Final

from ..primitives import Mutexes

__all__ = ["Epochs"]

# A power of two: the low bits of a hash choose. With so many, 3000 refused tokens in a
# minute void one in a hundred of everybody else's entries.
_SLOTS: Final = 262_144
_MASK: Final = _SLOTS - 1


class Epochs:
    """A counter per owner, in a table of fixed size.

    >>> epochs = Epochs()
    >>> begun_in = epochs.of(5900001)
    >>> epochs.advance(5900001)  # the platform has refused this student's token
    >>> epochs.of(5900001) == begun_in
    False

    Make it before the fork: the memory is inherited, and with it the seed of `hash`,
    so that all workers agree on an owner's slot. Owners whose hashes agree in their
    low 18 bits share a counter: one's advance then voids the other's entries too, which
    costs a call and is never wrong.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * 8)
        self._counters = memoryview(self._memory).cast("Q")
        self._lock = Mutexes(1)

    def of(self, owner: Hashable) -> int:
        """The owner's epoch now."""
        return self._counters[hash(owner) & _MASK]

    def advance(self, owner: Hashable) -> None:
        """Begin a new epoch of this owner, in all workers at once."""
        slot = hash(owner) & _MASK
        self._lock.acquire(0)
        try:
            self._counters[slot] += 1
        finally:
            self._lock.release(0)
