"""What goes wrong for one worker that shares pages, and what the others notice."""

import asyncio

import pytest

from aims_server.cache import sharing
from aims_server.cache.levels import Found, Lease, Level, Page, Taken, Want
from aims_server.cache.readthrough import WrongOwner
from aims_server.cache.singleflight import FlightCancelled
from aims_server.cache.store import Entry
from aims_server.deadline import Deadline
from tests.virtual_time import settle, virtual_loop

from .machines import ANN, BEN, Machine, answered, shown
from .reading import HIT, MISS, STALE, Broken, Refused

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


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


class Slow(Ill):
    """A store that takes its time to take a lease back."""

    async def take(self, key, owner, want, *, seconds):
        """Nothing is had, and the asker may fill it."""
        return Taken(Found.NONE, None, Lease(1, key, owner, 1))

    async def release(self, lease):
        """It is taken back in the end."""
        await asyncio.sleep(1)


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
    assert workers[2].observer.ends == [("machine", "void")]
    for worker in workers[1:]:
        assert worker.through.kept.get_fresh(b"k", ANN, worker.clock.now) is None
    assert await shown(workers[0].ask(platform, b"b", BEN)) == (HIT, "ben")
    asked = workers[1].ask(platform, b"other")
    assert await answered(platform, asked, "new") == (MISS, "new")


async def test_what_was_made_before_a_refusal_is_not_kept_after_it(
    platform, workers, clock
):
    """It is not kept for a worker that waited to keep it, even in a new epoch."""
    refused = workers[0].ask(platform)
    await settle()
    through, now = workers[1].through, clock.now
    entry = Entry("early", 5, ANN, now, now + 300, now + 2100)
    through.keep(b"k", through.epochs.of(ANN), entry)
    await settle()
    platform.answer(Refused())
    with pytest.raises(Refused):
        await refused
    await asyncio.sleep(1)
    assert not workers[1].flights
    assert workers[2].through.kept.find(b"k", ANN) is None


async def test_a_flood_of_made_up_tokens_voids_nobodys_pages(platform, workers):
    """Hundreds of refused owners, all in one place of a table: a bystander there has
    its page at each worker, without a call.
    """

    class Owner(bytes):
        """One whose place in the table is that of all others."""

        def __hash__(self):
            return (int(self) << 20) + 7

    bystander = Owner(b"%032d" % 0)
    await answered(platform, workers[0].ask(platform, b"b", bystander), "page")
    for worker in workers:
        await shown(worker.ask(platform, b"b", bystander))
    for n in range(1, 300):
        made_up = Owner(b"%032d" % n)
        refused = workers[n % 3].ask(platform, made_up, made_up)
        await settle()
        platform.answer(Refused())
        with pytest.raises(Refused):
            await refused
    calls = platform.calls
    for worker in workers:
        assert await shown(worker.ask(platform, b"b", bystander)) == (HIT, "page")
        assert (
            worker.through.kept.get_fresh(b"b", bystander, worker.clock.now) is not None
        )
        assert not any(kept for _, kept in worker.refused)
    assert platform.calls == calls


async def test_waiting_ends_with_the_deadline(platform, workers):
    """An asker waits for a worker that does not come back until its own deadline."""
    stuck = workers[0].ask(platform, seconds=100)
    await settle()
    with pytest.raises(TimeoutError):
        await workers[1].ask(platform, seconds=2)
    platform.answer("page")
    await stuck
    await asyncio.sleep(1)  # the flight goes on, and finds the page
    assert not len(workers[1].flights)


async def test_a_level_without_lease_is_passed_over(platform, clock):
    """Where a level has neither page nor lease to give, each machine goes on alone."""
    ill = Level("store", Ill(), Deadline.remaining, 0.01, 0.08)
    workers = [Machine(clock, ill).worker() for _ in range(2)]
    tasks = [worker.ask(platform) for worker in workers]
    await settle()
    assert platform.calls == 2
    platform.answer("one")
    platform.answer("two")
    assert [await shown(task) for task in tasks] == [(MISS, "one"), (MISS, "two")]


@pytest.mark.parametrize("body", [b"short", bytes(10) + b"\xff"])
async def test_a_page_that_cannot_be_read_is_no_page(platform, machine, clock, body):
    """A page that cannot be unpacked is filled again."""
    taken = machine.memory.take(sharing._VERSION + b"k", ANN, Want(), seconds=5)
    now = clock.now
    machine.memory.put(taken.lease, Page(body, now, now + 60, now + 60))
    task = machine.worker().ask(platform)
    assert await answered(platform, task, "page") == (MISS, "page")


async def test_two_releases_do_not_meet(platform, machine, monkeypatch):
    """Machines of two releases fill and find pages each of their own form."""
    old = [machine.worker() for _ in range(2)]
    monkeypatch.setattr(sharing, "_VERSION", b"another")
    new = [machine.worker() for _ in range(2)]
    for workers, form in ((old, "old form"), (new, "new form")):
        asker = workers[0].ask(platform)
        assert await answered(platform, asker, form) == (MISS, form)
    for workers, form in ((old, "old form"), (new, "new form")):
        assert await shown(workers[1].ask(platform)) == (HIT, form)


async def test_a_cancelled_flight_holds_no_one_up(platform, workers):
    """A worker that stops while it fills gives its lease back."""
    stopped = workers[0].ask(platform)
    await settle()
    await workers[0].flights.close()
    with pytest.raises(FlightCancelled):
        await stopped
    other = workers[1].ask(platform)
    platform.held.pop(0)
    assert await answered(platform, other, "page") == (MISS, "page")
    assert workers[0].observer.ends == [("machine", "failed")]


async def test_a_refusal_does_not_wait_for_the_store(platform, clock):
    """No worker serves the token's pages while a lease is being given back."""
    store = Level("store", Slow(), Deadline.remaining, 0.01, 0.08)
    machine = Machine(clock, store)
    workers = [machine.worker() for _ in range(2)]
    await answered(platform, workers[0].ask(platform), "page")
    refused = workers[0].ask(platform, b"more")
    await settle()
    platform.answer(Refused())
    await settle()
    assert not refused.done()
    assert workers[0].refused == [(ANN, True)]
    for worker in workers:
        assert worker.through.kept.get_fresh(b"k", ANN, clock.now) is None
    with pytest.raises(Refused):
        await refused


async def test_an_entry_of_another_owner_is_not_shared(platform, workers, clock):
    """A fill that brings another owner's entry serves nobody, in no worker."""

    async def foreign(deadline):
        return Entry("ben's", 5, BEN, clock.now, clock.now + 60, clock.now + 60)

    with pytest.raises(WrongOwner):
        await workers[1].through.get(b"x", ANN, foreign, Deadline(10, clock))
    assert workers[1].observer.ends == [("machine", "failed")]
    task = workers[2].ask(platform, b"x", ANN)
    assert await answered(platform, task, "ann's") == (MISS, "ann's")
