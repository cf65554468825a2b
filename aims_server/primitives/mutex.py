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
from typing import Final

__all__ = ["Mutexes"]

_PROCESS_SHARED: Final = 1
_ROBUST: Final = 1
_LINE_BYTES: Final = 64  # a cache line each; the largest pthread_mutex_t has 48 bytes

# Called with the GIL held: releasing and taking it again would take longer than the
# call, and a mutex is held for a microsecond only.
_libc = ctypes.PyDLL(None)
_lock = _libc.pthread_mutex_lock
_unlock = _libc.pthread_mutex_unlock


class Mutexes:
    """``number`` locks, counted from 0; locking one twice deadlocks.

    >>> locks = Mutexes(2)
    >>> locks.acquire(1)
    >>> locks.release(1)
    """

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

    def acquire(self, number: int) -> None:
        """Lock it, waiting if necessary; raises OSError if the system refuses."""
        code = _lock(self._mutexes[number])
        if code == errno.EOWNERDEAD:
            # We hold it. Its data may be half updated, which callers tolerate.
            code = _libc.pthread_mutex_consistent(self._mutexes[number])
        if code:
            _check(code)

    def release(self, number: int) -> None:
        """Unlock it."""
        _unlock(self._mutexes[number])


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
