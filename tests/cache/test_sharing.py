"""Pages that workers and machines share, through real read-throughs on one clock."""

import asyncio

import pytest

from aims_server.cache.levels import Level, Page, Want
from aims_server.cache.shared_memory import SharedMemoryCache
from aims_server.cache.sharing import MachinePages
from aims_server.cache.store import Entry
from aims_server.deadline import Deadline
from aims_server.primitives.epochs import Epochs
from tests.virtual_time import settle, virtual_loop

from .machines import ANN, BEN, Machine, answered, level, shown
from .reading import FRESH, HIT, MISS, PENDING, STALE, Broken, made_of

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


@pytest.fixture(name="apart")
def _apart(clock):
    """Workers of two machines, two of each, which share a store."""
    far = MachinePages(SharedMemoryCache(1_000_000, Epochs(), clock=clock))
    store = Level("store", far, Deadline.remaining, 0.01, 0.08)
    machines = [Machine(clock, store) for _ in range(2)]
    return [machine.worker() for machine in machines for _ in range(2)]


async def test_what_is_made_of_a_shared_page_is_shared(platform, workers):
    """The first worker that asks makes it; the others find it without waiting."""
    first, second, _ = workers
    made = []

    async def make(entry):
        made.append(entry.value)
        return await made_of(entry)

    def derived(worker):
        return asyncio.create_task(
            worker.through.derive(b"d", ANN, worker.ask(platform), make)
        )

    assert await answered(platform, derived(first), "page") == (MISS, "made of page")
    entry = second.through.kept.get_fresh(b"d", ANN, second.clock.now)
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
    assert workers[0].observer.waits == []
    for worker in workers[1:]:
        assert worker.observer.waits == [pytest.approx(0.4, abs=0.05)]
        assert worker.observer.found == [("machine", "busy"), ("machine", "kept")]


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
    assert (
        workers[1].through.kept.get_fresh(b"k", ANN, clock.now).made_at
        == clock.now - 100
    )


async def test_what_another_worker_keeps_is_a_hit_without_a_flight(platform, workers):
    """It is one only for its owner, and only if it is young enough for the asker."""
    one, other, _ = workers
    await answered(platform, one.ask(platform), "page")
    now = one.clock.now
    assert other.through.kept.get_fresh(b"k", ANN, now).value == "page"
    assert other.through.kept.get_fresh(b"k", BEN, now) is None
    one.clock.now += 40
    assert other.through.kept.get_fresh(b"k", ANN, one.clock.now, 30.0) is None
    assert other.through.kept.get_fresh(b"k", ANN, one.clock.now, 50.0).value == "page"
    one.clock.now += FRESH
    assert other.through.kept.get_fresh(b"k", ANN, one.clock.now) is None


async def test_who_joins_a_look_at_a_kept_page_has_a_hit(platform, apart):
    """A request that joins the look-up of another machine's page gets a HIT, with no
    call.
    """
    one, _, other, _ = apart
    await answered(platform, one.ask(platform), "page")
    tasks = [other.ask(platform) for _ in range(2)]
    assert [await shown(task) for task in tasks] == [(HIT, "page")] * 2
    assert other.observer.found == [("machine", "none"), ("store", "kept")]


@pytest.mark.parametrize(("size", "others_first"), [(1 << 10, False), (1 << 20, True)])
async def test_a_large_page_is_put_in_a_turn_of_its_own(clock, size, others_first):
    """What is due runs before it."""
    pages = MachinePages(SharedMemoryCache(16 << 20, Epochs(), clock=clock))
    taken = await pages.take(b"k", ANN, Want(), seconds=5.0)
    order: list[str] = []
    asyncio.get_running_loop().call_soon(order.append, "others")
    page = Page(bytes(size), clock.now, clock.now + 1, clock.now + 2)
    assert taken.lease is not None
    assert await pages.put(taken.lease, page)
    assert bool(order) is others_first


async def test_what_is_looked_for_again_is_copied(platform, clock):
    """The third look finds it in this worker's own memory."""
    machine = Machine(clock)
    workers = [machine.worker(copied_bytes=1 << 16) for _ in range(3)]
    one, other, third = workers
    await answered(platform, one.ask(platform), "page")
    for _ in range(3):
        assert await shown(one.ask(platform)) == (HIT, "page")
        assert await shown(other.ask(platform)) == (HIT, "page")
        assert third.through.kept.get_fresh(b"k", ANN, clock.now).value == "page"
    assert one.observer.found == [("machine", "none"), ("machine", "kept")]
    for worker in (other, third):
        assert worker.observer.found == [("machine", "kept")] * 2


