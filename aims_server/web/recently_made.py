"""Values made of other objects, remembered while those live and as long as there is
room for them.
"""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["RecentlyMade"]

S = TypeVar("S")
V = TypeVar("V")


class RecentlyMade(Generic[S, V]):
    """What was made of a source, found by the source's identity; at most `max_bytes`,
    the least recently used leave. A source that is gone takes its value with it.

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
        # In the order of their last use. The references keep no source alive.
        self._made: dict[int, tuple[weakref.ref[S], V]] = {}

    def __len__(self) -> int:
        """How many values are remembered."""
        return len(self._made)

    def get(self, source: S, make: Callable[[S], V]) -> V:
        """What was made of this source, or what ``make`` makes of it now."""
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
        remembered = self._made.pop(key, None)
        if remembered is not None:
            self.size -= self._size_of(remembered[1])
