"""The directory of shared pages: what a key finds there, whoever writes beside it."""

import signal
from typing import Any

from aims_server.cache.directory import WAYS, Directory

from ..children import Deadly, Interrupted, exit_status, fork


def key(tag):
    """A key of the only set, by its tag."""
    return bytes(8) + tag


def test_a_tag_of_two_neighbours_halves_is_none():
    """Only a whole one is a key's."""
    directory = Directory(sets=1, least=min)
    for number, tag in enumerate((b"....half", b"half....")):
        assert directory.replace(key(tag), 0, number + 1)
    assert directory.find(key(b"halfhalf")) == 0


def test_a_death_while_a_slot_changes_hands_leaves_it_free():
    """The key that takes it has nothing of the one before."""
    directory: Any = Directory(sets=1, least=min)
    keys = [key(b"number%02d" % n) for n in range(WAYS + 1)]
    for n, each in enumerate(keys[:-1]):
        directory.replace(each, 0, n + 1)

    def die():
        directory._memory = Deadly(directory._memory)
        directory.replace(keys[-1], 0, WAYS + 1)

    assert exit_status(fork(die)) == -signal.SIGKILL
    assert [directory.find(each) for each in keys] == [0, *range(2, WAYS + 1), 0]


def test_no_two_processes_replace_one_word():
    """Each takes part in counting: none counts from where another has."""
    directory: Any = Directory(sets=1, least=min)
    directory._words = Interrupted(directory._words)
    counter = key(b"counting")

    def count():
        for _ in range(50):
            while not directory.replace(
                counter, seen := directory.find(counter), seen + 1
            ):
                pass

    children = [fork(count) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    assert directory.find(counter) == 200
