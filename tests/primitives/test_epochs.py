"""Epochs of owners, in memory that processes share."""

import os
import select
import signal
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aims_server.primitives import NO_EPOCH, Epochs

from ..children import Deadly, exit_status, fork

OWNERS_IN_A_SET = 8


class Contending(bytes):
    """An owner whose records are in the same set as those of all others like it."""

    def __hash__(self):
        return int(self) << 16


class InSet(bytes):
    """An owner whose records are in the set of this number."""

    def __hash__(self):
        return int(self)


def same_set(number):
    """So many owners who contend for one set of records."""
    return [Contending(b"%d" % n) for n in range(number)]


def test_an_end_is_seen_by_every_process():
    """What one process ends is over for all, for this owner and no other."""
    epochs = Epochs()
    ann, ben, eve = map(epochs.begin, (b"ann", b"ben", b"eve"))

    def end():
        assert epochs.of(b"ann") == ann
        epochs.end(b"ann")
        epochs.end(b"eve")

    assert exit_status(fork(end)) == 0
    current = [epochs.is_current(epoch) for epoch in (ann, ben, eve)]
    assert current == [False, True, False]
    assert (epochs.of(b"ann"), epochs.of(b"ben")) == (NO_EPOCH, ben)


def test_there_may_be_room_for_any_number_of_owners():
    """64 workers with 4096 MB each and no CACHE_SHARED_MB would have more records than
    an epoch has places for.
    """
    epochs = Epochs(512 * 4096 * 64)
    begun = [epochs.begin(b"%d" % n) for n in range(20)]
    assert all(map(epochs.is_current, begun))


def test_no_epoch_is_given_twice():
    """Four processes that begin and end epochs at once get no two alike."""
    epochs = Epochs()
    first = epochs.begin(b"ann")
    epochs.end(b"ann")

    def begin_and_end(owner):
        for _ in range(500):
            epochs.begin(owner)
            epochs.end(owner)

    children = [fork(partial(begin_and_end, owner)) for owner in (b"1", b"2", b"3")]
    begin_and_end(b"4")
    assert [exit_status(pid) for pid in children] == [0] * 3
    assert epochs.begin(b"ann") >> 26 == (first >> 26) + 2001


@pytest.mark.parametrize(
    "step",
    [
        lambda epochs, _: epochs.of(b"ann"),
        lambda epochs, _: epochs.begin(b"ann"),
        lambda epochs, epoch: epochs.keep(epoch),
        lambda epochs, epoch: epochs.note(epoch, 7),
        lambda epochs, _: epochs.end(b"ann"),
    ],
    ids=["of", "begin", "keep", "note", "end"],
)
def test_one_process_at_a_time_looks_and_changes(step):
    """A record may change hands between the two."""
    epochs = Epochs()
    epoch = epochs.begin(b"ann")
    reading, writing = os.pipe()

    def take_step():
        step(epochs, epoch)
        os.write(writing, b"done")

    with epochs._lock:
        child = fork(take_step)
        assert not select.select([reading], [], [], 0.1)[0]
    assert exit_status(child) == 0
    assert os.read(reading, 16) == b"done"
    os.close(reading)
    os.close(writing)


def test_it_tells_whether_anything_was_kept():
    """The end of an epoch in which nothing was kept concerns nobody."""
    epochs = Epochs()
    assert not epochs.end(b"nobody")
    epochs.begin(b"made up")
    assert not epochs.end(b"made up")
    assert epochs.keep(epochs.begin(b"ann"))
    assert epochs.end(b"ann")
    epochs.begin(b"ann")
    assert not epochs.end(b"ann")


def test_owners_are_found_again_in_a_table_of_any_size():
    """They are, also with a negative hash."""
    epochs = Epochs(40_000)
    owners = [b"%032d" % number for number in range(1000)]
    begun = [epochs.begin(owner) for owner in owners]
    assert [epochs.begin(owner) for owner in owners] == begun
    assert all(map(epochs.is_current, begun))


