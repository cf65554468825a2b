"""Pages that workers and machines share, through real read-throughs on one clock."""

import asyncio

import pytest
from msgspec.structs import replace

from aims_server.cache import sharing
from aims_server.cache.epochs import Epochs
from aims_server.cache.levels import Found, Level, Page, Taken, Want
from aims_server.cache.readthrough import ReadThrough, WrongOwner
from aims_server.cache.shared_memory import SharedMemoryCache
from aims_server.cache.sharing import Codec, MachinePages, Sharing
from aims_server.cache.singleflight import FlightCancelled, SingleFlight
from aims_server.cache.store import Entry, MemoryStore
from aims_server.deadline import Deadline
from tests.virtual_time import settle, virtual_loop

from .reading import FRESH, HIT, MISS, PENDING, STALE, Broken, Platform, Refused

pytestmark = pytest.mark.gen_test

ANN, BEN = b"a" * 32, b"b" * 32
TEXT = Codec[str](str.encode, bytes.decode, len)


class Observer:
    """Remembers what it is told."""

    def __init__(self):
        self.found = []
        self.waits = []
        self.ends = []
        self.put = []

    def shared_lookup(self, level, found):
        """Note what was found."""
        self.found.append((level, str(found)))

    def shared_wait(self, seconds):
        """Note a wait."""
        self.waits.append(seconds)

    def lease_ended(self, level, end):
        """Note the end of a lease."""
        self.ends.append((level, end))

    def page_put(self, level, size):
        """Note a page."""
        self.put.append((level, size))


class Machine:
    """Workers that share memory, and perhaps a further level with other machines."""

    def __init__(self, clock, *further):
        self.clock = clock
        self.epochs = Epochs()
        self.memory = SharedMemoryCache(1_000_000, self.epochs, clock=clock)
        self.levels = [level("machine", self.memory), *further]

    def worker(self):
        """A worker of this machine."""
        return Worker(self)


def level(name, memory, seconds=Deadline.remaining):
    """A level over this memory."""
    pages = MachinePages(memory)
    return Level(name, pages, seconds, 0.005, 1.5, 0.05, memory.find, memory.keep)


class Worker:
    """A read-through with a store and flights of its own."""

    def __init__(self, machine):
        self.clock = machine.clock
        self.observer = Observer()
        self.refused: list = []
        self.store: MemoryStore = MemoryStore(
            1 << 20, epochs=machine.epochs, clock=self.clock
        )
        self.flights: SingleFlight = SingleFlight(clock=self.clock, failure_memory=0.01)
        self.through: ReadThrough = ReadThrough(
            self.store,
            self.flights,
            refresh_deadline=lambda: Deadline(10, self.clock),
            is_refusal=lambda error: isinstance(error, Refused),
            loader=Sharing(machine.levels, TEXT, self.observer, clock=self.clock),
            on_refusal=lambda owner, kept: self.refused.append((owner, kept)),
            clock=self.clock,
        )

    def ask(self, platform, key=b"k", owner=ANN, *, seconds=10.0, max_age=None, **made):
        """One asker, as a task."""
        return asyncio.create_task(
            self.through.get(
                key,
                owner,
                platform.fill(owner, **made),
                Deadline(seconds, self.clock),
                max_age=max_age,
            )
        )


class Ill:
    """A store that does not answer."""

    async def take(self, key, owner, want, *, seconds):
        """Nothing is had."""
        return Taken(Found.NONE)

    async def put(self, lease, page):
        """Nothing is kept."""
        return False

    async def release(self, lease):
        """Nothing is held."""


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


@pytest.fixture(name="platform")
def _platform(clock):
    return Platform(clock)


@pytest.fixture(name="machine")
def _machine(clock):
    return Machine(clock)


@pytest.fixture(name="workers")
def _workers(machine):
    return [machine.worker() for _ in range(3)]


async def shown(task):
    """How an asker came by what."""
    served = await task
    return served.outcome, served.entry.value


async def answered(platform, task, value):
    """Have the platform answer the only call, and give what the asker is given."""
    await settle()
    platform.answer(value)
    return await shown(task)


async def test_what_is_made_of_a_shared_page_is_shared(platform, workers):
    """Made by the worker that asks first, found by all others without waiting."""
    first, second, _ = workers
    made = []

    async def make(entry):
        made.append(entry.value)
        return replace(entry, value=f"made of {entry.value}")

    def derived(worker):
        return asyncio.create_task(
            worker.through.derive(b"d", ANN, worker.ask(platform), make)
        )

    assert await answered(platform, derived(first), "page") == (MISS, "made of page")
    entry = second.through.peek(b"d", ANN, second.clock.now)
    assert entry.value == "made of page"
    assert await shown(derived(second)) == (HIT, "made of page")
    assert made == ["page"]
    assert [level for level, _ in first.observer.put] == ["machine"] * 2