@pytest.mark.parametrize("shared", [True, False])
async def test_what_is_made_of_a_page_is_copied_alike(platform, clock, shared):
    """It is copied if the machine has the page; otherwise it is kept here at once."""
    machine = Machine(clock)
    if not shared:
        machine.levels = []
    worker = machine.worker(copied_bytes=1 << 16)

    source = worker.ask(platform, b"source")
    await answered(platform, source, "page")
    await worker.through.derive(b"k", ANN, source, made_of)
    worker.observer.found.clear()
    for _ in range(3):
        entry = worker.through.kept.get_fresh(b"k", ANN, clock.now)
        assert entry.value == "made of page"
    assert worker.observer.found == [("machine", "kept")] * shared


async def test_what_another_worker_keeps_is_at_hand(platform, workers):
    """It is given to its owner alone, without a call, a lease or a wait."""
    one, other, _ = workers
    assert other.through.kept.find(b"k", ANN) is None
    await answered(platform, one.ask(platform), "page")
    found = other.through.kept.find(b"k", ANN)
    assert found is not None
    assert found.value == "page"
    assert other.through.kept.find(b"k", BEN) is None
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


async def test_an_old_page_is_served_as_long_as_its_refresh_runs(platform, clock):
    """Each time at once, also by a worker that has not copied it yet."""
    machine = Machine(clock)
    one, other = (machine.worker(copied_bytes=1 << 16) for _ in range(2))
    await answered(platform, one.ask(platform), "first")
    clock.now += FRESH + 1
    async with asyncio.timeout(1):  # of the test's own time
        for _ in range(3):
            assert await shown(other.ask(platform)) == (STALE, "first")
            await settle()
    platform.answer("second")
    await settle()
    assert platform.calls == 2


async def test_a_refreshed_page_costs_no_second_call(platform, workers, clock):
    """A worker whose own copy is old finds the one that another has refreshed, and
    shows no older one before.
    """
    await answered(platform, workers[0].ask(platform), "first")
    await shown(workers[1].ask(platform))
    clock.now += FRESH + 1
    await shown(workers[0].ask(platform))
    await settle()
    platform.answer("second")
    await settle()
    assert await shown(workers[1].ask(platform)) == (HIT, "second")
    assert platform.calls == 2


async def test_of_two_old_pages_the_newer_is_served(platform, workers, clock):
    """While the platform is down no page goes back in time from worker to worker."""
    one, other, _ = workers
    await answered(platform, one.ask(platform), "first")
    await shown(other.ask(platform))
    clock.now += FRESH + 1
    task = one.ask(platform, max_age=30)
    assert await answered(platform, task, "second") == (MISS, "second")
    clock.now += FRESH + 1
    for worker in workers:
        assert await shown(worker.ask(platform)) == (STALE, "second")
    await settle()
    platform.answer("third")
    await asyncio.sleep(0.2)  # of the test's own time: the other two find it


async def test_of_two_old_pages_the_newer_is_served_where_a_fill_fails(
    platform, workers, clock
):
    """A request for a new page gets no older one than other requests."""
    one, other, _ = workers
    await answered(platform, one.ask(platform), "first")
    await shown(other.ask(platform))
    clock.now += FRESH + 1
    await answered(platform, one.ask(platform, max_age=30), "second")
    clock.now += FRESH + 1
    asker = other.ask(platform, max_age=30)
    assert await answered(platform, asker, Broken()) == (STALE, "second")


async def test_an_incomplete_page_displaces_no_whole_one_of_another_worker(
    platform, workers, clock
):
    """The machine has lost the whole one, which this worker still has, when the other
    one makes one that lacks something.
    """
    one, other, _ = workers
    await answered(platform, one.ask(platform), "whole")
    for number in range(20):
        large = other.ask(platform, f"{number}".encode(), BEN)
        await answered(platform, large, "x" * 100_000)
    assert other.through.kept.find(b"k", ANN) is None
    clock.now += FRESH + 1
    now = clock.now

    async def fill(deadline):
        return Entry("part", 4, ANN, now, now + 15, now + 60, complete=False)

    await other.through.get(b"k", ANN, fill, Deadline(10, clock))
    assert one.through.kept.get_fresh(b"k", ANN, now) is None
    assert await shown(one.ask(platform)) == (STALE, "whole")
    await settle()
    assert await shown(one.ask(platform)) == (STALE, "whole")


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


