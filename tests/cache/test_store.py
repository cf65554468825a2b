"""The store: bounded in bytes and in time, exact about whose entries it keeps."""

import gc
import itertools
import sys
import tracemalloc
from collections import OrderedDict
from hashlib import blake2b

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aims_server.cache.store import ENTRY_OVERHEAD, Entry, MemoryStore
from aims_server.primitives.epochs import Epochs
from tests.virtual_time import Clock


def entry(clock, value="page", *, size=1000, owner=b"ann", fresh=10.0, servable=60.0):
    """An entry made now."""
    now = clock.now
    return Entry(value, size, owner, now, now + fresh, now + servable)


def a_store(max_bytes, clock) -> MemoryStore:
    """An empty store on that clock."""
    return MemoryStore(max_bytes, clock=clock)


def room_for(entries, size=1000):
    """The bytes that so many entries of one size take."""
    return entries * cost(size)


def cost(size, key=b"k"):
    """The bytes that one entry takes."""
    return size + ENTRY_OVERHEAD + 2 * len(key)


def test_keeps_what_was_put(clock):
    """An entry comes back whole under its key, and under no other."""
    store = a_store(room_for(2), clock)
    page = entry(clock)
    assert store.put(b"k", page)
    assert store.get(b"k") is page
    assert store.get(b"other") is None


def test_gone_at_the_moment_it_is_no_longer_servable(clock):
    """An entry past fresh_until is still given; from servable_until on it is not."""
    store = a_store(room_for(2), clock)
    store.put(b"k", entry(clock, fresh=10, servable=60))
    clock.now += 59.9
    assert store.get(b"k") is not None
    clock.now += 0.1
    assert store.get(b"k") is None


def test_expired_entries_leave_without_traffic(clock):
    """Expiry alone frees the memory and says how many entries went."""
    store = a_store(room_for(3), clock)
    store.put(b"a", entry(clock, servable=60))
    store.put(b"b", entry(clock, servable=60, owner=b"ben"))
    store.put(b"c", entry(clock, servable=90))
    clock.now += 60
    assert store.expire() == 2
    assert (len(store), store.size) == (1, room_for(1))
    assert store.expire() == 0


def test_an_already_expired_entry_is_not_kept(clock):
    """What may not be served is refused, and the older entry has had its time."""
    store = a_store(room_for(2), clock)
    store.put(b"k", entry(clock, "old"))
    assert not store.put(b"k", entry(clock, "new", servable=0))
    assert store.get(b"k") is None
    assert len(store) == 0


def test_the_least_recently_used_leaves(clock):
    """For want of room the entry whose last use lies longest back goes."""
    store = a_store(room_for(3), clock)
    for key in (b"a", b"b", b"c"):
        store.put(key, entry(clock))
    store.get(b"a")
    store.put(b"d", entry(clock))
    kept = [key for key in (b"a", b"b", b"c", b"d") if store.get(key)]
    assert (kept, store.evictions) == ([b"a", b"c", b"d"], 1)


def test_expired_entries_leave_before_servable_ones(clock):
    """Nobody servable is evicted while something expired takes the room."""
    store = a_store(room_for(2), clock)
    store.put(b"l", entry(clock, servable=60))
    store.put(b"s", entry(clock, servable=20))
    store.get(b"s")
    clock.now += 20
    store.put(b"n", entry(clock))
    assert store.get(b"l") is not None
    assert store.evictions == 0


def test_oversize_is_refused_and_disturbs_nobody(clock):
    """An entry larger than the store is no error, evicts nobody, and is not kept."""
    store = a_store(room_for(2), clock)
    store.put(b"a", entry(clock))
    assert not store.put(b"b", entry(clock, size=room_for(2)))
    assert store.get(b"a") is not None
    assert (store.get(b"b"), store.evictions) == (None, 0)


def test_an_oversize_successor_ends_the_older_entry(clock):
    """The store never gives an old answer when it was told of a newer one."""
    store = a_store(room_for(2), clock)
    store.put(b"a", entry(clock))
    assert not store.put(b"a", entry(clock, size=room_for(2)))
    assert store.get(b"a") is None
    assert len(store) == 0


