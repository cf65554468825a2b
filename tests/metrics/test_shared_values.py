"""Doubles in shared memory: written, read by others, continued and cleared."""

import math
import mmap
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.metrics.shared_values import (
    SharedValues,
    clear_values,
    read_values,
)

from ..children import exit_status, fork

DOUBLES = st.floats(allow_nan=False)
ROWS = st.lists(DOUBLES, min_size=1, max_size=5).map(tuple)
VALUES = st.dictionaries(st.binary(max_size=40), ROWS, max_size=30)


@pytest.fixture(name="memory")
def _memory():
    return memoryview(mmap.mmap(-1, 64 * 1024))


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_values_are_read_as_they_were_written_life_after_life(lives):
    """The last values of each key, in the order of addition."""
    memory = memoryview(bytearray(64 * 1024))
    written = {}
    for values in lives:
        writer = SharedValues(memory)
        for key, row in values.items():
            key += bytes([len(row)])  # which has one length
            written[key] = row
            for at, value in enumerate(row):
                writer.row(key, len(row))[at] = value
        assert list(read_values(memory)) == list(written.items())


def test_a_key_has_one_row(memory):
    """Whoever asks for a key again counts in the same numbers."""
    values = SharedValues(memory)
    values.row(b"key", 1)[0] += 1
    values.row(b"key", 1)[0] += 1
    assert list(read_values(memory)) == [(b"key", (2,))]


def test_cleared_values_are_gone(memory):
    """The next writer starts from nothing."""
    SharedValues(memory).row(b"key", 1)[0] = 7
    clear_values(memory)
    assert list(read_values(memory)) == []
    assert SharedValues(memory).row(b"key", 1)[0] == 0


def test_what_has_no_room_is_not_kept(memory):
    """Full memory loses the values that come too late, and no other."""
    values = SharedValues(memory)
    values.row(b"first", 1)[0] = 1
    room = values.free_bytes - 16  # but for the two lengths and the double
    values.row(b"x" * (room + 1), 1)[0] = 2
    assert list(read_values(memory)) == [(b"first", (1,))]
    values.row(b"x" * room, 1)[0] = 3
    values.row(b"", 1)[0] = 4
    assert dict(read_values(memory)) == {b"first": (1,), b"x" * room: (3,)}


@pytest.mark.process
def test_a_number_is_never_seen_half_written(memory):
    """While another process writes, a reader finds one of its numbers, and no zero."""
    # Their bytes differ throughout, so half of each would be a third number.
    numbers = {math.pi, -1 / 3}
    row = SharedValues(memory).row(b"key", 1)
    row[0] = math.pi

    def write_until_killed() -> None:
        while True:
            row[0] = -1 / 3
            row[0] = math.pi

    pid = fork(write_until_killed)
    try:
        seen: set[float] = set()
        reads = 0
        while reads < 20_000 or len(seen) < 2:  # the other may not have begun
            seen |= {number for _, (number,) in read_values(memory)}
            reads += 1
    finally:
        os.kill(pid, signal.SIGKILL)
        exit_status(pid)
    assert seen == numbers
