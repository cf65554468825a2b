"""The pages that workers share: never a wrong one, whoever dies at whatever moment."""

import os
import random
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aims_server.cache.levels import Found, Page, Want
from aims_server.cache.shared_memory import SharedMemoryCache
from aims_server.primitives.epochs import Epochs
from tests.virtual_time import Clock

from ..children import exit_status, fork

ANN, BEN = b"a" * 32, b"b" * 32


def owner_of(n):
    """One of many owners."""
    return b"%032d" % n


@pytest.fixture(name="epochs")
def _epochs():
    return Epochs()


@pytest.fixture(name="cache")
def _cache(epochs, clock):
    cache = SharedMemoryCache(1_000_000, epochs, clock=clock)
    take(cache, b"another")  # from here on no page lies where a lease does
    return cache


def page(clock, body=b"page", *, fresh=10.0, servable=60.0):
    """A page made now."""
    now = clock.now
    return Page(body, now, now + fresh, now + servable)


def take(cache, key=b"k", owner=ANN, want=None, *, seconds=5.0):
    """A look-up with a lease of five seconds."""
    return cache.take(key, owner, want or Want(), seconds=seconds)


def keep(cache, kept, key=b"k", owner=ANN):
    """Fill a key that nobody is filling."""
    taken = take(cache, key, owner, Want(max_age=-1))
    assert taken.found is Found.NONE
    return cache.put(taken.lease, kept)


def test_a_page_comes_back_whole(cache, clock):
    """What was put under a key is found there, with its times, and nowhere else."""
    kept = page(clock, bytes(range(256)) * 30)
    assert keep(cache, kept)
    taken = take(cache)
    assert (taken.found, taken.page, taken.lease) == (Found.KEPT, kept, None)
    assert take(cache, b"other").found is Found.NONE


def test_the_ages_of_a_page(cache, clock):
    """It is kept while fresh, old while servable, and then no page at all."""
    keep(cache, page(clock))
    clock.now += 10
    assert take(cache).found is Found.OLD
    clock.now += 50
    taken = take(cache)
    assert (taken.found, taken.page) == (Found.NONE, None)


@pytest.mark.parametrize(
    ("age", "want", "found"),
    [
        (5, Want(max_age=5), Found.KEPT),
        (6, Want(max_age=5), Found.NONE),
        (12, Want(max_age=30), Found.OLD),
        (12, Want(max_age=30, old_ok=False), Found.NONE),
        (9, Want(old_ok=False), Found.KEPT),
        (10, Want(old_ok=False), Found.NONE),
    ],
)
def test_what_will_do(cache, clock, age, want, found):
    """The wanted age and whether an old page will do decide; what won't do is shown."""
    kept = page(clock)
    keep(cache, kept)
    clock.now += age
    taken = take(cache, want=want)
    assert (taken.found, taken.page) == (found, kept)


def test_one_asker_at_a_time_holds_the_lease(cache, clock):
    """The second asker is told that the key is busy, until the page is there."""
    first = take(cache)
    assert first.lease is not None
    assert take(cache).found is Found.BUSY
    assert take(cache, b"other").found is Found.NONE
    cache.put(first.lease, page(clock))
    assert take(cache).found is Found.KEPT


def test_a_released_lease_is_free(cache, clock):
    """An asker that gives up lets the next try at once, and can put nothing more."""
    first = take(cache)
    cache.release(first.lease)
    assert take(cache).found is Found.NONE
    assert not cache.put(first.lease, page(clock))


def test_a_page_without_a_lease_is_kept(cache, epochs, clock):
    """It takes no lease from who holds one, and the place of an older page alone."""
    older, newer = page(clock, b"older"), page(Clock(clock.now + 1), b"newer")
    assert cache.keep(b"k", ANN, epochs.begin(ANN), newer)
    assert not cache.keep(b"k", ANN, epochs.begin(ANN), older)
    lease = take(cache, want=Want(max_age=-2)).lease
    assert cache.keep(b"k", ANN, epochs.begin(ANN), newer)
    assert take(cache, want=Want(max_age=-2)).found is Found.BUSY
    assert cache.put(lease, older)
    assert take(cache).page == older


