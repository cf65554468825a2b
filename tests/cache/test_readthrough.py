"""Freshness: who is served what, from where, and what a failing fill changes.

P1 to P11 are promises of docs/reliability.rst.
"""

import asyncio

import pytest

from aims_server.cache.readthrough import ReadThrough, WrongOwner
from aims_server.cache.singleflight import SingleFlight
from aims_server.cache.store import Entry
from aims_server.deadline import Deadline
from tests.virtual_time import settle, virtual_loop

from .reading import (
    FRESH,
    HIT,
    MEMORY,
    MISS,
    PENDING,
    SERVABLE,
    STALE,
    Bench,
    Broken,
    Refused,
    unshared,
)

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


async def test_a_cold_wave_makes_one_call_and_a_second_wave_none(bench):
    """P1: of 300 askers one misses and 299 are pending; the next 300 hit."""
    wave = [bench.ask() for _ in range(300)]
    await settle()
    bench.platform.answer("page")
    served = await asyncio.gather(*wave)
    assert [one.outcome for one in served] == [MISS] + [PENDING] * 299
    assert len({id(one.entry) for one in served}) == 1
    second = await asyncio.gather(*[bench.ask() for _ in range(300)])
    assert {one.outcome for one in second} == {HIT}
    assert bench.platform.calls == 1


async def test_a_stuck_fill_stalls_nobody_beyond_its_deadline(bench):
    """P2: each asker of a fill that never ends leaves at its own deadline."""
    start = bench.clock.now
    for seconds in (1, 2, 3):
        assert await bench.seen(seconds=seconds) is TimeoutError
    assert bench.clock.now - start == pytest.approx(1 + 2 + 3)
    await bench.flights.close()


async def test_199_of_200_may_hang_up(bench):
    """P3: the last asker is served by the call the first one made."""
    wave = [bench.ask() for _ in range(200)]
    await settle()
    for asker in wave[:-1]:
        asker.cancel()
    await settle()
    bench.platform.answer("page")
    assert (await wave[-1]).entry.value == "page"
    assert bench.platform.calls == 1


async def test_a_fill_that_all_have_left_is_kept(bench):
    """P3: when even the last asker hangs up, the next one finds the answer."""
    asker = bench.ask()
    await settle()
    asker.cancel()
    await settle()
    bench.platform.answer("page")
    await settle()
    assert await bench.seen() == (HIT, "page")


async def test_fresh_answers_come_from_memory(bench):
    """P4: ten thousand lookups within the TTL cost one call."""
    await bench.fetch("page")
    bench.clock.now += FRESH - 0.001
    for _ in range(10_000):
        entry = bench.through.kept.get_fresh(b"k", b"ann", bench.clock.now)
        assert entry is not None
    assert await bench.seen() == (HIT, "page")
    assert bench.platform.calls == 1


@pytest.mark.parametrize("error", [Broken(), TimeoutError(), ConnectionError()])
async def test_a_failing_refresh_changes_nothing(bench, error):
    """P5: inside the window every asker gets the old answer with its true age."""
    await bench.fetch("page")
    made_at = bench.clock.now
    bench.clock.now += FRESH
    for _ in range(5):
        served = await bench.ask()
        assert served.outcome is STALE
        assert (served.entry.value, served.entry.made_at) == ("page", made_at)
        await settle()
        bench.platform.answer(error)
        await settle()
        bench.clock.now += MEMORY
    assert bench.platform.calls == 6
    assert bench.refresh_errors == [error] * 5


async def test_stale_ends(bench):
    """P6: from the end of the window on there is the error, never old data."""
    await bench.fetch("page")
    bench.clock.now += SERVABLE - 0.001
    assert await bench.seen() == (STALE, "page")
    bench.platform.answer(Broken())
    await settle()
    bench.clock.now += MEMORY
    asker = bench.ask()
    await settle()
    bench.platform.answer(Broken())
    with pytest.raises(Broken):
        await asker