async def test_workers_make_one_call(platform, workers):
    """All workers asked at once: one gathers, the others wait for it; later ones find
    the page with its true age.
    """
    tasks = [worker.ask(platform) for worker in workers for _ in range(5)]
    await asyncio.sleep(0.4)
    assert platform.calls == 1
    platform.answer("page")
    outcomes = [(await task).outcome for task in tasks]
    assert outcomes.count(MISS) == 1
    assert outcomes.count(PENDING) == 14
    assert {(await task).entry.value for task in tasks} == {"page"}
    made = (await tasks[0]).entry.made_at
    assert {(await task).entry.made_at for task in tasks} == {made}
    assert [len(worker.observer.waits) for worker in workers] == [0, 1, 1]


async def test_a_page_is_found_and_kept(platform, workers, clock):
    """What another worker has gathered is a HIT here, and from then on a HIT of this
    worker's own memory.
    """
    await answered(platform, workers[0].ask(platform), "page")
    clock.now += 100
    assert await shown(workers[1].ask(platform)) == (HIT, "page")
    assert await shown(workers[1].ask(platform)) == (HIT, "page")
    assert workers[1].observer.found == [("machine", "kept")]
    assert workers[0].observer.ends == [("machine", "kept")]
    assert workers[1].through.peek(b"k", ANN, clock.now).made_at == clock.now - 100


async def test_what_another_worker_keeps_is_a_hit_without_a_flight(platform, workers):
    """Also one that is not old yet for an asker of this age; no other, and for its
    owner only.
    """
    one, other, _ = workers
    await answered(platform, one.ask(platform), "page")
    now = one.clock.now
    assert other.through.peek(b"k", ANN, now).value == "page"
    assert other.through.peek(b"k", BEN, now) is None
    one.clock.now += 40
    assert other.through.peek(b"k", ANN, one.clock.now, 30.0) is None
    assert other.through.peek(b"k", ANN, one.clock.now, 50.0).value == "page"
    one.clock.now += FRESH
    assert other.through.peek(b"k", ANN, one.clock.now) is None


async def test_what_another_worker_keeps_is_at_hand(platform, workers):
    """Without a call, a lease or a wait; for its owner only, and not if it is none."""
    one, other, _ = workers
    assert other.through.find(b"k", ANN) is None
    await answered(platform, one.ask(platform), "page")
    found = other.through.find(b"k", ANN)
    assert found is not None
    assert found.value == "page"
    assert other.through.find(b"k", BEN) is None
    assert other.observer.found == [("machine", "kept")]


async def test_an_old_page_is_served_and_refreshed_once(platform, workers, clock):
    """Old for all: each worker serves it at once, and one of them refreshes it."""
    await answered(platform, workers[0].ask(platform), "first")
    clock.now += FRESH + 1
    for worker in workers:
        assert await shown(worker.ask(platform)) == (STALE, "first")
    await asyncio.sleep(0.1)
    assert platform.calls == 2
    platform.answer("second")
    await asyncio.sleep(0.1)
    for worker in workers:
        assert await shown(worker.ask(platform)) == (HIT, "second")
    assert platform.calls == 2


async def test_a_refreshed_page_costs_no_second_call(platform, workers, clock):
    """A worker whose own copy is old finds the one that another has refreshed."""
    await answered(platform, workers[0].ask(platform), "first")
    await shown(workers[1].ask(platform))
    clock.now += FRESH + 1
    await shown(workers[0].ask(platform))
    await settle()
    platform.answer("second")
    await settle()
    assert await shown(workers[1].ask(platform)) == (STALE, "first")
    await settle()
    assert await shown(workers[1].ask(platform)) == (HIT, "second")
    assert platform.calls == 2


async def test_no_cache_takes_what_anybody_made_within_the_floor(
    platform, workers, clock
):
    """A page of the wanted age will do, whoever made it; an older one will not."""
    await answered(platform, workers[0].ask(platform), "first")
    await shown(workers[1].ask(platform))
    clock.now += 40
    task = workers[0].ask(platform, max_age=30)
    assert await answered(platform, task, "second") == (MISS, "second")
    clock.now += 20
    assert await shown(workers[1].ask(platform, max_age=30)) == (HIT, "second")
    assert platform.calls == 2


async def test_a_more_demanding_asker_flies_again(platform, workers, clock):
    """Who wants a new page and joins the flight of one who does not gets a new one."""
    await answered(platform, workers[0].ask(platform), "first")
    clock.now += 40
    modest = workers[1].ask(platform)
    demanding = workers[1].ask(platform, max_age=30)
    await settle()
    platform.answer("second")
    assert await shown(modest) == (HIT, "first")
    assert await shown(demanding) == (MISS, "second")