def test_the_largest_table_has_an_epoch_for_each_of_its_places():
    """The largest CACHE_SHARED_MB works; only two sets of its table are touched."""
    records = 512 * 65_536
    epochs = Epochs(records)
    owners = [InSet(b"%d" % number) for number in (0, records // OWNERS_IN_A_SET - 1)]
    begun = [epochs.begin(owner) for owner in owners]
    assert all(map(epochs.keep, begun))
    assert [epochs.of(owner) for owner in owners] == begun


def test_what_was_begun_before_an_end_is_not_kept():
    """It is not kept, nor noted in the epoch that took its place."""
    epochs = Epochs()
    over = epochs.begin(b"ann")
    epochs.end(b"ann")
    epochs.begin(b"ann")
    assert not epochs.keep(over)
    assert not epochs.end(b"ann")


def test_what_is_noted_is_noted_of_one_epoch():
    """It is not noted of the next epoch in its place, whoever owns that."""
    epochs = Epochs()
    over = epochs.begin(b"ann")
    epochs.note(over, 7)
    epochs.end(b"ann")
    assert epochs.noted(over) == 0
    present = epochs.begin(b"ann")
    assert epochs.noted(present) == 0
    epochs.note(over, 8)
    assert epochs.noted(present) == 0
    assert epochs.noted(NO_EPOCH) == 0


def test_a_death_while_a_record_changes_hands_leaves_it_free():
    """The owner who is given it has nothing of the one before."""
    epochs: Any = Epochs()
    *owners, newcomer = same_set(OWNERS_IN_A_SET + 1)
    begun = [epochs.begin(owner) for owner in owners]

    def die():
        epochs._owners = Deadly(epochs._owners)
        epochs.begin(newcomer)

    assert exit_status(fork(die)) == -signal.SIGKILL
    assert epochs.of(newcomer) == NO_EPOCH
    assert [epochs.of(owner) for owner in owners] == [NO_EPOCH, *begun[1:]]


def test_refused_newcomers_end_nobodys_epoch():
    """Any number of owners who are refused at their first call take the place of none
    for whom something is kept.
    """
    epochs = Epochs()
    *bystanders, _ = same_set(OWNERS_IN_A_SET)
    begun = [epochs.begin(owner) for owner in bystanders]
    assert all(map(epochs.keep, begun))
    for owner in same_set(1000)[OWNERS_IN_A_SET:]:
        assert epochs.is_current(epochs.begin(owner))
        epochs.end(owner)
    assert all(map(epochs.is_current, begun))


def test_who_was_refused_makes_room_before_anybody():
    """It has nothing to lose, whatever was kept for it."""
    epochs = Epochs()
    *owners, newcomer = same_set(OWNERS_IN_A_SET + 1)
    begun = [epochs.begin(owner) for owner in owners]
    epochs.keep(begun[-1])
    epochs.end(owners[-1])
    epochs.begin(newcomer)
    assert all(map(epochs.is_current, begun[:-1]))


def test_those_for_whom_nothing_is_kept_give_way_first():
    """Owners whose calls fail, without being refused, take one another's places; then
    goes whose epoch was begun longest ago.
    """
    epochs = Epochs()
    kept, failing = same_set(7), same_set(500)[8:]
    begun = [epochs.begin(owner) for owner in kept]
    assert all(map(epochs.keep, begun))
    for owner in failing:
        epochs.begin(owner)
    assert all(map(epochs.is_current, begun))
    epochs.keep(epochs.begin(failing[-1]))
    epochs.begin(failing[0])
    assert [epochs.is_current(epoch) for epoch in begun] == [False] + 6 * [True]


class Model(RuleBasedStateMachine):
    """Fifteen owners of one set beside a dictionary: nothing that ended comes back, and
    no two owners are ever in one epoch.
    """

    owners = st.sampled_from(same_set(15))

    def __init__(self):
        super().__init__()
        self.epochs = Epochs()
        self.current = {}
        self.ended = set()

    @rule(owner=owners, keep=st.booleans())
    def begin(self, owner, keep):
        """Take the epoch, and perhaps keep something."""
        epoch = self.epochs.begin(owner)
        assert epoch not in self.ended
        before = self.current.get(owner)
        if before is not None and before != epoch:
            assert not self.epochs.is_current(before)
            self.ended.add(before)
        self.current[owner] = epoch
        if keep:
            assert self.epochs.keep(epoch)

    @rule(owner=owners)
    def refuse(self, owner):
        """End it."""
        self.epochs.end(owner)
        assert self.epochs.of(owner) == NO_EPOCH
        self.ended.add(self.current.pop(owner, NO_EPOCH))

    @invariant()
    def what_ended_is_over(self):
        """No epoch that ended is current, and each that is has one owner."""
        assert not any(map(self.epochs.is_current, self.ended))
        epochs = list(self.current.values())
        assert len(set(epochs)) == len(epochs)
        lasting = [epoch for epoch in epochs if self.epochs.is_current(epoch)]
        assert len(lasting) <= OWNERS_IN_A_SET


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestModel = Model.TestCase
