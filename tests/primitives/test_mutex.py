"""Shared locks between real processes, which die with them in their hands."""

import mmap
import os
import signal

import pytest

from aims_server.primitives.mutex import mutexes

from ..children import exit_status, fork


def test_only_one_holds_a_lock():
    """Four processes that each read, wait a little and write lose no increment."""
    _, lock, _ = mutexes(3)
    memory = mmap.mmap(-1, 8)
    count = memoryview(memory).cast("q")

    def increment():
        for _ in range(500):
            with lock:
                seen = count[0]
                os.sched_yield()
                count[0] = seen + 1

    children = [fork(increment) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    assert count[0] == 2000


def test_locks_are_apart():
    """To hold one hinders nobody from taking another."""
    first, _, last = mutexes(3)
    with first, last:
        pass


@pytest.mark.parametrize("deaths", [1, 3])
def test_the_dead_hold_nothing(deaths):
    """A lock whose holder was killed is free again, however often that happens."""
    (lock,) = mutexes(1)

    def die():
        with lock:
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(deaths):
        assert exit_status(fork(die)) == -signal.SIGKILL

    def take_and_give_back():
        with lock:
            pass

    assert exit_status(fork(take_and_give_back)) == 0
    take_and_give_back()