def test_an_entry_may_fill_the_store_to_the_byte(clock):
    """The bound itself is allowed; one byte more is not."""
    store = a_store(room_for(1), clock)
    assert store.put(b"a", entry(clock, size=1000))
    assert store.size == room_for(1)
    assert not store.put(b"b", entry(clock, size=1001))


def test_replacing_counts_the_size_once(clock):
    """A successor takes its predecessor's room, also when the owner changes."""
    store = a_store(room_for(4), clock)
    store.put(b"k", entry(clock, size=1000))
    store.put(b"k", entry(clock, size=500, owner=b"ben"))
    assert (len(store), store.size) == (1, room_for(1, 500))
    store.drop_owner(b"ann")
    assert store.get(b"k") is not None
    store.drop_owner(b"ben")
    assert len(store) == 0


def test_drop_owner_takes_all_of_one_and_none_of_others(clock):
    """Every entry of the owner goes at once; the entries of others stay."""
    store = a_store(room_for(4), clock)
    for key, owner in ((b"1", b"ann"), (b"2", b"ben"), (b"3", b"ann")):
        store.put(key, entry(clock, owner=owner))
    assert store.drop_owner(b"ann")
    assert [store.get(key) is None for key in (b"1", b"3", b"2")] == [1, 1, 0]
    assert (len(store), store.size) == (1, room_for(1))
    assert not store.drop_owner(b"ann")


