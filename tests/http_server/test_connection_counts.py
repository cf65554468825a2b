"""Numbers that processes tell each other."""

import os

from aims_server.http_server.connection_counts import ConnectionCounts


def test_the_excess_is_over_the_least():
    """Of three, each knows by how much it is above the one with least."""
    loads = ConnectionCounts()
    three = [loads.of(slot) for slot in (0, 1, 7)]
    for load, number in zip(three, (5, 2, 9), strict=True):
        load.tell(number)
    assert [load.excess for load in three] == [3, 0, 7]


def test_who_left_is_not_compared_with():
    """Nor is who has not come yet."""
    loads = ConnectionCounts()
    stays, leaves = loads.of(0), loads.of(1)
    stays.tell(4)
    assert stays.excess == 0
    leaves.tell(1)
    assert stays.excess == 3
    leaves.leave()
    assert stays.excess == 0


def test_other_processes_see_it():
    """What a child tells, its parent reads."""
    loads = ConnectionCounts()
    mine = loads.of(0)
    mine.tell(10)
    pid = os.fork()
    if pid == 0:
        loads.of(1).tell(3)
        os._exit(0)
    os.waitpid(pid, 0)
    assert mine.excess == 7


def test_a_slot_past_the_last_place_stands_alone():
    """It defers to nobody and is seen by nobody."""
    loads = ConnectionCounts()
    near, far = loads.of(0), loads.of(10_000)
    near.tell(3)
    far.tell(1)
    assert (near.excess, far.excess) == (0, 0)