async def test_an_answer_too_old_while_its_refresh_runs_is_gone(bench):
    """P6: an asker past the window joins the refresh that runs, with no old answer."""
    await bench.fetch("page")
    bench.clock.now += SERVABLE - 1
    assert await bench.seen() == (STALE, "page")
    await settle()
    bench.clock.now += 1
    asker = bench.ask()
    await settle()
    bench.platform.answer("new")
    served = await asker
    assert (served.outcome, served.entry.value) == (PENDING, "new")


async def test_an_old_answer_is_refreshed_once_behind_its_askers(bench):
    """P7: 100 askers get the old answer without waiting; one call is made."""
    await bench.fetch("old")
    bench.clock.now += FRESH
    start = bench.clock.now
    for _ in range(100):
        assert await bench.seen() == (STALE, "old")
    assert (bench.clock.now, bench.platform.calls) == (start, 2)
    bench.platform.answer("new")
    await settle()
    assert await bench.seen() == (HIT, "new")


async def test_a_failed_refresh_is_not_repeated_at_once(bench):
    """P7: for the time of the failure memory, old answers cause no call."""
    await bench.fetch("old")
    bench.clock.now += FRESH
    await bench.seen()
    await settle()
    bench.platform.answer(Broken())
    await settle()
    bench.clock.now += MEMORY - 0.001
    for _ in range(50):
        assert await bench.seen() == (STALE, "old")
    assert bench.platform.calls == 2


async def test_a_refusal_takes_all_that_is_kept_for_its_owner(bench):
    """P8: the refusal is passed on and no entry of the owner is served again."""
    await bench.fetch("page", b"a1")
    await bench.fetch("ben's", b"b1", b"ben")
    asker = bench.ask(b"a2")
    await settle()
    bench.platform.answer(Refused())
    with pytest.raises(Refused):
        await asker
    assert await bench.seen(key=b"b1", owner=b"ben") == (HIT, "ben's")
    assert bench.through.kept.get_fresh(b"a1", b"ann", bench.clock.now) is None


async def test_a_refusal_behind_the_back_ends_the_old_answer(bench):
    """P8: refused in a refresh, the owner's next request has no old answer."""
    await bench.fetch("page")
    await bench.fetch("other", b"a2")
    bench.clock.now += FRESH
    assert await bench.seen() == (STALE, "page")
    await settle()
    bench.platform.answer(Refused())
    await settle()
    assert await bench.seen() is Refused
    assert len(bench.store) == 0


async def test_what_was_being_filled_at_a_refusal_is_given_but_not_kept(bench):
    """P8: a fill begun before the drop serves its waiters and leaves nothing."""
    page, refused = bench.ask(b"a1"), bench.ask(b"a2")
    await settle()
    bench.platform.held.reverse()
    bench.platform.answer(Refused())
    await settle()
    bench.platform.answer("page")
    assert (await page).entry.value == "page"
    assert isinstance(refused.exception(), Refused)
    assert len(bench.store) == 0


async def test_a_refusal_through_one_reader_counts_for_all_of_a_store(bench):
    """P8: two read-throughs share a store; a drop by one voids fills of the other."""
    neighbour: ReadThrough = ReadThrough(
        bench.store,
        SingleFlight(clock=bench.clock),
        loader=unshared(bench.clock),
        is_refusal=lambda error: isinstance(error, Refused),
        clock=bench.clock,
    )

    async def refuse(deadline):
        raise Refused

    asker = bench.ask()
    await settle()
    with pytest.raises(Refused):
        await neighbour.get(b"n", b"ann", refuse, Deadline(10, bench.clock))
    bench.platform.answer("page")
    assert (await asker).entry.value == "page"
    assert len(bench.store) == 0


async def test_an_entry_of_another_owner_is_no_entry(bench):
    """P9: under whatever key it lies, it is counted and not served."""
    await bench.fetch("ann's", b"k", b"ann")
    assert bench.through.kept.get_fresh(b"k", b"ben", bench.clock.now) is None
    served = await bench.fetch("ben's", b"k", b"ben")
    assert (served.outcome, served.entry.value) == (MISS, "ben's")
    assert len(bench.foreign) == 1


