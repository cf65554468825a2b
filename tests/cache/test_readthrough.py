"""Freshness: who is served what, from where, and what a failing fill changes.

P1 to P11 are promises of docs/reliability.rst.
"""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec.structs import replace

from aims_server.cache.loading import Outcome
from aims_server.cache.readthrough import ReadThrough, WrongOwner
from aims_server.cache.singleflight import FlightCancelled, SingleFlight
from aims_server.cache.store import ENTRY_OVERHEAD, Entry, MemoryStore
from aims_server.deadline import Deadline
from tests.virtual_time import Clock, VirtualLoop, settle, virtual_loop

pytestmark = pytest.mark.gen_test

FRESH, SERVABLE, MEMORY = 300, 2100, 1
HIT, MISS, STALE, PENDING = Outcome


class Broken(Exception):
    """The platform fails."""


class Refused(Exception):
    """The platform refuses this owner."""


class Platform:
    """Where fills get their values: holds every answer until told."""

    def __init__(self, clock):
        self.clock = clock
        self.held: list[asyncio.Future] = []
        self.calls = 0

    def fill(self, owner, *, size=1000, fresh=FRESH, servable=SERVABLE):
        """A fill that makes an entry of this owner out of what is answered."""

        async def fill(deadline):
            self.calls += 1
            answer = asyncio.get_running_loop().create_future()
            self.held.append(answer)
            value = await answer
            now = self.clock.now
            return Entry(value, size, owner, now, now + fresh, now + servable)

        return fill

    def answer(self, value):
        """Answer the oldest call that is held, with a value or an error."""
        held = self.held.pop(0)
        if isinstance(value, Exception):
            held.set_exception(value)
        else:
            held.set_result(value)


class Bench:
    """A read-through with all its parts, and a tally of what it reports."""

    def __init__(self, clock, max_bytes=1 << 20, refresh_seconds=10):
        self.clock = clock
        self.platform = Platform(clock)
        self.store: MemoryStore = MemoryStore(max_bytes, clock=clock)
        self.flights: SingleFlight = SingleFlight(clock=clock, failure_memory=MEMORY)
        self.refresh_errors: list[Exception] = []
        self.foreign: list[None] = []
        self.through: ReadThrough = ReadThrough(
            self.store,
            self.flights,
            refresh_deadline=lambda: Deadline(refresh_seconds, clock),
            is_refusal=lambda error: isinstance(error, Refused),
            on_foreign=lambda: self.foreign.append(None),
            on_refresh_error=self.refresh_errors.append,
            clock=clock,
        )

    def ask(
        self, key=b"k", owner=b"ann", *, seconds=10.0, max_age=None, fill=None, **entry
    ):
        """One asker, as a task."""
        fill = fill or self.platform.fill(owner, **entry)
        deadline = Deadline(seconds, self.clock)
        return asyncio.create_task(
            self.through.get(key, owner, fill, deadline, max_age=max_age)
        )

    async def fetch(self, value, key=b"k", owner=b"ann", **options):
        """Ask, and have the platform answer this at once."""
        asker = self.ask(key, owner, **options)
        await settle()
        self.platform.answer(value)
        await settle()
        return await asker

    async def seen(self, **options):
        """What an asker is given: outcome and value, or the type of the error."""
        try:
            served = await self.ask(**options)
        except Exception as error:  # noqa: BLE001  the test asks which one
            return type(error)
        return served.outcome, served.entry.value


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


@pytest.fixture(name="bench")
def _bench(clock):
    return Bench(clock)


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
    assert bench.clock.now - start == pytest.approx(1.1 + 2.1 + 3.1)
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
        entry = bench.through.peek(b"k", b"ann", bench.clock.now)
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
    assert bench.through.peek(b"a1", b"ann", bench.clock.now) is None


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
        refresh_deadline=lambda: Deadline(10, bench.clock),
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


def derived(bench, made, **options):
    """One asker for an entry made of another, which `made` is to count."""

    async def make(entry):
        made.append(entry.value)
        return replace(entry, value=f"made of {entry.value}")

    source = bench.through.get(
        b"source",
        b"ann",
        bench.platform.fill(b"ann"),
        Deadline(10, bench.clock),
        **options,
    )
    return asyncio.create_task(bench.through.derive(b"k", b"ann", source, make))


async def test_what_is_made_of_another_entry_is_made_once(bench):
    """Of all who wait for the source the first makes it; it is kept from then on."""
    made: list[str] = []
    wave = [derived(bench, made) for _ in range(10)]
    await settle()
    bench.platform.answer("source")
    served = await asyncio.gather(*wave)
    assert [one.outcome for one in served] == [MISS] + [PENDING] * 9
    assert {one.entry.value for one in served} == {"made of source"}
    assert made == ["source"]
    assert bench.through.peek(b"k", b"ann", bench.clock.now) is served[0].entry


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
    assert bench.through.peek(b"k", b"ann", bench.clock.now) is None
    served = await derived(bench, made)
    assert (served.outcome, served.entry.value) == (HIT, "made of second")
    assert made == ["first", "second"]


