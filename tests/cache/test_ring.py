"""The ring of records that workers share: what is read is whole, or not read."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aims_server.cache.ring import Ring

from ..children import Interrupted, exit_status, fork

SIZE = 4096
LARGEST = SIZE // 8


@settings(max_examples=60)
@given(st.lists(st.integers(0, LARGEST) | st.just(LARGEST), max_size=60))
@example([LARGEST - 1] + 7 * [LARGEST] + [1])  # to the end, and up to the first
def test_a_record_is_whole_until_the_ring_has_turned(lengths):
    """It lies in one piece, and no room is left unused where it fits."""
    ring = Ring(SIZE)
    written = []
    for number, length in enumerate(lengths):
        begins = 1 + ring.bytes_written
        left = SIZE - begins % SIZE
        record = bytes([number + 1]) * length
        position = ring.write(record)
        assert position == (begins if length <= left else begins + left)
        written.append((position, record))
    for position, record in written:
        is_left = 1 + ring.bytes_written - position <= SIZE
        assert ring.read(position, len(record)) == (record if is_left else None)


def test_a_record_takes_at_most_an_eighth():
    """A longer one is neither written nor read."""
    ring = Ring(SIZE)
    position = ring.write(bytes(LARGEST))
    assert ring.read(position, LARGEST) == bytes(LARGEST)
    assert ring.read(position, LARGEST + 1) is None
    with pytest.raises(ValueError, match="eighth"):
        ring.write(bytes(LARGEST + 1))


def test_no_record_lies_across_the_end():
    """A position there is none of ours: it was read from a word that was cut."""
    ring = Ring(SIZE)
    assert ring.read(SIZE - 7, 7) == bytes(7)
    assert ring.read(SIZE - 7, 8) is None


def test_no_two_processes_write_in_one_place():
    """The room of each record is added to that of all others."""
    ring: Any = Ring(SIZE)
    ring._head = Interrupted(ring._head)

    def write():
        for _ in range(500):
            ring.write(b"x")

    children = [fork(write) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    assert ring.bytes_written == 2000
