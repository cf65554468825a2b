"""Doubles by key in one memory-mapped file, in the format of prometheus_client's
multiprocess mode; they survive the process that wrote them.

The file opens with the length of what is used, in four bytes of eight. Each entry is
the key's length in four bytes, the key, blanks up to a multiple of eight, the double,
and eight bytes for a time stamp, unused here.
"""

import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

__all__ = ["Double", "MmapFile", "read_mmap_file"]

#: A view of one double. ``double[0] += 1.0`` is one aligned store of eight bytes, so
#: another process reads the old value or the new one and nothing between.
Double: TypeAlias = "memoryview[float]"

_LENGTH: Final = struct.Struct("i")
_DOUBLE: Final = struct.Struct("d")
_START: Final = 8
_VALUE_AND_TIME: Final = 16
_INITIAL_BYTES: Final = 128 * 1024


class MmapFile:
    """One process's doubles by key, in the file ``path`` (continued if it exists) or,
    without a path, in memory.

    >>> file = MmapFile()
    >>> file.double(b"requests")[0] += 1
    >>> list(file.items())
    [(b'requests', 1.0)]

    Only this process may write to it. A value written is seen by all readers at once,
    and stays if the writer is killed. Raises OSError if there is no space.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = _memory() if path is None else _opened(path)
        self._close_file = weakref.finalize(self, os.close, self._file)
        self._map()
        self._used = _LENGTH.unpack_from(self._mapped)[0] or _START
        self._by_key = {
            key: self._double_at(at) for key, at in _entries(self._mapped, self._used)
        }

    def double(self, key: bytes) -> Double:
        """The double of ``key``, always the same object; 0 if it is new."""
        double = self._by_key.get(key)
        if double is None:
            double = self._by_key[key] = self._append(key)
        return double

    def items(self) -> Iterator[tuple[bytes, float]]:
        """All keys with their values, in the order in which they were added."""
        for key, double in self._by_key.items():
            yield key, double[0]

    def close(self) -> None:
        """Unmap and close the file; no double can be written to after this."""
        for double in self._by_key.values():
            double.release()
        self._doubles.release()
        self._mapped.close()
        self._close_file()

    def _map(self) -> None:
        self._mapped = mmap.mmap(self._file, 0)
        self._doubles = memoryview(self._mapped).cast("d")

    def _double_at(self, position: int) -> Double:
        number = position // _DOUBLE.size
        return self._doubles[number : number + 1]

    def _append(self, key: bytes) -> Double:
        blanks = b" " * (8 - (_LENGTH.size + len(key)) % 8)
        entry = _LENGTH.pack(len(key)) + key + blanks + bytes(_VALUE_AND_TIME)
        begin, end = self._used, self._used + len(entry)
        while end > len(self._mapped):
            # Doubles handed out so far stay in the old mapping, which they keep alive:
            # both show the same pages of the same file.
            os.posix_fallocate(self._file, 0, 2 * len(self._mapped))
            self._doubles.release()
            self._map()
        self._mapped[begin:end] = entry
        # Last: a reader, or the next owner of the file, reads no further than this.
        self._mapped[: _LENGTH.size] = _LENGTH.pack(end)
        self._used = end
        return self._double_at(end - _VALUE_AND_TIME)


def read_mmap_file(path: Path) -> Iterator[tuple[bytes, float]]:
    """Keys and values of a file whose owner may be writing, in the order of addition.

    Raises FileNotFoundError.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        used = _LENGTH.unpack_from(mapped)[0]
        for key, at in _entries(mapped, used):
            yield key, _DOUBLE.unpack_from(mapped, at)[0]


def _entries(mapped: mmap.mmap, used: int) -> Iterator[tuple[bytes, int]]:
    """Each key and where its double lies."""
    at = _START
    while at < used:
        begin = at + _LENGTH.size
        end = begin + _LENGTH.unpack_from(mapped, at)[0]
        at = end + 8 - end % 8
        yield mapped[begin:end], at
        at += _VALUE_AND_TIME


def _opened(path: Path) -> int:
    """Open the file with all its space allocated before it is mapped.

    Otherwise a full disk would be a SIGBUS in the middle of an increment, and another
    worker's scrape might find the file while it is still empty.
    """
    if not path.exists():
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _INITIAL_BYTES)
        fresh.rename(path)
    return os.open(path, os.O_RDWR)


def _memory() -> int:
    file = os.memfd_create("metrics")
    os.ftruncate(file, _INITIAL_BYTES)
    return file