OPERATIONS = {
    "put": lambda store: store.put(b"0", Entry("page", 1000, b"ben", 0, 0, 50)),
    "copy": lambda store: store.put(
        b"0", Entry("page", 1000, b"ben", 0, 0, 50), revision=0
    ),
    "drop_owner": lambda store: store.drop_owner(b"ann"),
    "expire": MemoryStore.expire,
    "size": lambda store: store.size,
    "len": len,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_clock_that_never_stands_still_does_no_harm(operation):
    """Entries that expire in the middle of an operation neither raise nor linger."""
    for lifetime in range(1, 40):
        ticks = itertools.count()
        store: MemoryStore = MemoryStore(room_for(3), room_for(9), clock=ticks.__next__)
        for index in range(3):
            page = Entry("page", 1000, b"ann", 0, 0, lifetime + index)
            store.put(b"%d" % index, page)
            store.put(b"copy %d" % index, page, revision=0)
            store.put(b"copy %d" % index, page, revision=0)
        operation(store)
        while next(ticks) < 100:
            pass
        store.expire()
        for owner in (b"ann", b"ben"):
            store.drop_owner(owner)  # raises KeyError if the index has lost one
        assert (len(store), store.size) == (0, 0)


def stored(clock, index, per_owner, length):
    """A key and an entry that share no object with any other."""
    key = blake2b(b"%d" % index, digest_size=32).digest()
    value = bytes(length)
    now = clock.now + index / 1e6
    owner = b"student-%024d" % (index // per_owner)
    size = sys.getsizeof(value)
    return key, Entry(value, size, owner, now, now + 300.5, now + 2000.5)


def traced(action):
    """Bytes that Python holds after the action and did not hold before it."""
    gc.collect()
    tracemalloc.start()
    try:
        action()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_what_was_begun_before_a_drop_is_not_kept(clock):
    """An epoch taken before a drop keeps its entry out; a later one lets it in."""
    store = a_store(room_for(4), clock)
    before = store.epochs.begin(b"ann")
    store.drop_owner(b"ann")
    after = store.epochs.begin(b"ann")
    assert store.put(b"k", entry(clock, "new"), after)
    assert not store.put(b"k", entry(clock, "old"), before)
    kept = store.get(b"k")
    assert kept is not None
    assert kept.value == "new"


def test_a_drop_elsewhere_voids_what_is_kept_here(clock):
    """With shared epochs another process's drop is enough; neighbours stay."""
    epochs = Epochs()
    store: MemoryStore = MemoryStore(room_for(4), epochs=epochs, clock=clock)
    store.put(b"a", entry(clock))
    store.put(b"b", entry(clock, owner=b"ben"))
    epochs.end(b"ann")
    assert store.get(b"a") is None
    assert store.get(b"b") is not None
    assert store.put(b"a", entry(clock))
    assert store.get(b"a") is not None


def test_long_keys_are_counted(clock):
    """The bytes of a key belong to the size like those of a value."""
    store = a_store(room_for(4), clock)
    store.put(b"k" * 500, entry(clock))
    assert store.size == cost(1000, b"k" * 500)


@pytest.mark.parametrize(
    ("count", "per_owner"),
    [(100, 1), (700, 1), (2750, 1), (2750, 3), (1400, 20)],
)
def test_the_size_is_what_memory_holds(clock, count, per_owner):
    """The accounted bytes cover key, Entry, all tables and the index, not much more."""
    store = a_store(1 << 30, clock)

    def fill_twice():
        for index in (*range(count), *range(count)):
            store.put(*stored(clock, index, per_owner, length=2000))

    held = traced(fill_twice)
    assert 0.75 * store.size < held <= store.size


def test_nothing_is_left_of_entries_that_left(clock):
    """Thousands of owners pass by, through eviction and expiry, and leave no trace."""
    bound = room_for(300, 1000)
    store = a_store(bound, clock)

    def pass_through():
        for index in range(8_000):
            store.put(*stored(clock, index, per_owner=3, length=900))
            if index % 2000 == 1999:
                clock.now += 3000  # all that is kept expires

    assert traced(pass_through) <= bound
    assert store.evictions > 6000


LARGEST = room_for(3) - cost(0)


class StoreAgainstModel(RuleBasedStateMachine):
    """Any sequence of operations gives what a plain ordered dict gives."""

    keys = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"])
    owners = st.sampled_from([b"ann", b"ben", b"eve"])

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.bound = room_for(3)
        self.store = a_store(self.bound, self.clock)
        self.model = OrderedDict()
        self.evicted = 0

    def purge(self):
        """Take from the model what is past its time."""
        for key, kept in [*self.model.items()]:
            if self.clock.now >= kept.servable_until:
                del self.model[key]

    def model_size(self):
        """Bytes in the model."""
        return sum(cost(kept.size) for kept in self.model.values())

    @rule(
        key=keys,
        owner=owners,
        size=st.sampled_from([0, 500, 1000, 3000, LARGEST, LARGEST + 1, 9999]),
        servable=st.integers(0, 9),
    )
    def put(self, key, owner, size, servable):
        """Fill, replace, or be refused."""
        new = entry(self.clock, size=size, owner=owner, servable=servable)
        fits = cost(size) <= self.bound and servable > 0
        self.purge()
        self.model.pop(key, None)
        while fits and self.model_size() + cost(size) > self.bound:
            self.model.popitem(last=False)
            self.evicted += 1
        if fits:
            self.model[key] = new
        assert self.store.put(key, new) == fits

    @rule(key=keys)
    def get(self, key):
        """Read one key."""
        self.purge()
        expected = self.model.get(key)
        if expected is not None:
            self.model.move_to_end(key)
        assert self.store.get(key) is expected

    @rule(owner=owners)
    def drop(self, owner):
        """Drop one owner."""
        self.purge()
        mine = [key for key, kept in self.model.items() if kept.owner == owner]
        for key in mine:
            del self.model[key]
        kept = self.store.drop_owner(owner)
        assert kept or not mine

    @rule()
    def expire(self):
        """Expire what has not gone on the way."""
        self.purge()
        self.store.expire()

    @rule()
    def measure(self):
        """Count entries and bytes."""
        self.purge()
        assert len(self.store) == len(self.model)
        assert self.store.size == self.model_size()

    @rule(seconds=st.integers(1, 5))
    def advance(self, seconds):
        """Let time pass."""
        self.clock.now += seconds

    @invariant()
    def evictions_are_those_for_want_of_room(self):
        """Neither expiry nor drops nor replacements count as evictions."""
        assert self.store.evictions == self.evicted

    def teardown(self):
        """The index knows every entry that is left, and no other."""
        for owner in (b"ann", b"ben", b"eve"):
            self.drop(owner)
        assert (len(self.store), self.store.size) == (0, 0)


StoreAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestStoreAgainstModel = StoreAgainstModel.TestCase
