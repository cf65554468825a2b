"""Locks shared by processes, in anonymous memory mapped before the fork.

They are robust POSIX mutexes (pthread_mutexattr_setrobust(3)): if a process dies
holding one, even by SIGKILL, the kernel passes it on; a semaphore would stay locked for
ever. Locking a free one takes no system call, unlike a record lock (fcntl(2)). The
standard library has no robust mutexes.
"""

import ctypes
import errno
import mmap
import os
from typing import Any, Final

__all__ = ["Mutex", "mutexes"]

_PROCESS_SHARED: Final = 1
_ROBUST: Final = 1
_LINE_BYTES: Final = 64  # a cache line each; the largest pthread_mutex_t has 48 bytes

# Called with the GIL held: releasing and taking it again would take longer than the
# call, and a mutex is held for a microsecond only.
_libc = ctypes.PyDLL(None)
_lock = _libc.pthread_mutex_lock
_unlock = _libc.pthread_mutex_unlock
_unlock.restype = None


class Mutex:
    """A lock, held by a ``with`` block; locking it twice deadlocks.

    >>> first, second = mutexes(2)
    >>> with first, second:
    ...     print("no other process has them")
    no other process has them
    """

    __slots__ = ("_at",)

    def __init__(self, at: Any) -> None:
        """``at`` is the address, as an argument for ctypes that keeps its memory."""
        self._at = at

    def __enter__(self) -> None:
        """Lock it, waiting if necessary; raises OSError if the system refuses."""
        if code := _lock(self._at):
            if code == errno.EOWNERDEAD:
                # We hold it. Its data may be half updated, which callers tolerate.
                code = _libc.pthread_mutex_consistent(self._at)
            _check(code)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Unlock it."""
        _unlock(self._at)


def mutexes(number: int) -> list[Mutex]:
    """So many locks; make them before the fork."""
    memory = mmap.mmap(-1, number * _LINE_BYTES)
    lines = (ctypes.c_char * len(memory)).from_buffer(memory)
    attributes = ctypes.create_string_buffer(_LINE_BYTES)
    _check(_libc.pthread_mutexattr_init(attributes))
    _check(_libc.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED))
    _check(_libc.pthread_mutexattr_setrobust(attributes, _ROBUST))
    places = [ctypes.byref(lines, n * _LINE_BYTES) for n in range(number)]
    for at in places:
        _check(_libc.pthread_mutex_init(at, attributes))
    return [Mutex(at) for at in places]


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
