"""Owns the directory of shared pages: a table of fixed size with a number (word) for
each key, in memory mapped before the fork.
"""

import mmap
from collections.abc import Callable
from typing import Final

from ..primitives import mutexes

__all__ = ["KEY_BYTES", "WAYS", "Directory"]

WAYS: Final = 16
KEY_BYTES: Final = 16
_WORD_BYTES: Final = 8
_WORDS_AT: Final = WAYS * _WORD_BYTES  # a set: its tags, then its words
_SET_BYTES: Final = 2 * _WORDS_AT
_LOCKS: Final = 256


class Directory:
    """Numbers below 2**64 by keys of 16 uniformly distributed bytes.

    >>> directory = Directory(sets=1, least=min)
    >>> key = bytes(range(16))
    >>> directory.find(key), directory.replace(key, 0, 7), directory.find(key)
    (0, True, 7)
    >>> directory.replace(key, 0, 8)  # it is no longer 0
    False

    The first half of a key chooses its set of 16 slots, the second half is its tag
    there. `least` chooses one of a set's words, and a new key takes that word's slot; a
    free slot's word is 0.

    A look-up takes no lock: tags and words are aligned, so each is read and written
    whole, and a slot's word is 0 while its tag changes. By the time a word is used it
    may be another key's, so its user must check.
    """

    def __init__(self, sets: int, *, least: Callable[[list[int]], int]) -> None:
        self._sets = sets
        self._least = least
        self._memory = mmap.mmap(-1, sets * _SET_BYTES)
        self._words = memoryview(self._memory).cast("Q")
        self._locks = mutexes(_LOCKS)

    def find(self, key: bytes) -> int:
        """This key's word; 0 if it has none."""
        number, tag = self._place(key)
        at = self._slot(number, tag)
        return 0 if at is None else self._words[at]

    def replace(self, key: bytes, old: int, new: int) -> bool:
        """Give the key a new word if it still has the old one; whether it had."""
        number, tag = self._place(key)
        with self._locks[number % _LOCKS]:
            at = self._slot(number, tag)
            if old != (0 if at is None else self._words[at]):
                return False
            if at is None:
                at = self._make_room(number, tag)
            self._words[at] = new
            return True

    def _place(self, key: bytes) -> tuple[int, bytes]:
        """The number of a key's set, and its tag there."""
        return int.from_bytes(key[:8], "little") % self._sets, key[8:]

    def _slot(self, number: int, tag: bytes) -> int | None:
        """The index of this tag's word; None if the set has no such tag."""
        first = number * _SET_BYTES
        at = self._memory.find(tag, first, first + _WORDS_AT)
        # Not aligned: -1, or (once in 2**60 look-ups) halves of two neighbours
        return None if at % _WORD_BYTES else (at + _WORDS_AT) // _WORD_BYTES

    def _make_room(self, number: int, tag: bytes) -> int:
        """Give a new tag a slot; the index of its word. The caller holds the lock."""
        first = (number * _SET_BYTES + _WORDS_AT) // _WORD_BYTES
        words = self._words[first : first + WAYS].tolist()
        at = first + words.index(self._least(words))
        self._words[at] = 0
        tag_at = at * _WORD_BYTES - _WORDS_AT
        self._memory[tag_at : tag_at + _WORD_BYTES] = tag
        return at
