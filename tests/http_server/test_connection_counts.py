"""Connection counts in memory that processes share."""

import os

from aims_server.http_server.connection_counts import ConnectionCounts


def test_the_excess_is_over_the_smallest_count():
    """Each of three workers knows how far it is above the smallest."""
    counts = ConnectionCounts()
    three = [counts.of(slot) for slot in (0, 1, 7)]
    for count, number in zip(three, (5, 2, 9), strict=True):
        count.publish(number)
    assert [count.excess for count in three] == [3, 0, 7]


def test_a_withdrawn_count_is_ignored():
    """A count that was withdrawn or never published is ignored."""
    counts = ConnectionCounts()
    stays, leaves = counts.of(0), counts.of(1)
    stays.publish(4)
    assert stays.excess == 0
    leaves.publish(1)
    assert stays.excess == 3
    leaves.withdraw()
    assert stays.excess == 0


def test_other_processes_see_it():
    """What a child publishes, its parent reads."""
    counts = ConnectionCounts()
    mine = counts.of(0)
    mine.publish(10)
    pid = os.fork()
    if pid == 0:
        counts.of(1).publish(3)
        os._exit(0)
    os.waitpid(pid, 0)
    assert mine.excess == 7