async def test_what_is_made_of_a_refused_owners_entry_is_not_kept(bench):
    """P8: also if the owner has a new epoch by the time it is made."""
    asker = derived(bench, [])
    await settle()
    bench.store.drop_owner(b"ann")
    bench.store.epoch(b"ann")  # as who asks again begins
    bench.platform.answer("source")
    assert (await asker).entry.value == "made of source"
    assert bench.through.peek(b"k", b"ann", bench.clock.now) is None


async def test_an_entry_of_another_owner_is_no_entry(bench):
    """P9: under whatever key it lies, it is counted and not served."""
    await bench.fetch("ann's", b"k", b"ann")
    assert bench.through.peek(b"k", b"ben", bench.clock.now) is None
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


async def test_a_failure_is_shared_and_shortly_remembered(bench):
    """A failing key is called once for all, and once more when the memory ends."""
    wave = [bench.ask() for _ in range(10)]
    await settle()
    bench.platform.answer(Broken())
    results = await asyncio.gather(*wave, return_exceptions=True)
    assert {type(result) for result in results} == {Broken}
    assert await bench.seen() is Broken
    assert bench.platform.calls == 1
    bench.clock.now += MEMORY
    assert (await bench.fetch("page")).outcome is MISS


async def test_max_age_fetches_anew_what_is_older(bench):
    """A fresh entry older than max_age is not served; one of exactly max_age is."""
    await bench.fetch("first")
    bench.clock.now += 30
    assert await bench.seen(max_age=30) == (HIT, "first")
    bench.clock.now += 0.5
    served = await bench.fetch("second", max_age=30)
    assert (served.outcome, served.entry.value) == (MISS, "second")
    assert await bench.seen(max_age=30) == (HIT, "second")


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


async def test_peek_gives_what_would_be_a_hit(bench):
    """A fresh entry of this owner and age, and nothing else, is had without waiting."""
    await bench.fetch("page")
    peek = bench.through.peek
    assert peek(b"k", b"ann", bench.clock.now).value == "page"
    assert peek(b"k", b"ben", bench.clock.now) is None
    assert peek(b"none", b"ann", bench.clock.now) is None
    bench.clock.now += 5
    assert peek(b"k", b"ann", bench.clock.now, 5.0) is not None
    assert peek(b"k", b"ann", bench.clock.now, 4.9) is None
    bench.clock.now += FRESH
    assert peek(b"k", b"ann", bench.clock.now) is None


async def test_closing_tells_the_waiters(bench):
    """Askers who wait while the service stops get an error, not a cancellation."""
    asker = bench.ask()
    await settle()
    await bench.flights.close()
    with pytest.raises(FlightCancelled):
        await asker


OWNER_OF = {b"a1": b"ann", b"a2": b"ann", b"b1": b"ben", b"b2": b"ben"}


