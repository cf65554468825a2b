"""Which copies a process keeps of what another place keeps too."""

from collections import OrderedDict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aims_server.cache.store import MemoryStore
from aims_server.primitives.epochs import Epochs
from tests.virtual_time import Clock

from .test_store import cost, entry, room_for

COPIES = 9  # so that one is smaller than an eighth of the room
CANDIDATES = 512


def a_store(clock, epochs=None) -> MemoryStore:
    """Room for four of what no other place has, and for nine copies."""
    return MemoryStore(room_for(4), room_for(COPIES), epochs=epochs, clock=clock)


def value(store, key):
    """What is given under this key."""
    kept = store.get(key)
    return None if kept is None else kept.value


def offer(store, clock, *keys):
    """Offer a copy under each key; which were kept."""
    return [store.put(key, entry(clock), revision=0) for key in keys]


def test_a_copy_is_kept_when_it_is_offered_again(clock):
    """A copy is kept at its second offer; an entry that no other place has, at once."""
    store = a_store(clock)
    assert offer(store, clock, b"k") == [False]
    assert store.get(b"k") is None
    assert offer(store, clock, b"k") == [True]
    assert store.get(b"k") is not None
    assert store.put(b"l", entry(clock))


def test_an_offer_is_forgotten_after_so_many_of_others(clock):
    """A second offer that comes too late counts as the first again."""
    store = a_store(clock)
    others = [b"%d" % number for number in range(CANDIDATES)]
    offer(store, clock, b"k", *others)
    assert offer(store, clock, b"k", b"k") == [False, True]


def test_those_who_ask_once_displace_nobody(clock):
    """Ten thousand pages pass by, and what is hot stays."""
    store = a_store(clock)
    offer(store, clock, b"hot", b"hot")
    offer(store, clock, *(b"%d" % number for number in range(10_000)))
    assert store.get(b"hot") is not None
    assert (len(store), store.evictions) == (1, 0)


def test_a_copy_that_leaves_is_not_lost(clock):
    """It counts as no eviction: the other place has it."""
    store = a_store(clock)
    for key in range(COPIES + 1):
        offer(store, clock, b"%d" % key, b"%d" % key)
    assert (len(store), store.evictions) == (COPIES, 0)
    assert store.get(b"0") is None


def test_a_large_copy_counts_as_the_only_one(clock):
    """To unpack it again takes longer than a request may hold the loop."""
    store = a_store(clock)
    large = entry(clock, size=room_for(COPIES) // 8 + 1)
    assert store.put(b"k", large, revision=0)
    assert store.get(b"k") is large


def test_a_successor_is_all_that_is_given(clock):
    """Whichever part the older one was in, and whether the newer one is kept."""
    store = a_store(clock)
    store.put(b"k", entry(clock, "old"))
    assert not store.put(b"k", entry(clock, "newer"), revision=0)
    assert store.get(b"k") is None
    assert store.put(b"k", entry(clock, "newer"), revision=0)
    assert store.put(b"k", entry(clock, "newest"), revision=0)
    assert value(store, b"k") == "newest"
    assert store.put(b"k", entry(clock, "sole"))
    assert value(store, b"k") == "sole"
    assert len(store) == 1


def test_a_drop_takes_both_parts(clock):
    """It takes originals and copies, and voids what was begun before it."""
    store = a_store(clock)
    epoch = store.epochs.begin(b"ann")
    offer(store, clock, b"k", b"k")
    store.put(b"l", entry(clock))
    assert store.drop_owner(b"ann")
    assert (len(store), store.size) == (0, 0)
    assert not store.drop_owner(b"ann")
    newer = entry(clock)
    store.put(b"l", newer)
    assert not store.put(b"l", entry(clock), epoch, revision=0)
    assert store.get(b"l") is newer


def test_a_drop_elsewhere_voids_copies(clock):
    """A refusal in another process that shares the epochs voids copies here."""
    epochs = Epochs()
    store = a_store(clock, epochs)
    offer(store, clock, b"k", b"k")
    epochs.end(b"ann")
    assert store.get(b"k") is None


def test_old_copies_leave_without_traffic(clock):
    """Expiry frees both parts."""
    store = a_store(clock)
    offer(store, clock, b"k", b"k")
    store.put(b"l", entry(clock))
    clock.now += 60
    assert store.expire() == 2
    assert len(store) == 0


class Model(RuleBasedStateMachine):
    """Beside the rule in its plainest words: a copy is kept if it is kept already, or
    was offered within the last so many offers that were in vain.
    """

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.store = a_store(self.clock)
        self.kept: OrderedDict[bytes, object] = OrderedDict()
        self.in_vain: list[bytes] = []

    @rule(key=st.integers(0, 2 * COPIES))
    def offered(self, key):
        """A copy is offered."""
        name = b"abcdefghijklmnopqrs"[key : key + 1]
        page = entry(self.clock)
        kept = self.store.put(name, page, revision=0)
        assert kept == (name in self.kept or name in self.in_vain)
        if not kept:
            self.in_vain = [*self.in_vain, name][-CANDIDATES:]
            return
        if name in self.in_vain:
            self.in_vain.remove(name)
        self.kept.pop(name, None)
        if len(self.kept) == COPIES:
            self.kept.popitem(last=False)
        self.kept[name] = page

    @rule(number=st.integers(0, 10**6))
    def crowd(self, number):
        """As many others as are remembered come by."""
        names = [b"crowd %d %d" % (number, each) for each in range(CANDIDATES)]
        fresh = [name for name in names if name not in self.in_vain]
        if len(fresh) == len(names):
            assert not any(offer(self.store, self.clock, *names))
            self.in_vain = names

    @rule(key=st.integers(0, 2 * COPIES))
    def asked(self, key):
        """A use moves a copy to the end of the line."""
        name = b"abcdefghijklmnopqrs"[key : key + 1]
        assert self.store.get(name) is self.kept.get(name)
        if name in self.kept:
            self.kept.move_to_end(name)

    @rule()
    def time_passes(self):
        """All end at once here."""
        self.clock.now += 60
        self.store.expire()
        self.kept.clear()

    @invariant()
    def bounded(self):
        """Never more than the room, and what the model keeps."""
        assert len(self.store) == len(self.kept)
        assert self.store.size == sum(cost(1000, key) for key in self.kept)


TestCopyRule = Model.TestCase
TestCopyRule.settings = settings(max_examples=30, stateful_step_count=30)
