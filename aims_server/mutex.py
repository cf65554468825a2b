"""Locks that processes share, each in a few bytes of memory made before the fork.

They are robust mutexes of POSIX threads (pthread_mutexattr_setrobust(3)): when a
process dies with one in its hands, even by SIGKILL, the kernel gives it to the next,
whereas a semaphore would stay taken for ever. To take one that is free costs no system
call, which to take a record lock of a file (fcntl(2)) does.
"""

import ctypes
import errno
import mmap
import os
from typing import Final

__all__ = ["Mutexes"]

_PROCESS_SHARED: Final = 1
_ROBUST: Final = 1
_LINE_BYTES: Final = 64  # a cache line each; the largest pthread_mutex_t has 48 bytes

# Called with the interpreter's lock held: to give that up and take it back would cost
# more than the call, and whoever holds a mutex is done with it in a microsecond.
_libc = ctypes.PyDLL(None)
_lock = _libc.pthread_mutex_lock
_unlock = _libc.pthread_mutex_unlock


class Mutexes:
    """So many locks, counted from 0; taking one again before giving it back hangs."""

    def __init__(self, number: int) -> None:
        memory = mmap.mmap(-1, number * _LINE_BYTES)
        first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._memory = memory  # it must live as long as the pointers into it
        self._mutexes = [
            ctypes.c_void_p(first + n * _LINE_BYTES) for n in range(number)
        ]
        attributes = ctypes.create_string_buffer(_LINE_BYTES)
        _check(_libc.pthread_mutexattr_init(attributes))
        _check(_libc.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED))
        _check(_libc.pthread_mutexattr_setrobust(attributes, _ROBUST))
        for mutex in self._mutexes:
            _check(_libc.pthread_mutex_init(mutex, attributes))

    def __len__(self) -> int:
        return len(self._mutexes)

    def acquire(self, number: int) -> None:
        """Take a lock, waiting for it; raises OSError if the system has none."""
        code = _lock(self._mutexes[number])
        if code == errno.EOWNERDEAD:
            # It is ours; what the dead one was about is for the caller to bear.
            code = _libc.pthread_mutex_consistent(self._mutexes[number])
        if code:
            _check(code)

    def release(self, number: int) -> None:
        """Give a lock back."""
        _unlock(self._mutexes[number])


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