def test_a_page_without_a_lease_ends_with_its_epoch(cache, epochs, clock):
    """What was begun before a refusal is not kept after it."""
    epoch = epochs.begin(ANN)
    epochs.end(ANN)
    epochs.begin(ANN)
    assert not cache.keep(b"k", ANN, epoch, page(clock))
    assert cache.find(b"k", ANN) is None


def test_a_lease_ends(cache, clock):
    """Once it ended, another asker has it; the first can no longer put or release."""
    first = take(cache, seconds=5)
    clock.now += 5
    second = take(cache)
    assert second.found is Found.NONE
    assert not cache.put(first.lease, page(clock))
    cache.release(first.lease)
    assert take(cache).found is Found.BUSY
    assert cache.put(second.lease, page(clock))


def test_a_refusal_voids_pages_and_leases_of_one_owner(cache, epochs, clock):
    """In a new epoch the owner's pages are gone and its fills are begun anew and not
    kept; another owner notices nothing.
    """
    keep(cache, page(clock), b"a", ANN)
    keep(cache, page(clock), b"b", BEN)
    filling = take(cache, b"a2", ANN)
    epochs.end(ANN)
    assert take(cache, b"a", ANN).found is Found.NONE
    assert take(cache, b"a2", ANN).found is Found.NONE
    assert not cache.put(filling.lease, page(clock))
    assert take(cache, b"b", BEN).found is Found.KEPT


def test_another_owner_is_given_nothing(cache, clock):
    """A page is bound to its owner, even under an equal key."""
    keep(cache, page(clock), b"k", ANN)
    assert take(cache, b"k", BEN).page is None


class OfOneHash(bytes):
    """Owners whom the table of epochs takes for one."""

    def __hash__(self):
        return 1


def test_owners_of_one_epoch_are_given_nothing_of_each_other(cache, epochs, clock):
    """Should two hashes be equal, the digest still tells whose page it is."""
    ann, ben = OfOneHash(ANN), OfOneHash(BEN)
    keep(cache, page(clock), b"k", ann)
    assert epochs.of(ben) == epochs.of(ann)
    assert cache.find(b"k", ben) is None
    assert take(cache, b"k", ben).page is None
    assert cache.find(b"k", ann) == page(clock)


def test_too_large_a_page_is_not_kept(cache, clock):
    """It would push out all others; its lease ends with it."""
    assert not keep(cache, page(clock, bytes(200_000)))
    assert take(cache).found is Found.NONE


def test_old_pages_make_room_for_new_ones(cache, clock):
    """The ring turns: the youngest pages are there, the oldest gone, none wrong."""
    bodies = [b"%d" % n * 3000 for n in range(200)]
    for n, body in enumerate(bodies):
        keep(cache, page(clock, body), b"%d" % n, ANN)
    # Youngest first: to look for a key that is gone takes a record for it.
    found = [take(cache, b"%d" % n, ANN).page for n in reversed(range(200))][::-1]
    assert cache.bytes_written > 1_000_000
    assert found[0] is None
    assert found[-1] is not None
    assert all(
        got is None or got.body == body for got, body in zip(found, bodies, strict=True)
    )


def test_as_many_as_there_is_room_for_are_kept(cache, clock):
    """Pages made at once are all kept while there is room for them."""
    keys = [b"%d" % n for n in range(150)]
    leases = [take(cache, key).lease for key in keys]
    assert all(cache.put(lease, page(clock, bytes(6000))) for lease in leases)
    assert all(cache.find(key, ANN) for key in keys)


def test_a_new_key_takes_the_place_of_the_oldest(epochs, clock):
    """When all slots of a set are taken, what was written longest ago goes: its page is
    not kept, and those written later are not disturbed.
    """
    cache = SharedMemoryCache(4096, epochs, clock=clock)  # one set of sixteen
    taken = [take(cache, b"%d" % n) for n in range(17)]
    assert [each.found for each in taken] == [Found.NONE] * 17
    assert not cache.put(taken[0].lease, page(clock))
    assert all(cache.put(each.lease, page(clock)) for each in taken[1:])


def test_a_flood_of_leases_costs_no_page(epochs, clock):
    """Made-up tokens take and return leases without pushing out any page."""
    cache = SharedMemoryCache(4096, epochs, clock=clock)  # one set of sixteen
    keep(cache, page(clock))
    for n in range(1000):
        cache.release(take(cache, b"%d" % n, owner_of(n)).lease)
    assert cache.find(b"k", ANN) == page(clock)


