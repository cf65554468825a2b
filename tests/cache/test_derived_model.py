"""What is made of another entry, through any course of events."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from aims_server.deadline import Deadline
from tests.virtual_time import Clock, VirtualLoop, settle

from .reading import FRESH, HIT, MEMORY, MISS, PENDING, STALE, Bench, Broken, Refused


class DerivedThroughAnyCourse(RuleBasedStateMachine):
    """Asking, answering, refusing, dropping and ageing in any order: nobody gets what
    a drop has ended, nor an older value than was given before, and each is told how it
    came by the source. Values are numbers, in the order of their calls.
    """

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)
        self.bench = Bench(self.clock, work_seconds=1e9)
        self.made: Counter[int] = Counter()
        self.asked = []  # tasks, each with the number of drops before it
        self.calls = 0
        self.dropped_at = [0]  # how many calls had begun at each drop
        self.newest = 0  # of what was given since the last drop

    async def asker(self, max_age):
        """Outcome and value of the derived entry, or the error."""
        through = self.bench.through
        fill = self.bench.platform.fill(b"ann")
        deadline = Deadline(1e9, self.clock)

        async def make(entry):
            self.made[entry.value] += 1
            return replace(entry, value=-entry.value)

        kept = through.kept.get_fresh(b"k", b"ann", self.clock.now, max_age)
        if kept is not None:
            return HIT, kept
        source = through.get(b"source", b"ann", fill, deadline, max_age=max_age)
        try:
            served = await through.derive(b"k", b"ann", source, make)
        except (Broken, Refused) as error:
            return error, None
        return served.outcome, served.entry

    def run(self):
        """Let the loop run until nothing more happens by itself."""
        self.loop.run_until_complete(settle())

    @rule(max_age=st.sampled_from([None, 30]))
    def ask(self, max_age):
        """A kept one is given at once; else it is waited for."""
        task = self.loop.create_task(self.asker(max_age))
        self.run()
        self.asked.append((task, len(self.dropped_at)))

    @invariant()
    def what_was_given_is_right(self):
        """Judge each asker that has its answer."""
        for task, drops in self.asked:
            if not task.done():
                continue
            outcome, entry = task.result()
            if entry is None:
                continue
            number, age = -entry.value, self.clock.now - entry.made_at
            if outcome in (HIT, STALE):  # kept: no drop has ended it
                assert number > self.dropped_at[drops - 1]
                assert outcome is STALE or age < FRESH
            else:
                assert outcome in (MISS, PENDING)
                assert age == 0
            if drops == len(self.dropped_at):
                assert number >= self.newest
                self.newest = number
        self.asked = [(task, drops) for task, drops in self.asked if not task.done()]

    @precondition(lambda self: self.bench.platform.held)
    @rule(how=st.sampled_from(["ok", "ok", "ok", Broken, Refused]))
    def answer(self, how):
        """The platform answers the only call."""
        self.calls += 1
        self.bench.platform.answer(self.calls if how == "ok" else how())
        self.run()
        if how is Refused:
            self.note_drop()

    @rule()
    def drop(self):
        """All that is kept is dropped; a call under way is not kept either."""
        self.bench.store.drop_owner(b"ann")
        self.note_drop()

    def note_drop(self):
        """Calls up to now end with it."""
        under_way = len(self.bench.platform.held)
        self.dropped_at.append(self.calls + under_way)
        self.newest = 0

    @rule(seconds=st.sampled_from([0.25, MEMORY, 31, 300, 2100]))
    def advance(self, seconds):
        """Time passes."""
        self.clock.now += seconds
        self.run()

    def teardown(self):
        """Each was made once, unless a drop kept it from being kept."""
        try:
            while self.bench.platform.held:
                self.answer("ok")
            self.what_was_given_is_right()
            assert not self.asked
            ends = set(self.dropped_at)
            assert all(n == 1 or number in ends for number, n in self.made.items())
        finally:
            self.loop.close()


DerivedThroughAnyCourse.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30
)
TestDerivedThroughAnyCourse = DerivedThroughAnyCourse.TestCase