@pytest.mark.parametrize(
    ("old", "outcomes"), [(False, [HIT, MISS]), (True, [STALE, PENDING])]
)
async def test_a_more_demanding_asker_flies_again(
    platform, apart, clock, old, outcomes
):
    """An asker for a new page joins the flight of one for any, which finds an older one
    in the store, perhaps made of old parts; and gets a new one.
    """
    one, _, other, _ = apart
    now = clock.now

    async def fill(deadline):
        ends = now if old else now + FRESH, now + 2 * FRESH
        return Entry("first", 5, ANN, now, *ends, old=old)

    await one.through.get(b"k", ANN, fill, Deadline(10, clock))
    clock.now += 40
    askers = [other.ask(platform), other.ask(platform, max_age=30)]
    await settle()
    platform.answer("second")
    shown = [await asker for asker in askers]
    assert [served.outcome for served in shown] == outcomes
    assert [served.entry.value for served in shown] == ["first", "second"]


@pytest.mark.parametrize("named", [7, None])
async def test_standing_and_age_come_along(platform, workers, clock, named):
    """An entry that is found is as it was filled: whom the platform named, if anybody,
    and whether it was made of old parts, or is incomplete.
    """
    now = clock.now

    async def fill(deadline):
        times = now - 5, now, now + 60
        return Entry("page", 4, ANN, *times, old=True, complete=False, student_id=named)

    deadline = Deadline(10, clock)
    filled = await workers[0].through.get(b"k", ANN, fill, deadline)
    found = await workers[1].through.get(b"k", ANN, platform.fill(ANN), deadline)
    assert filled.outcome is found.outcome is STALE
    assert filled.entry == found.entry
    await settle()
    assert not platform.held  # what an incomplete one lacks is not asked for at once


async def test_a_page_of_old_parts_displaces_no_better_one(platform, workers, clock):
    """The page made of the same parts while they were fresh stays for all."""
    one, other, _ = workers
    now = clock.now
    await answered(platform, one.ask(platform), "page")
    clock.now += 40

    async def fill(deadline):
        return Entry("page again", 10, ANN, now, clock.now, clock.now + 60, old=True)

    served = await other.through.get(b"k", ANN, fill, Deadline(10, clock), max_age=30)
    assert (served.outcome, served.entry.value) == (STALE, "page again")
    for worker in workers:
        found = worker.through.kept.get_fresh(b"k", ANN, clock.now)
        assert (found.value, found.made_at) == ("page", now)


async def test_a_newer_page_of_old_parts_displaces_an_older_one(
    platform, workers, clock
):
    """It does so in the worker that made it, too."""
    one, *_ = workers
    await answered(platform, one.ask(platform), "page")
    clock.now += FRESH + 10
    now = clock.now

    async def fill(deadline):
        return Entry("newer", 5, ANN, now - 5, now, now + 60, old=True)

    await one.through.get(b"k", ANN, fill, Deadline(10, clock), max_age=30)
    for worker in workers:
        assert worker.through.kept.find(b"k", ANN).value == "newer"


async def test_what_is_kept_is_found_by_all(platform, workers, clock):
    """A kept page replaces an older one for all workers, but not after a refusal."""
    one, other, third = workers
    await answered(platform, other.ask(platform), "older")
    clock.now += 5
    made_at = clock.now - 1
    newer = Entry("newer", 5, ANN, made_at, made_at + FRESH, made_at + FRESH)
    epoch = one.through.epochs.of(ANN)
    one.through.keep(b"k", epoch, newer)
    await settle()
    for worker in (one, third):
        found = worker.through.kept.get_fresh(b"k", ANN, clock.now)
        assert (found.value, found.made_at) == ("newer", made_at)
    one.store.drop_owner(ANN)
    one.through.keep(b"k", epoch, newer)
    await settle()
    assert third.through.kept.find(b"k", ANN) is None


async def test_what_is_kept_late_displaces_nothing_newer(platform, workers, clock):
    """A part of a page that was long in the making: meanwhile another worker has
    fetched it again, and nobody is shown the older one.
    """
    one, other, _ = workers
    late = Entry("older", 5, ANN, clock.now, clock.now + FRESH, clock.now + FRESH)
    clock.now += 20
    await answered(platform, other.ask(platform), "newer")
    clock.now += 5
    one.through.keep(b"k", one.through.epochs.of(ANN), late)
    await settle()
    for worker in workers:
        found = worker.through.kept.get_fresh(b"k", ANN, clock.now)
        assert found.value == "newer"


async def test_a_page_of_old_parts_that_is_found_is_refreshed(platform, workers, clock):
    """Another worker that finds it serves it and refreshes it at once."""
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