def test_leases_go_before_pages_in_a_full_set(epochs, clock):
    """However many leases are held at once, the pages of others stay."""
    cache = SharedMemoryCache(4096, epochs, clock=clock)  # one set of sixteen
    keep(cache, page(clock))
    for n in range(1000):
        assert take(cache, b"%d" % n, owner_of(n)).found is Found.NONE
    assert cache.find(b"k", ANN) == page(clock)


def test_overwritten_pages_go_before_leases(epochs, clock):
    """Once a set has met more keys than it has slots, a new one takes the slot of a
    page that the ring has overwritten; leases to fill a key stay.
    """
    cache = SharedMemoryCache(4096, epochs, clock=clock)  # one set of sixteen
    for n in range(16):
        keep(cache, page(clock, bytes(450)), b"%d" % n)  # the ring has room for eight
    filling = take(cache, b"held")
    for n in range(16, 20):
        keep(cache, page(clock), b"%d" % n)
    assert take(cache, b"held").found is Found.BUSY
    assert cache.put(filling.lease, page(clock))


def test_a_page_stays_while_it_is_renewed(epochs, clock):
    """A lease is worth the page before it: others are taken in its set, and until the
    new page is there the old one is served.
    """
    cache = SharedMemoryCache(4096, epochs, clock=clock)  # one set of sixteen
    for n in range(16):
        keep(cache, page(clock), b"%d" % n)
    renewing = take(cache, b"15", want=Want(max_age=-1))
    for n in range(10):
        assert take(cache, b"new %d" % n).found is Found.NONE
    assert cache.find(b"15", ANN) == page(clock)
    assert cache.put(renewing.lease, page(clock))


def test_a_page_outlives_the_leases_of_those_who_renew_it(cache, clock):
    """Each asker whom it satisfies is given it meanwhile, and whoever takes the lease
    over has it as well.
    """
    kept = page(clock)
    keep(cache, kept)
    for _ in range(2):
        taken = take(cache, want=Want(max_age=-1))
        assert (taken.found, taken.page) == (Found.NONE, kept)
        assert take(cache).page == kept
        clock.now += 6  # past the lease's end
    cache.release(taken.lease)
    assert take(cache, want=Want(max_age=-1)).page == kept


def test_the_lease_of_a_dead_process_is_free(cache, clock):
    """A worker killed while it fills costs the others one more fill, at once."""

    def die():
        assert take(cache).found is Found.NONE
        os.kill(os.getpid(), signal.SIGKILL)

    assert exit_status(fork(die)) == -signal.SIGKILL
    assert take(cache).found is Found.NONE


def test_the_lease_of_a_living_process_is_not(epochs):
    """Another worker's lease is respected, and its page found when it is put."""
    cache = SharedMemoryCache(1_000_000, epochs)
    ready, go = os.pipe(), os.pipe()

    def fill():
        taken = take(cache)
        os.write(ready[1], b".")
        os.read(go[0], 1)
        now = time.monotonic()
        cache.put(taken.lease, Page(b"from the child", now, now + 60, now + 60))

    child = fork(fill)
    os.read(ready[0], 1)
    assert take(cache).found is Found.BUSY
    os.write(go[1], b".")
    assert exit_status(child) == 0
    assert take(cache).page.body == b"from the child"
    for end in ready + go:
        os.close(end)


def body_of(n):
    """The only right body of a numbered key."""
    return b"%d," % n * (100 + n)


def use_for_ever(cache):
    """Look up and put at random until killed."""
    chance = random.Random(os.getpid())
    while True:
        n = chance.randrange(60)
        taken = cache.take(b"%d" % n, owner_of(n), Want(), seconds=5)
        if taken.lease is not None:
            now = time.monotonic()
            cache.put(taken.lease, Page(body_of(n), now, now + 0.01, now + 60))