async def test_a_fill_that_brings_another_owners_entry_serves_nobody(bench):
    """P9: a mixed-up answer of the platform reaches no asker and no store."""
    mixed_up = bench.platform.fill(b"ben")
    askers = [bench.ask(owner=b"ann", fill=mixed_up) for _ in range(2)]
    await settle()
    bench.platform.answer("ben's")
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [type(result) for result in results] == [WrongOwner] * 2
    assert (len(bench.store), len(bench.foreign)) == (0, 2)


async def test_a_flight_serves_no_asker_of_another_owner(bench):
    """P9: whoever joins a flight under another name gets nothing of it."""
    ann, ben = bench.ask(owner=b"ann"), bench.ask(owner=b"ben")
    await settle()
    bench.platform.answer("ann's")
    assert (await ann).entry.value == "ann's"
    with pytest.raises(WrongOwner):
        await ben


async def test_an_oversize_answer_is_served_and_not_kept(clock):
    """P10: what does not fit the store is no error, and leaves the others alone."""
    bench = Bench(clock, max_bytes=10_000)
    await bench.fetch("small", b"s")
    served = await bench.fetch("large", b"l", size=20_000)
    assert served.entry.value == "large"
    assert await bench.seen(key=b"s") == (HIT, "small")
    assert len(bench.store) == 1


@pytest.mark.parametrize("unkept", [{"servable": 0, "fresh": 0}, {"size": 1 << 30}])
async def test_answers_that_cannot_be_kept_do_not_queue(bench, unkept):
    """P11: 100 askers of an uncacheable answer wait for one call, not in turn."""
    wave = [bench.ask(**unkept) for _ in range(100)]
    await settle()
    bench.clock.now += 0.2
    start = bench.clock.now
    bench.platform.answer("page")
    served = await asyncio.gather(*wave)
    assert {one.entry.value for one in served} == {"page"}
    assert (bench.clock.now, bench.platform.calls) == (start, 1)
    assert (await bench.fetch("next", **unkept)).entry.value == "next"


async def test_max_age_fetches_anew_what_is_older(bench):
    """A fresh entry older than max_age is not served; one of exactly max_age is."""
    await bench.fetch("first")
    bench.clock.now += 30
    assert await bench.seen(max_age=30) == (HIT, "first")
    bench.clock.now += 0.5
    served = await bench.fetch("second", max_age=30)
    assert (served.outcome, served.entry.value) == (MISS, "second")
    assert await bench.seen(max_age=30) == (HIT, "second")


async def test_what_was_just_made_of_an_old_part_is_not_too_old(bench):
    """Another entry would be made of that part, too: who has joined the making of one
    takes it, and has none made in turn.
    """
    clock, platform = bench.clock, bench.platform
    part_made_at = clock.now - 100

    async def fill(_):
        platform.calls += 1
        await asyncio.sleep(5)
        ends = clock.now, part_made_at + SERVABLE
        return Entry("made", 1000, b"ann", part_made_at, *ends, old=True)

    askers = [bench.ask(max_age=30, fill=fill) for _ in range(3)]
    start = clock.now
    served = await asyncio.gather(*askers)
    assert [(one.outcome, one.entry.value) for one in served] == [(STALE, "made")] * 3
    assert (clock.now - start, platform.calls) == (pytest.approx(5), 1)


async def test_who_joined_what_is_too_old_has_it_made_anew(bench):
    """It was made of parts as old as the other asker takes them. Who had it made has it
    as it is.
    """
    clock, platform = bench.clock, bench.platform

    async def fill(_):
        platform.calls += 1
        number = platform.calls
        await asyncio.sleep(2)
        made_at = clock.now - 100
        return Entry(number, 8, b"ann", made_at, made_at + FRESH, made_at + SERVABLE)

    askers = [bench.ask(max_age=30, fill=fill) for _ in range(2)]
    served = await asyncio.gather(*askers)
    assert [(one.outcome, one.entry.value) for one in served] == [(MISS, 1), (MISS, 2)]


