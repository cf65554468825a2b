"""Remembers values made from other objects, while those live and there is room."""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["RecentlyMade"]

S = TypeVar("S")
V = TypeVar("V")


class RecentlyMade(Generic[S, V]):
    """Values made from sources, found by the source's identity, at most `max_bytes` of
    them; the least recently used are dropped, and so is the value of a dead source.

    >>> class Source: pass
    >>> made, source = RecentlyMade(100, len), Source()
    >>> made.get(source, lambda _: b"made once")
    b'made once'
    >>> made.get(source, lambda _: b"never made")
    b'made once'
    >>> del source; len(made), made.size
    (0, 0)
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._size_of = size_of
        # In order of last use. The weak references keep no source alive.
        self._made: dict[int, tuple[weakref.ref[S], V]] = {}

    def __len__(self) -> int:
        """The number of remembered values."""
        return len(self._made)

    def get(self, source: S, make: Callable[[S], V]) -> V:
        """The value made from this source, made now by ``make`` if need be."""
        key = id(source)
        remembered = self._made.pop(key, None)
        if remembered is not None:
            self._made[key] = remembered
            return remembered[1]
        value = make(source)
        size = self._size_of(value)
        if size > self._max_bytes:
            return value
        while self.size + size > self._max_bytes:
            self._forget(next(iter(self._made)))
        self._made[key] = weakref.ref(source, lambda _: self._forget(key)), value
        self.size += size
        return value

    def _forget(self, key: int) -> None:
        _, value = self._made.pop(key)
        self.size -= self._size_of(value)
