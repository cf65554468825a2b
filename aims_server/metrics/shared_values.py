"""Owns rows of doubles by key in shared memory: one process writes, others read, and
the values outlive a killed writer.

prometheus_client keeps such values in files (its multiprocess mode). Memory mapped
before the fork needs no directory that could be full, removed or read by others.

The memory begins with the used length, in four bytes of eight. A row has the key's
length and the number of doubles in four bytes each, the key, blanks up to a multiple of
eight, and the doubles.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

__all__ = ["Doubles", "SharedValues", "clear_values", "read_values"]

#: A view of a row. ``doubles[0] += 1.0`` is one aligned store of eight bytes, so
#: another process reads the old value or the new one and nothing between.
Doubles: TypeAlias = "memoryview[float]"

_LENGTH: Final = struct.Struct("i")
_LENGTHS: Final = struct.Struct("ii")
_DOUBLE_BYTES: Final = 8
_START: Final = 8


class SharedValues:
    """The rows in ``memory``, whose size is fixed and a multiple of eight bytes.

    >>> memory = memoryview(bytearray(4096))
    >>> SharedValues(memory).row(b"requests", 2)[1] += 1
    >>> list(read_values(memory))
    [(b'requests', (0.0, 1.0))]

    Only one process may write. A process with the memory of a dead one continues its
    values. A row for which there is no room is not kept.
    """

    def __init__(self, memory: "memoryview[int]") -> None:
        self._memory = memory
        self._doubles = memory.cast("d")
        entries = _entries(_copy(memory))
        self._by_key = {key: self._row_at(at, length) for key, at, length in entries}

    def row(self, key: bytes, length: int) -> Doubles:
        """The doubles of ``key``, always the same object; 0 if they are new. A key has
        one ``length``.
        """
        row = self._by_key.get(key)
        if row is None:
            row = self._by_key[key] = self._append(key, length)
        return row

    @property
    def free_bytes(self) -> int:
        """The room for further rows in bytes."""
        return len(self._memory) - max(_START, _used(self._memory))

    def _row_at(self, position: int, length: int) -> Doubles:
        number = position // _DOUBLE_BYTES
        return self._doubles[number : number + length]

    def _append(self, key: bytes, length: int) -> Doubles:
        blanks = b" " * (-len(key) % _DOUBLE_BYTES)
        zeros = bytes(length * _DOUBLE_BYTES)
        entry = _LENGTHS.pack(len(key), length) + key + blanks + zeros
        begin = max(_START, _used(self._memory))
        end = begin + len(entry)
        if end > len(self._memory):
            return memoryview(bytearray(zeros)).cast("d")
        self._memory[begin:end] = entry
        # Last: a reader, or the next writer, reads no further than this.
        self._memory[: _LENGTH.size] = _LENGTH.pack(end)
        return self._row_at(end - len(zeros), length)


def read_values(memory: "memoryview[int]") -> Iterator[tuple[bytes, tuple[float, ...]]]:
    """Keys and values, in the order in which they were added; another process may be
    writing them.
    """
    copy = _copy(memory)
    for key, at, length in _entries(copy):
        yield key, struct.unpack_from(f"{length}d", copy, at)


def clear_values(memory: "memoryview[int]") -> None:
    """Drop all values of a process that writes no more."""
    memory[: _LENGTH.size] = _LENGTH.pack(0)


def _used(memory: "memoryview[int]") -> int:
    used: int = _LENGTH.unpack_from(memory)[0]
    return used


def _copy(memory: "memoryview[int]") -> bytes:
    """A copy of the used part, which the writer does not change."""
    return bytes(memory[: _used(memory)])


def _entries(copy: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each key, the position of its doubles and their number."""
    at = _START
    while at < len(copy):
        key_bytes, length = _LENGTHS.unpack_from(copy, at)
        begin = at + _LENGTHS.size
        end = begin + key_bytes
        at = end + -end % _DOUBLE_BYTES
        yield copy[begin:end], at, length
        at += length * _DOUBLE_BYTES