async def test_max_age_falls_back_to_the_old_entry(bench):
    """When no new answer can be had, in error or in time, the old one is served."""
    await bench.fetch("first")
    bench.clock.now += 31
    served = await bench.fetch(Broken(), max_age=30)
    assert (served.outcome, served.entry.value) == (STALE, "first")
    bench.clock.now += MEMORY
    assert await bench.seen(max_age=30, seconds=2) == (STALE, "first")
    await bench.flights.close()


async def test_max_age_falls_back_to_nothing_too_old(bench):
    """An old entry whose window ends during the wait is not served."""
    await bench.fetch("first")
    bench.clock.now += SERVABLE - 1
    asker = bench.ask(max_age=30)
    await settle()
    bench.clock.now += 1
    bench.platform.answer(Broken())
    with pytest.raises(Broken):
        await asker


async def test_max_age_never_covers_a_refusal(bench):
    """A refused owner is told so, whatever was kept for it."""
    await bench.fetch("first")
    bench.clock.now += 31
    asker = bench.ask(max_age=30)
    await settle()
    bench.platform.answer(Refused())
    with pytest.raises(Refused):
        await asker
    assert len(bench.store) == 0


async def test_a_remembered_refusal_is_told_whatever_was_kept_since(bench):
    """Another worker's entry in a shared store does not hide a refusal from max_age."""
    with pytest.raises(Refused):
        await bench.fetch(Refused())
    now = bench.clock.now
    bench.store.put(b"k", Entry("page", 1, b"ann", now, now + FRESH, now + SERVABLE))
    bench.clock.now += MEMORY / 2
    assert await bench.seen(max_age=0) is Refused


async def test_a_refresh_has_its_own_time_however_many_ask_meanwhile(bench, clock):
    """One that hangs ends with its flight; those served an old page prolong nothing."""
    await bench.fetch("page")
    bench.clock.now += FRESH
    began = clock.now
    deadlines = []

    async def hang(deadline):
        deadlines.append(deadline)
        await asyncio.sleep(deadline.remaining())
        raise Broken

    for _ in range(9):
        assert (await bench.ask(fill=hang)).outcome is STALE
        await asyncio.sleep(1)
    assert [deadline.at for deadline in deadlines] == [began + 10]
    await bench.flights.close()


async def test_a_refresh_asked_for_beforehand_is_found(bench):
    """Prefetch: the page that follows is pending while it runs, then hits."""
    bench.through.refresh(b"k", b"ann", bench.platform.fill(b"ann"))
    await settle()
    asker = bench.ask()
    await settle()
    bench.platform.answer("page")
    assert (await asker).outcome is PENDING
    assert await bench.seen() == (HIT, "page")
    assert bench.platform.calls == 1


async def test_get_fresh_gives_what_would_be_a_hit(bench):
    """A fresh entry of this owner and age, and nothing else, is had without waiting."""
    await bench.fetch("page")
    get_fresh = bench.through.kept.get_fresh
    assert get_fresh(b"k", b"ann", bench.clock.now).value == "page"
    assert get_fresh(b"k", b"ben", bench.clock.now) is None
    assert get_fresh(b"none", b"ann", bench.clock.now) is None
    bench.clock.now += 5
    assert get_fresh(b"k", b"ann", bench.clock.now, 5.0) is not None
    assert get_fresh(b"k", b"ann", bench.clock.now, 4.9) is None
    bench.clock.now += FRESH
    assert get_fresh(b"k", b"ann", bench.clock.now) is None


async def test_what_is_fresh_of_several_is_had_together(bench):
    """Fresh entries of this owner and age are given without waiting, no others."""
    await bench.fetch("old", b"1")
    bench.clock.now += 5
    await bench.fetch("new", b"2")
    await bench.fetch("ben's", b"3", b"ben")
    keys = [b"1", b"2", b"3", b"none"]

    def found(owner, max_age=None):
        fresh = bench.through.kept.find_fresh(keys, owner, max_age)
        return [entry.value for entry in fresh.values()]

    assert found(b"ann") == ["old", "new"]
    assert found(b"ann", 4.9) == ["new"]
    assert found(b"ben") == ["ben's"]
    bench.clock.now += FRESH - 5
    assert found(b"ann") == ["new"]
