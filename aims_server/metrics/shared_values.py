"""Doubles by key in shared memory: one process writes, others read, and the values
outlive a killed writer.

prometheus_client keeps such values in files (its multiprocess mode). Memory mapped
before the fork needs no directory that could be full, removed or read by others.

The memory opens with the length of what is used, in four bytes of eight. Each entry is
the key's length in four bytes, the key, blanks up to a multiple of eight, the double.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

__all__ = ["Double", "SharedValues", "clear_values", "read_values"]

#: A view of one double. ``double[0] += 1.0`` is one aligned store of eight bytes, so
#: another process reads the old value or the new one and nothing between.
Double: TypeAlias = "memoryview[float]"

_LENGTH: Final = struct.Struct("i")
_DOUBLE: Final = struct.Struct("d")
_START: Final = 8


class SharedValues:
    """The doubles in ``memory``, whose size is fixed and a multiple of eight bytes.

    >>> memory = memoryview(bytearray(4096))
    >>> SharedValues(memory).double(b"requests")[0] += 1
    >>> list(read_values(memory))
    [(b'requests', 1.0)]

    Only one process may write. A process that takes over the memory of a dead one
    continues its values. A value for which there is no room is not kept.
    """

    def __init__(self, memory: "memoryview[int]") -> None:
        self._memory = memory
        self._doubles = memory.cast("d")
        entries = _entries(_copy(memory))
        self._by_key = {key: self._double_at(at) for key, at in entries}

    def double(self, key: bytes) -> Double:
        """The double of ``key``, always the same object; 0 if it is new."""
        double = self._by_key.get(key)
        if double is None:
            double = self._by_key[key] = self._append(key)
        return double

    @property
    def free_bytes(self) -> int:
        """Room for further entries."""
        return len(self._memory) - max(_START, _used(self._memory))

    def _double_at(self, position: int) -> Double:
        number = position // _DOUBLE.size
        return self._doubles[number : number + 1]

    def _append(self, key: bytes) -> Double:
        blanks = b" " * (-(_LENGTH.size + len(key)) % 8)
        entry = _LENGTH.pack(len(key)) + key + blanks + _DOUBLE.pack(0.0)
        begin = max(_START, _used(self._memory))
        end = begin + len(entry)
        if end > len(self._memory):
            return memoryview(bytearray(_DOUBLE.size)).cast("d")
        self._memory[begin:end] = entry
        # Last: a reader, or the next writer, reads no further than this.
        self._memory[: _LENGTH.size] = _LENGTH.pack(end)
        return self._double_at(end - _DOUBLE.size)


def read_values(memory: "memoryview[int]") -> Iterator[tuple[bytes, float]]:
    """Keys and values, in the order in which they were added; another process may be
    writing them.
    """
    copy = _copy(memory)
    for key, at in _entries(copy):
        yield key, _DOUBLE.unpack_from(copy, at)[0]


def clear_values(memory: "memoryview[int]") -> None:
    """Drop all values of a process that writes no more."""
    memory[: _LENGTH.size] = _LENGTH.pack(0)


def _used(memory: "memoryview[int]") -> int:
    used: int = _LENGTH.unpack_from(memory)[0]
    return used


def _copy(memory: "memoryview[int]") -> bytes:
    """What is in use, unaffected by a writer that goes on."""
    return bytes(memory[: _used(memory)])


def _entries(copy: bytes) -> Iterator[tuple[bytes, int]]:
    """Each key and the position of its double."""
    at = _START
    while at < len(copy):
        begin = at + _LENGTH.size
        end = begin + _LENGTH.unpack_from(copy, at)[0]
        at = end + -end % 8
        yield copy[begin:end], at
        at += _DOUBLE.size