async def test_no_cache_that_fails_gives_the_old_page(platform, workers, clock):
    """Where the platform fails, an old page of another worker will do."""
    await answered(platform, workers[0].ask(platform), "first")
    clock.now += 40
    task = workers[1].ask(platform, max_age=30)
    assert await answered(platform, task, Broken()) == (STALE, "first")


async def test_a_failure_lets_the_next_worker_try(platform, workers):
    """When a fill fails, those who wait elsewhere do not fail with it."""
    first = workers[0].ask(platform)
    second = workers[1].ask(platform)
    await asyncio.sleep(0.1)
    platform.answer(Broken())
    with pytest.raises(Broken):
        await first
    await asyncio.sleep(0.1)
    assert platform.calls == 2
    platform.answer("page")
    assert await shown(second) == (MISS, "page")
    assert workers[0].observer.ends == [("machine", "failed")]


async def test_a_refusal_voids_every_workers_copies(platform, workers):
    """One worker sees the token refused: no worker serves what is kept for it; another
    owner's pages stay.
    """
    await answered(platform, workers[0].ask(platform), "ann")
    await shown(workers[1].ask(platform))
    await answered(platform, workers[1].ask(platform, b"b", BEN), "ben")
    filling = workers[2].ask(platform, b"other")
    await settle()
    refused = workers[0].ask(platform, b"more")
    await settle()
    platform.held.reverse()
    platform.answer(Refused())
    with pytest.raises(Refused):
        await refused
    platform.answer("late")
    assert await shown(filling) == (MISS, "late")
    assert workers[0].refused == [(ANN, True)]
    for worker in workers[1:]:
        assert worker.through.peek(b"k", ANN, worker.clock.now) is None
    assert await shown(workers[0].ask(platform, b"b", BEN)) == (HIT, "ben")
    asked = workers[1].ask(platform, b"other")
    assert await answered(platform, asked, "new") == (MISS, "new")


async def test_a_flood_of_made_up_tokens_voids_nobodys_pages(platform, workers):
    """Hundreds of refused owners, all in one place of a table: a bystander there has
    its page at each worker, without a call.
    """
    bystander = 5900001
    await answered(platform, workers[0].ask(platform, b"b", bystander), "page")
    for worker in workers:
        await shown(worker.ask(platform, b"b", bystander))
    for n in range(1, 300):
        made_up = bystander + (n << 20)
        refused = workers[n % 3].ask(platform, b"%d" % made_up, made_up)
        await settle()
        platform.answer(Refused())
        with pytest.raises(Refused):
            await refused
    calls = platform.calls
    for worker in workers:
        assert await shown(worker.ask(platform, b"b", bystander)) == (HIT, "page")
        assert worker.through.peek(b"b", bystander, worker.clock.now) is not None
        assert not any(kept for _, kept in worker.refused)
    assert platform.calls == calls


async def test_waiting_ends_with_the_deadline(platform, workers):
    """Who waits for a worker that does not come back has its own time, and no more."""
    stuck = workers[0].ask(platform, seconds=100)
    await settle()
    with pytest.raises(TimeoutError):
        await workers[1].ask(platform, seconds=2)
    platform.answer("page")
    await stuck


async def test_standing_and_age_come_along(platform, workers, clock):
    """An entry that is found is as it was filled: whom the platform named, and whether
    it was made of old parts, or is incomplete.
    """
    now = clock.now

    async def fill(deadline):
        times = now - 5, now, now + 60
        return Entry("page", 4, ANN, *times, old=True, complete=False, student_id=7)

    deadline = Deadline(10, clock)
    filled = await workers[0].through.get(b"k", ANN, fill, deadline)
    found = await workers[1].through.get(b"k", ANN, platform.fill(ANN), deadline)
    assert filled.outcome is found.outcome is STALE
    assert filled.entry == found.entry
    await settle()
    platform.answer("made of new parts")
    await settle()


async def test_a_page_of_old_parts_displaces_no_better_one(platform, workers, clock):
    """Made of the same parts when they were not yet old: that one stays for all."""
    one, other, _ = workers
    now = clock.now
    await answered(platform, one.ask(platform), "page")
    clock.now += 40

    async def fill(deadline):
        return Entry("page again", 10, ANN, now, clock.now, clock.now + 60, old=True)

    served = await other.through.get(b"k", ANN, fill, Deadline(10, clock), max_age=30)
    assert (served.outcome, served.entry.value) == (STALE, "page again")
    for worker in workers:
        found = worker.through.peek(b"k", ANN, clock.now)
        assert (found.value, found.made_at) == ("page", now)


