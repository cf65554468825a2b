"""Read-through beside a model of it, through any course of events."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aims_server.cache.store import ENTRY_OVERHEAD
from aims_server.deadline import Deadline
from tests.virtual_time import Clock, VirtualLoop, settle

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
)

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
        self.bench = Bench(self.clock, room, work_seconds=1e9)
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
    max_examples=40, stateful_step_count=40
)
TestReadThroughAgainstModel = ReadThroughAgainstModel.TestCase