async def test_an_old_page_of_another_machine_will_do_if_no_other_can_be_had(
    platform, apart, clock
):
    """It was too old for the asker, and the platform fails."""
    one, _, other, _ = apart
    await answered(platform, one.ask(platform), "old")
    clock.now += 100
    asker = other.ask(platform, max_age=30)
    assert await answered(platform, asker, Broken()) == (STALE, "old")


async def test_an_old_page_of_another_machine_will_do_while_that_one_waits(
    platform, apart, clock
):
    """A machine that is gathering a newer one has it no sooner than the platform."""
    one, _, *others = apart
    await answered(platform, one.ask(platform), "old")
    clock.now += 100
    gathering = one.ask(platform, max_age=30)
    await settle()
    waiting = [other.ask(platform, seconds=2, max_age=30) for other in others]
    assert [await shown(task) for task in waiting] == [(STALE, "old")] * 2
    assert await answered(platform, gathering, "new") == (MISS, "new")
    await asyncio.sleep(0.5)
    assert [await shown(o.ask(platform)) for o in others] == [(HIT, "new")] * 2
    assert platform.calls == 2


async def test_an_incomplete_page_of_another_machine_displaces_no_whole_one(
    platform, clock
):
    """The store has lost the whole one, which this machine still has, and the other's
    is too old for the asker.
    """
    far = MachinePages(SharedMemoryCache(50_000, Epochs(), clock=clock))
    store = Level("store", far, Deadline.remaining, 0.01, 0.08)
    one, other = (Machine(clock, store).worker() for _ in range(2))
    await answered(platform, one.ask(platform), "whole")
    for number in range(12):
        large = other.ask(platform, f"{number}".encode(), BEN)
        await answered(platform, large, "x" * 5000)
    clock.now += FRESH + 60
    now = clock.now

    async def fill(deadline):
        times = now - 60, now, now + 15
        return Entry("part", 4, ANN, *times, old=True, complete=False)

    await other.through.get(b"k", ANN, fill, Deadline(10, clock))
    asker = one.machine.worker().ask(platform, max_age=30)
    assert await answered(platform, asker, Broken()) == (STALE, "whole")


@pytest.mark.parametrize("lack", [{"complete": False}, {"old": True}])
async def test_what_is_worse_than_another_machines_page_displaces_it_nowhere(
    apart, platform, clock, lack
):
    """The store's page is too old for the asker, whose own one lacks something. Other
    workers of the asker's machine show the store's.
    """
    one, _, other, beside = apart
    await answered(platform, one.ask(platform), "whole")
    clock.now += 40
    now = clock.now

    async def fill(deadline):
        return Entry("worse", 5, ANN, now - 400, now, now + 15, **lack)

    await other.through.get(b"k", ANN, fill, Deadline(10, clock), max_age=30)
    assert await shown(beside.ask(platform)) == (HIT, "whole")


async def test_an_old_page_of_another_machine_is_refreshed_behind_its_asker(
    platform, apart, clock
):
    """The refresh begins at once, without another request."""
    one, _, other, _ = apart
    await answered(platform, one.ask(platform), "old")
    clock.now += FRESH
    assert await shown(other.ask(platform)) == (STALE, "old")
    await settle()
    platform.answer("new")
    await settle()
    assert other.through.kept.get_fresh(b"k", ANN, clock.now).value == "new"


async def test_parts_that_any_worker_keeps_are_found_together(platform, workers, clock):
    """Fresh parts of this owner are found; only what is missing is called for."""
    for key, worker in ((b"1", workers[0]), (b"2", workers[1])):
        await answered(platform, worker.ask(platform, key), key.decode())
    through = workers[1].through
    found = through.kept.find_fresh([b"1", b"2", b"3"], ANN)
    assert {key: entry.value for key, entry in found.items()} == {b"1": "1", b"2": "2"}
    assert through.kept.find_fresh([b"1", b"2"], BEN) == {}
    clock.now += FRESH
    assert through.kept.find_fresh([b"1", b"2"], ANN) == {}


async def test_no_worker_shows_an_older_copy_than_the_machine_has(platform, clock):
    """After a page was made anew on one worker, no other shows an older one."""
    machine = Machine(clock)
    one, other = (machine.worker(copied_bytes=1 << 16) for _ in range(2))
    await answered(platform, one.ask(platform), "first")
    for _ in range(3):
        assert await shown(other.ask(platform)) == (HIT, "first")
    clock.now += 60
    await answered(platform, one.ask(platform, max_age=30), "second")
    assert other.through.kept.get_fresh(b"k", ANN, clock.now).value == "second"
    assert await shown(other.ask(platform)) == (HIT, "second")