async def test_a_page_of_old_parts_that_is_found_is_refreshed(platform, workers, clock):
    """Whoever made it does so only if it is asked again; whoever finds it does."""
    now = clock.now

    async def fill(deadline):
        return Entry("old", 3, ANN, now - 5, now, now + 60, old=True)

    await workers[0].through.get(b"k", ANN, fill, Deadline(10, clock))
    assert await shown(workers[1].ask(platform)) == (STALE, "old")
    await settle()
    platform.answer("new")
    await settle()
    assert await shown(workers[1].ask(platform)) == (HIT, "new")


async def test_machines_make_one_call(platform, clock):
    """With a second level over two machines of two workers: still one call, and a page
    found there is put into the machine's memory.
    """
    far = SharedMemoryCache(1_000_000, Epochs(), clock=clock)
    stores = [level("store", far, lambda deadline: 2.5) for _ in range(2)]
    machines = [Machine(clock, store) for store in stores]
    workers = [machine.worker() for machine in machines for _ in range(2)]
    tasks = [worker.ask(platform) for worker in workers]
    await asyncio.sleep(0.4)
    assert platform.calls == 1
    platform.answer("page")
    outcomes = [(await task).outcome for task in tasks]
    assert sorted(outcomes) == [MISS, PENDING, PENDING, PENDING]
    late = machines[1].worker()
    assert await shown(late.ask(platform)) == (HIT, "page")
    assert late.observer.found == [("machine", "kept")]


async def test_a_level_without_lease_is_passed_over(platform, clock):
    """Where a level has neither page nor lease to give, each machine goes on alone."""
    ill = Level("store", Ill(), Deadline.remaining, 0.01, 1.6, 0.08)
    workers = [Machine(clock, ill).worker() for _ in range(2)]
    tasks = [worker.ask(platform) for worker in workers]
    await settle()
    assert platform.calls == 2
    platform.answer("one")
    platform.answer("two")
    assert [await shown(task) for task in tasks] == [(MISS, "one"), (MISS, "two")]


@pytest.mark.parametrize("body", [b"short", bytes(10) + b"\xff"])
async def test_a_page_that_cannot_be_read_is_no_page(platform, machine, clock, body):
    """It is filled anew."""
    taken = machine.memory.take(sharing._VERSION + b"k", ANN, Want(), seconds=5)
    now = clock.now
    machine.memory.put(taken.lease, Page(body, now, now + 60, now + 60))
    task = machine.worker().ask(platform)
    assert await answered(platform, task, "page") == (MISS, "page")


async def test_two_releases_do_not_meet(platform, machine, monkeypatch):
    """Machines of two releases fill and find pages each of their own form."""
    old, new = machine.worker(), machine.worker()
    assert await answered(platform, old.ask(platform), "old form") == (MISS, "old form")
    monkeypatch.setattr(sharing, "_VERSION", b"another")
    assert await answered(platform, new.ask(platform), "new form") == (MISS, "new form")
    assert await shown(machine.worker().ask(platform)) == (HIT, "new form")
    monkeypatch.undo()
    assert await shown(machine.worker().ask(platform)) == (HIT, "old form")


async def test_a_cancelled_flight_holds_no_one_up_for_long(platform, workers, clock):
    """A worker that stops while it fills leaves a lease that ends with its deadline."""
    stopped = workers[0].ask(platform, seconds=3)
    await settle()
    await workers[0].flights.close()
    with pytest.raises(FlightCancelled):
        await stopped
    other = workers[1].ask(platform, seconds=10)
    await asyncio.sleep(3.2)
    assert platform.calls == 2
    platform.held.pop(0)
    platform.answer("page")
    assert await shown(other) == (MISS, "page")


async def test_an_entry_of_another_owner_is_not_shared(platform, workers, clock):
    """A fill that brings another owner's entry serves nobody, in no worker."""

    async def foreign(deadline):
        return Entry("ben's", 5, BEN, clock.now, clock.now + 60, clock.now + 60)

    with pytest.raises(WrongOwner):
        await workers[1].through.get(b"x", ANN, foreign, Deadline(10, clock))
    task = workers[2].ask(platform, b"x", ANN)
    assert await answered(platform, task, "ann's") == (MISS, "ann's")


async def test_parts_that_any_worker_keeps_are_found_together(platform, workers, clock):
    """Those that are fresh, of this owner: what one page lacked is asked for only."""
    for key, worker in ((b"1", workers[0]), (b"2", workers[1])):
        await answered(platform, worker.ask(platform, key), key.decode())
    through = workers[1].through
    found = through.find_fresh([b"1", b"2", b"3"], ANN)
    assert {key: entry.value for key, entry in found.items()} == {b"1": "1", b"2": "2"}
    assert through.find_fresh([b"1", b"2"], BEN) == {}
    clock.now += FRESH
    assert through.find_fresh([b"1", b"2"], ANN) == {}
