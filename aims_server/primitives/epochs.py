"""Owns the owners' epochs, in memory that all workers share. Whatever was made or begun
in an epoch of its owner may be kept and served only while that epoch lasts.
"""

import mmap
from typing import Final

from .mutex import mutexes

__all__ = ["NO_EPOCH", "Epochs", "Owner"]

Owner = bytes
"""To whom a page belongs: 32 bytes for a token and the student whom it claims."""

NO_EPOCH: Final = 0
"""The epoch of an owner that has none; it is never current."""

_WAYS: Final = 8
_LEAST_RECORDS: Final = 1 << 15
_PLACE_BITS: Final = 26  # of an epoch: the largest CACHE_SHARED_MB takes 25
_MOST_RECORDS: Final = 1 << _PLACE_BITS
_PLACE_MASK: Final = _MOST_RECORDS - 1
_KEPT: Final = 1 << 63  # of an owner's word; the other bits are its tag
_TAG_MASK: Final = _KEPT - 1


class Epochs:
    """The current epoch of each owner, in a table of fixed size with 32 768 to 67
    million records.

    >>> epochs = Epochs()
    >>> epoch = epochs.begin(b"owner")
    >>> epochs.begin(b"owner") == epoch, epochs.is_current(epoch)
    (True, True)
    >>> epochs.end(b"owner")  # the platform has refused this token
    False
    >>> epochs.is_current(epoch), epochs.begin(b"owner") == epoch
    (False, False)
    >>> epoch = epochs.begin(b"owner")
    >>> epochs.note(epoch, 7)
    >>> epochs.noted(epoch)
    7
    >>> revision = epochs.revision(epoch)
    >>> epochs.revise(epoch)
    >>> epochs.is_current(epoch), epochs.revision(epoch) == revision
    (True, False)

    Make it before the fork: the memory is inherited, and with it the seed of `hash`,
    so that all workers agree on an owner's place.

    An epoch is the place of its record in the table and a number that is never used
    again, so that it ends for ever when the record is ended or is given to another
    owner. An owner has one of the eight records of its set. A new owner takes a free
    one, else that of the owner whose epoch was begun longest ago; one for whom nothing
    is `kept` goes first. So a flood of refused tokens, for which nothing ever was kept,
    ends nobody else's epoch; and what ends too early costs a call of the platform and
    is never wrong.

    A record has a revision, too: a copy made in one may be outdated in the next.
    """

    def __init__(self, records: int = _LEAST_RECORDS) -> None:
        self._sets = min(max(records, _LEAST_RECORDS), _MOST_RECORDS) // _WAYS
        records = self._sets * _WAYS
        self._memory = mmap.mmap(-1, 4 * records * 8 + mmap.PAGESIZE)
        numbers = memoryview(self._memory).cast("Q")
        self._owners = numbers[:records]
        self._epochs = numbers[records : 2 * records]
        self._revisions = numbers[2 * records : 3 * records]
        self._notes = numbers[3 * records : 4 * records]
        self._last_number = numbers[4 * records :]
        (self._lock,) = mutexes(1)

    def is_current(self, epoch: int) -> bool:
        """Whether this epoch of its owner lasts. Takes no lock."""
        return epoch != NO_EPOCH and self._epochs[epoch & _PLACE_MASK] == epoch

    def of(self, owner: Owner) -> int:
        """The owner's present epoch; `NO_EPOCH` if it has none."""
        with self._lock:
            at = self._find(owner)
            return NO_EPOCH if at is None else self._epochs[at]

    def begin(self, owner: Owner) -> int:
        """The owner's epoch, begun now if there is none. Take it before anything is
        made for the owner.
        """
        with self._lock:
            at = self._find(owner)
            if at is not None:
                return self._epochs[at]
            at = self._make_room(owner)
            self._last_number[0] += 1
            epoch = self._last_number[0] << _PLACE_BITS | at
            # In this order a death in between leaves a record that is free.
            self._epochs[at] = NO_EPOCH
            self._notes[at] = 0
            self._owners[at] = hash(owner) & _TAG_MASK
            self._epochs[at] = epoch
            return epoch

    def keep(self, epoch: int) -> bool:
        """Note that something is kept in this epoch; return whether it lasts."""
        at = epoch & _PLACE_MASK
        if not self._owners[at] & _KEPT:
            with self._lock:
                if self.is_current(epoch):
                    self._owners[at] |= _KEPT
        return self.is_current(epoch)

    def note(self, epoch: int, number: int) -> None:
        """Note a number beside this epoch, if it lasts, in place of the one before."""
        with self._lock:
            if self.is_current(epoch):
                self._notes[epoch & _PLACE_MASK] = number

    def noted(self, epoch: int) -> int:
        """The number noted beside this epoch by any worker; 0 if there is none, or the
        epoch has ended. Takes no lock.
        """
        number = self._notes[epoch & _PLACE_MASK]
        return number if self.is_current(epoch) else 0  # in this order it is its own

    def revision(self, epoch: int) -> int:
        """A number that `revise` changes. Takes no lock."""
        return self._revisions[epoch & _PLACE_MASK]

    def revise(self, epoch: int) -> None:
        """Note that something kept under this epoch has become newer."""
        self._revisions[epoch & _PLACE_MASK] += 1  # if two do at once, it changed too

    def end(self, owner: Owner) -> bool:
        """End the owner's epoch, in all workers at once; return whether any of them has
        kept anything in it.
        """
        with self._lock:
            at = self._find(owner)
            if at is None:
                return False
            self._epochs[at] = NO_EPOCH
            return bool(self._owners[at] & _KEPT)

    def _find(self, owner: Owner) -> int | None:
        """The place of the owner's record. The caller holds the lock."""
        tag = hash(owner) & _TAG_MASK
        words = tag, tag | _KEPT
        first = tag % self._sets * _WAYS
        owners = self._owners[first : first + _WAYS].tolist()
        if tag not in owners and words[1] not in owners:
            return None  # at once, as for every new student
        for at, word in enumerate(owners, first):
            if word in words and self._epochs[at] != NO_EPOCH:
                return at
        return None

    def _make_room(self, owner: Owner) -> int:
        """The place for a new record. The caller holds the lock."""
        first = (hash(owner) & _TAG_MASK) % self._sets * _WAYS
        epochs = self._epochs[first : first + _WAYS].tolist()
        if NO_EPOCH in epochs:
            return first + epochs.index(NO_EPOCH)

        def loss(at: int) -> int:
            """The loss if this record is replaced; `_KEPT` is above every epoch."""
            return self._owners[at] & _KEPT | self._epochs[at]

        return min(range(first, first + _WAYS), key=loss)
