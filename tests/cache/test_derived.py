"""What is made of another entry: its times, its owner, and what it replaces.

P9 is a promise of docs/reliability.rst.
"""

import asyncio

import pytest

from aims_server.cache.loading import Served
from aims_server.cache.readthrough import WrongOwner
from aims_server.cache.store import Entry
from aims_server.deadline import Deadline
from tests.virtual_time import settle, virtual_loop

from .reading import FRESH, HIT, MISS, PENDING, STALE, Broken, made_of

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


def derived(bench, made, owner=b"ann", **options):
    """One asker for an entry made of this owner's, which `made` is to count."""

    async def make(entry):
        made.append(entry.value)
        return await made_of(entry)

    source = bench.through.get(
        b"source",
        owner,
        bench.platform.fill(owner),
        Deadline(10, bench.clock),
        **options,
    )
    return asyncio.create_task(bench.through.derive(b"k", b"ann", source, make))


async def test_what_is_made_of_another_entry_is_made_once(bench):
    """The first of those who wait for the source makes it, and it is kept."""
    made: list[str] = []
    wave = [derived(bench, made) for _ in range(10)]
    await settle()
    bench.platform.answer("source")
    served = await asyncio.gather(*wave)
    assert [one.outcome for one in served] == [MISS] + [PENDING] * 9
    assert {one.entry.value for one in served} == {"made of source"}
    assert made == ["source"]
    assert (
        bench.through.kept.get_fresh(b"k", b"ann", bench.clock.now) is served[0].entry
    )


async def test_what_is_made_of_another_entry_has_its_times(bench):
    """It is as old as its source, and made anew when that is."""
    made: list[str] = []
    await bench.fetch("first", b"source")
    made_at = bench.clock.now
    bench.clock.now += 100
    served = await derived(bench, made)
    assert (served.outcome, served.entry.made_at) == (HIT, made_at)
    bench.clock.now += FRESH
    served = await derived(bench, made)
    assert (served.outcome, served.entry.value) == (STALE, "made of first")
    await settle()
    bench.platform.answer("second")
    await settle()
    assert bench.through.kept.get_fresh(b"k", b"ann", bench.clock.now) is None
    served = await derived(bench, made)
    assert (served.outcome, served.entry.value) == (HIT, "made of second")
    assert made == ["first", "second"]


async def test_what_is_made_of_an_entry_that_had_to_do_is_kept(bench):
    """It was to be newer, which failed: the next asker finds what was made of it."""
    await bench.fetch("first", b"source")
    bench.clock.now += 100
    asker = derived(bench, [], max_age=30)
    await settle()
    bench.platform.answer(Broken())
    served = await asker
    assert (served.outcome, served.entry.value) == (STALE, "made of first")
    assert bench.through.kept.get_fresh(b"k", b"ann", bench.clock.now) is served.entry


async def test_what_is_made_of_an_entry_that_is_no_longer_fresh_is_kept(bench):
    """It is kept for those who ask before the refresh has ended."""
    await bench.fetch("first", b"source")
    bench.clock.now += FRESH
    made: list[str] = []
    for _ in range(2):
        served = await derived(bench, made)
        assert (served.outcome, served.entry.value) == (STALE, "made of first")
    assert made == ["first"]
    bench.platform.answer("second")
    await settle()


async def test_nothing_is_made_of_another_owners_entry(bench):
    """P9: whoever asks for it gets nothing."""
    made: list[str] = []
    await bench.fetch("ben's", b"source", b"ben")
    with pytest.raises(WrongOwner):
        await derived(bench, made, owner=b"ben")
    assert (made, len(bench.foreign)) == ([], 1)


async def test_what_is_made_of_less_replaces_nothing(bench):
    """The better one stays, though its source is no longer kept."""
    made: list[str] = []
    asker = derived(bench, made)
    await settle()
    bench.platform.answer("source")
    await asker
    bench.store.put(b"source", Entry("ended", 5, b"ann", 0, 0, 0))  # and so drops it
    bench.clock.now += FRESH
    now = bench.clock.now

    async def source():
        less = Entry("less", 4, b"ann", now, now + 15, now + 15, complete=False)
        return Served(less, MISS)

    served = await bench.through.derive(b"k", b"ann", source(), None)
    assert (served.outcome, served.entry.value) == (STALE, "made of source")


async def test_what_is_made_of_less_will_do_where_there_is_nothing_better(bench):
    """The first time, and in place of what was made of as little before."""
    for value in ("first", "second"):
        bench.clock.now += 1
        now = bench.clock.now
        less = Entry(value, 4, b"ann", now, now + 15, now + 15, complete=False)

        async def source(less=less):
            return Served(less, MISS, epoch=bench.store.epochs.begin(b"ann"))

        served = await bench.through.derive(b"k", b"ann", source(), made_of)
        assert (served.outcome, served.entry.value) == (MISS, f"made of {value}")
        kept = bench.through.kept.get_fresh(b"k", b"ann", now)
        assert kept is served.entry


async def test_what_is_made_of_a_refused_owners_entry_is_not_kept(bench):
    """P8: also if the owner has a new epoch by the time it is made."""
    asker = derived(bench, [])
    await settle()
    bench.store.drop_owner(b"ann")
    another = derived(bench, [])  # joins the flight, in a new epoch
    await settle()
    bench.platform.answer("source")
    for task in (asker, another):
        assert (await task).entry.value == "made of source"
    assert bench.through.kept.get_fresh(b"k", b"ann", bench.clock.now) is None
