"""Epochs of owners, in memory that processes share."""

from aims_server.cache.epochs import Epochs

from ..children import exit_status, fork


def test_an_advance_is_seen_by_every_process():
    """What one process begins is the epoch of all, for this owner and no other."""
    epochs = Epochs()
    before = epochs.of(5900001), epochs.of(5900002), epochs.of(b"a token's hash")

    def advance():
        epochs.advance(5900001)
        epochs.advance(b"a token's hash")

    assert exit_status(fork(advance)) == 0
    assert epochs.of(5900001) != before[0]
    assert epochs.of(5900002) == before[1]
    assert epochs.of(b"a token's hash") != before[2]


def test_no_advance_is_lost():
    """Four processes that advance one owner together leave the sum of their steps."""
    epochs = Epochs()

    def advance():
        for _ in range(500):
            epochs.advance("ann")

    children = [fork(advance) for _ in range(4)]
    assert [exit_status(pid) for pid in children] == [0] * 4
    assert epochs.of("ann") == 2000
