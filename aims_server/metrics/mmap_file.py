"""Owns numbers that outlive their writer: doubles by key, in one mapped file, in the
form in which prometheus_client's multiprocess mode keeps its values.

The file opens with the length of what is used, in four bytes of eight. Each entry is
the key's length in four bytes, the key, blanks up to a multiple of eight, the double,
and eight bytes for a time that nobody here notes.
"""

import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

__all__ = ["Cell", "MmapFile", "read_mmap_file"]

#: A view of one double. ``cell[0] += 1.0`` is one aligned store of eight bytes, so that
#: another process reads the old value or the new one and nothing between.
Cell: TypeAlias = "memoryview[float]"

_LENGTH: Final = struct.Struct("i")
_DOUBLE: Final = struct.Struct("d")
_START: Final = 8
_VALUE_AND_TIME: Final = 16
_ROOM: Final = 128 * 1024


class MmapFile:
    """One process's doubles by their keys, in the file ``path``, which it goes on with
    if it exists; without a path, in memory.

    Only this process may write there. What it wrote is there for all readers at once,
    and still when it was killed. Raises OSError if there is no room.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = _memory() if path is None else _opened(path)
        self._close_file = weakref.finalize(self, os.close, self._file)
        self._map()
        self._used = _LENGTH.unpack_from(self._mapped)[0] or _START
        self._cells = {
            key: self._cell_at(at) for key, at in _entries(self._mapped, self._used)
        }

    def cell(self, key: bytes) -> Cell:
        """The double of ``key``, for good; 0 if it is new."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = self._appended(key)
        return cell

    def items(self) -> Iterator[tuple[bytes, float]]:
        """All keys with their numbers, in the order in which they came."""
        for key, cell in self._cells.items():
            yield key, cell[0]

    def close(self) -> None:
        """Let go of the file; no cell can be written to after this."""
        for cell in self._cells.values():
            cell.release()
        self._doubles.release()
        self._mapped.close()
        self._close_file()

    def _map(self) -> None:
        self._mapped = mmap.mmap(self._file, 0)
        self._doubles = memoryview(self._mapped).cast("d")

    def _cell_at(self, position: int) -> Cell:
        number = position // _DOUBLE.size
        return self._doubles[number : number + 1]

    def _appended(self, key: bytes) -> Cell:
        blanks = b" " * (8 - (_LENGTH.size + len(key)) % 8)
        entry = _LENGTH.pack(len(key)) + key + blanks + bytes(_VALUE_AND_TIME)
        begin, end = self._used, self._used + len(entry)
        while end > len(self._mapped):
            # Cells bound so far stay in the old mapping, which they keep alive: both
            # show the same pages of the same file.
            os.posix_fallocate(self._file, 0, 2 * len(self._mapped))
            self._doubles.release()
            self._map()
        self._mapped[begin:end] = entry
        # Last: a reader, and whoever has the file next, goes no further than this.
        self._mapped[: _LENGTH.size] = _LENGTH.pack(end)
        self._used = end
        return self._cell_at(end - _VALUE_AND_TIME)


def read_mmap_file(path: Path) -> Iterator[tuple[bytes, float]]:
    """What is in a file that its owner may be writing to, in the order of the keys'
    coming. Raises FileNotFoundError.
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
    """The file, open, which has all its room before it is mapped.

    Otherwise a full disk would show as a SIGBUS in the middle of some count, and
    another worker's scrape might find the file while it is still empty.
    """
    if not path.exists():
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
        fresh.rename(path)
    return os.open(path, os.O_RDWR)


def _memory() -> int:
    file = os.memfd_create("cells")
    os.ftruncate(file, _ROOM)
    return file