class ReadThroughAgainstModel(RuleBasedStateMachine):
    """Any course of asking, filling, failing, refusing, dropping, evicting and ageing
    gives each asker what a plain dict with a plain flight table gives.
    """

    keys = st.sampled_from(sorted(OWNER_OF))

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)
        room = 3 * (1000 + ENTRY_OVERHEAD + 2 * 2)  # one less than there are keys
        self.bench = Bench(self.clock, room, refresh_seconds=1e9)
        self.kept = {}  # key -> (value, made_at), least recently used first
        self.waiting = {}  # key of a running flight -> its waiting tasks
        self.dropped = set()  # keys of running flights that may not be kept
        self.failed = {}  # key -> (error, until)
        self.held = {}  # key -> what the platform's call waits for
        self.serial = 0

    def find(self, key):
        """The model's servable entry; looking at it is a use."""
        self.age()
        if key in self.kept:
            self.kept[key] = self.kept.pop(key)
        return self.kept.get(key)

    def age(self):
        """Take from the model what has expired."""
        now = self.clock.now
        for key, (_, made_at) in [*self.kept.items()]:
            if now >= made_at + SERVABLE:
                del self.kept[key]
        for key, (_, until) in [*self.failed.items()]:
            if now >= until:
                del self.failed[key]

    def drop_in_model(self, owner):
        """All of the owner's entries go, and its flights are marked."""
        mine = {key for key, whose in OWNER_OF.items() if whose == owner}
        for key in mine:
            self.kept.pop(key, None)
        self.dropped |= mine & self.waiting.keys()

    def run(self):
        """Let the loop run until nothing more happens by itself."""
        self.loop.run_until_complete(settle())

    @rule(key=keys, max_age=st.sampled_from([None, None, 30]))
    def ask(self, key, max_age):
        """One more asker; it is served at once, or waits as the model says."""
        now = self.clock.now
        owner = OWNER_OF[key]
        old = self.find(key)
        task = self.loop.create_task(self.asker(key, owner, max_age))
        self.run()
        started = self.bench.platform.held
        may_start = key not in self.waiting and key not in self.failed
        servable = old and (max_age is None or now - old[1] <= max_age)
        if servable and now < old[1] + FRESH:
            assert task.result() == (HIT, old[0])
            may_start = False
        elif servable:
            assert task.result() == (STALE, old[0])
        elif key in self.failed:
            error = self.failed[key][0]
            fall_back = self.find(key) and not isinstance(error, Refused)
            assert task.result() == ((STALE, old[0]) if fall_back else error)
        else:
            outcome = PENDING if key in self.waiting else MISS
            self.waiting.setdefault(key, []).append((task, outcome))
        assert len(started) == may_start
        if may_start:
            self.waiting.setdefault(key, [])
            self.held[key] = started.pop()

    async def asker(self, key, owner, max_age):
        """Outcome and value, or the error; the owner is checked every time."""
        fill = self.bench.platform.fill(owner)
        deadline = Deadline(1e9, self.clock)
        try:
            served = await self.bench.through.get(
                key, owner, fill, deadline, max_age=max_age
            )
        except (Broken, Refused) as error:
            return error
        assert served.entry.owner == owner
        return served.outcome, served.entry.value

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 3), how=st.sampled_from(["ok", "ok", Broken, Refused]))
    def answer(self, which, how):
        """The platform answers one call; all of its askers learn the same."""
        key = sorted(self.waiting)[which % len(self.waiting)]
        if how == "ok":
            self.succeed(key)
        else:
            self.fail(key, how())

    def succeed(self, key):
        """A fill ends well: given to all, kept unless dropped meanwhile."""
        self.serial += 1
        value = (OWNER_OF[key], self.serial)
        self.held.pop(key).set_result(value)
        self.run()
        for task, outcome in self.waiting.pop(key):
            assert task.result() == (outcome, value)
        self.age()
        if key in self.dropped:
            self.dropped.discard(key)
            return
        self.kept.pop(key, None)
        if len(self.kept) == 3:
            del self.kept[next(iter(self.kept))]
        self.kept[key] = (value, self.clock.now)

    def fail(self, key, error):
        """A fill ends badly: who can have an old answer gets that, others the error."""
        self.held.pop(key).set_exception(error)
        self.run()
        if isinstance(error, Refused):
            self.drop_in_model(OWNER_OF[key])
        self.dropped.discard(key)
        for task, _ in self.waiting.pop(key):
            old = self.find(key)
            assert task.result() == ((STALE, old[0]) if old else error)
        self.failed[key] = (error, self.clock.now + MEMORY)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(which=st.integers(0, 9))
    def hang_up(self, which):
        """One of the askers who wait is cancelled."""
        pairs = [
            (key, pair) for key in sorted(self.waiting) for pair in self.waiting[key]
        ]
        key, pair = pairs[which % len(pairs)]
        self.waiting[key].remove(pair)
        pair[0].cancel()
        self.run()
        assert pair[0].cancelled()

    @rule(owner=st.sampled_from([b"ann", b"ben"]))
    def drop(self, owner):
        """The owner's entries are dropped from outside."""
        self.age()
        mine = [key for key in self.kept if OWNER_OF[key] == owner]
        kept = self.bench.store.drop_owner(owner)
        assert kept or not mine
        self.drop_in_model(owner)

    @rule(seconds=st.sampled_from([0.25, 1, 5]))
    def advance(self, seconds):
        """A little time passes, too little for any deadline to be of effect."""
        self.pass_time(seconds)

    @precondition(lambda self: not self.waiting)
    @rule(seconds=st.sampled_from([31, 300, 1000, 2100]))
    def age_much(self, seconds):
        """Much time passes with nothing in flight."""
        self.pass_time(seconds)

    def pass_time(self, seconds):
        """Move the clock and let due timers run."""
        self.clock.now += seconds
        self.run()

    def teardown(self):
        """Nothing is left: no task, no complaint, no entry beyond the model's."""
        self.age()
        assert len(self.bench.store) == len(self.kept)
        for key in sorted(self.waiting):
            self.succeed(key)
        assert len(self.bench.flights) == 0
        assert not asyncio.all_tasks(self.loop)
        assert not self.loop.complaints
        self.loop.close()


ReadThroughAgainstModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None
)
TestReadThroughAgainstModel = ReadThroughAgainstModel.TestCase
