"""Shared locks between real processes, which die with them in their hands."""

import mmap
import os
import signal

import pytest

from aims_server.primitives.mutex import Mutexes

from ..children import exit_status, fork


def test_only_one_holds_a_lock():
    """Four processes that each read, wait a little and write lose no increment."""
    mutexes, memory = Mutexes(3), mmap.mmap(-1, 8)
    count = memoryview(memory).cast("q")

    def increment():
        for _ in range(500):
            mutexes.acquire(1)
            seen = count[0]
            os.sched_yield()
            count[0] = seen + 1
            mutexes.release(1)

    children = [fork(increment) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    assert count[0] == 2000


def test_locks_are_apart():
    """To hold one hinders nobody from taking another."""
    mutexes = Mutexes(3)
    mutexes.acquire(0)
    mutexes.acquire(2)
    mutexes.release(0)
    mutexes.release(2)


@pytest.mark.parametrize("deaths", [1, 3])
def test_the_dead_hold_nothing(deaths):
    """A lock whose holder was killed is free again, however often that happens."""
    mutexes = Mutexes(1)

    def die():
        mutexes.acquire(0)
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(deaths):
        assert exit_status(fork(die)) == -signal.SIGKILL

    def take_and_give_back():
        mutexes.acquire(0)
        mutexes.release(0)

    assert exit_status(fork(take_and_give_back)) == 0
    mutexes.acquire(0)
    mutexes.release(0)