def test_no_death_leaves_a_wrong_page(epochs):
    """Writers that are killed at random moments, with a small ring that turns all the
    time: whoever reads finds the page of that key and owner, or none; and goes on.
    """
    cache = SharedMemoryCache(64 * 1024, epochs)
    chance = random.Random(1)
    found = 0
    for _ in range(12):
        writers = [fork(lambda: use_for_ever(cache)) for _ in range(2)]
        wanted = found + chance.randrange(20, 200)
        while found < wanted:  # however seldom a writer has its turn
            n = chance.randrange(60)
            taken = cache.take(b"%d" % n, owner_of(n), Want(), seconds=5)
            if taken.lease is not None:
                cache.release(taken.lease)
            if taken.page is not None:
                assert taken.page.body == body_of(n)
                found += 1
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
            exit_status(pid)
    assert take(cache, b"new").found is Found.NONE


@settings(max_examples=150)
@given(cut=st.integers(0, 16 * 16), owners=st.permutations([ANN, BEN]))
def test_a_slot_cut_short_is_no_page(cut, owners):
    """Whatever part of a set is still old and the rest new, each reader finds a page of
    its own or none.
    """
    clock = Clock()
    cache = SharedMemoryCache(16_000, Epochs(), clock=clock)  # one set of sixteen
    first, second = owners
    keep(cache, page(clock, b"one"), b"1", first)
    memory = cache._directory._memory
    before = memory[:]
    for n in range(16):  # the last of them takes the first one's slot
        keep(cache, page(clock, b"two"), b"2.%d" % n, second)
    after = memory[:]
    memory[:] = after[:cut] + before[cut:]
    found = cache.find(b"1", first)
    assert found is None or found.body == b"one"
    for n in range(16):
        found = cache.find(b"2.%d" % n, second)
        assert found is None or found.body == b"two"
        assert cache.find(b"2.%d" % n, first) is None
        assert take(cache, b"2.%d" % n, first).page is None


@settings(max_examples=60)
@given(at=st.integers(1, 4000), byte=st.integers(1, 255))
def test_an_altered_body_is_no_page(at, byte):
    """One byte of another writer in the body makes it none."""
    clock = Clock()
    cache = SharedMemoryCache(100_000, Epochs(), clock=clock)
    keep(cache, page(clock, bytes(4000)))
    cache._pages.ring._bytes[cache.bytes_written + 1 - at] ^= byte
    assert take(cache).page is None


class Model(RuleBasedStateMachine):
    """The cache beside a dictionary that forgets nothing."""

    keys = st.sampled_from([b"a1", b"a2", b"b1", b"b2"])

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.epochs = Epochs()
        self.cache = SharedMemoryCache(100_000, self.epochs, clock=self.clock)
        self.pages = {}
        self.leases = {}

    def owner(self, key):
        """Whose key it is."""
        return ANN if key.startswith(b"a") else BEN

    @rule(key=keys, age=st.sampled_from([None, 3.0]), old_ok=st.booleans())
    def look_up(self, key, age, old_ok):
        """A page that will do, else the lease unless it is out."""
        want, now = Want(age, old_ok), self.clock.now
        kept = self.pages.get(key)
        if kept is not None and now >= kept.servable_until:
            kept = None
        expected = kept and want.judge(kept, now)
        end = self.leases.get(key, (None, 0.0))[1]
        taken = take(self.cache, key, self.owner(key), want, seconds=4)
        assert taken.found is (expected or (Found.BUSY if now < end else Found.NONE))
        assert taken.page == kept
        if taken.lease is not None:
            self.leases[key] = taken.lease, now + 4

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), body=st.binary(max_size=50))
    def put(self, data, body):
        """The lease's holder puts, past its end too, as nobody took its record."""
        key = data.draw(st.sampled_from(sorted(self.leases)))
        lease, _ = self.leases.pop(key)
        kept = page(self.clock, body, fresh=3, servable=6)
        assert self.cache.put(lease, kept)
        self.pages[key] = kept

    @rule(owner=st.sampled_from([ANN, BEN]))
    def refuse(self, owner):
        """Nothing of the owner is left, and no lease of its is worth anything."""
        self.epochs.end(owner)
        for key in [key for key in self.pages if self.owner(key) == owner]:
            del self.pages[key]
        for key in [key for key in self.leases if self.owner(key) == owner]:
            assert not self.cache.put(self.leases.pop(key)[0], page(self.clock))

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0]))
    def wait(self, seconds):
        """Time passes."""
        self.clock.now += seconds


Model.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestModel = Model.TestCase
