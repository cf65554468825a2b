"""The circuit breaker on a clock that the test moves, and against a plain model."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from aims_server.upstream.circuit_breaker import CircuitBreaker, CircuitOpen, State
from tests.virtual_time import Clock


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="breaker")
def _breaker(clock):
    """Opens at 20 calls of which half failed, or four in five took 2 s."""
    return CircuitBreaker(slow_seconds=2.0, clock=clock, random=lambda: 1.0)


def fail(breaker, times=1):
    """End so many calls in failure."""
    for _ in range(times):
        breaker.admit().failure(0.1)


def succeed(breaker, times=1, seconds=0.1):
    """End so many calls well."""
    for _ in range(times):
        breaker.admit().success(seconds)


def refusal(breaker):
    """The seconds to stay away, from a breaker that lets nothing through."""
    with pytest.raises(CircuitOpen) as refused:
        breaker.admit()
    return refused.value.retry_after


def trip(breaker, clock):
    """Open it by failures, and return for how long it is open."""
    fail(breaker, 20)
    return refusal(breaker)


def test_half_the_calls_failing_opens_it(breaker):
    """At the minimum of calls and the share of failures nothing gets through."""
    succeed(breaker, 10)
    fail(breaker, 9)
    assert breaker.state.value == "closed"
    fail(breaker)
    assert breaker.state.value == "open"
    assert refusal(breaker) == 5.0


def test_fewer_calls_than_the_minimum_prove_nothing(breaker):
    """Nineteen failures in a row leave it closed."""
    fail(breaker, 19)
    assert breaker.state.value == "closed"


def test_less_than_the_share_leaves_it_closed(breaker):
    """Nine failures in twenty are borne, for as long as they last."""
    for _ in range(10):
        succeed(breaker, 11)
        fail(breaker, 9)
    assert breaker.state.value == "closed"


def test_slowness_alone_opens_it(breaker):
    """Sixteen answers in twenty that took two seconds are as bad as failures."""
    succeed(breaker, 4)
    succeed(breaker, 15, seconds=2.0)
    assert breaker.state.value == "closed"
    succeed(breaker, seconds=2.0)
    assert breaker.state.value == "open"


def test_answers_under_the_limit_are_not_slow(breaker):
    """Any number of calls a moment faster than slow_seconds leaves it closed."""
    succeed(breaker, 100, seconds=1.999)
    assert breaker.state.value == "closed"


def test_what_is_older_than_the_window_is_forgotten(breaker, clock):
    """Nineteen failures and, twenty seconds later, nineteen more do not open it."""
    fail(breaker, 19)
    clock.now += 20
    fail(breaker, 19)
    assert breaker.state.value == "closed"


def test_ignored_calls_count_as_nothing(breaker):
    """A thousand students refused by the platform say nothing about it."""
    for _ in range(1000):
        breaker.admit().discard()
    fail(breaker, 19)
    assert breaker.state.value == "closed"


def test_open_for_its_time_then_half_open(breaker, clock):
    """Until the named moment all is refused; at it, probes get through."""
    wait = trip(breaker, clock)
    clock.now += wait - 1
    assert refusal(breaker) == pytest.approx(1)
    clock.now += 1
    assert breaker.state.value == "half-open"
    breaker.admit()


def test_all_probes_succeeding_closes_it(breaker, clock):
    """Two successes of three leave it half open, the third closes it."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 2)
    assert breaker.state.value == "half-open"
    succeed(breaker)
    assert breaker.state.value == "closed"


def test_one_failed_probe_opens_it_again(breaker, clock):
    """Two successes do not outweigh a failure."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 2)
    fail(breaker)
    assert breaker.state.value == "open"


def test_slow_probes_open_it_again(breaker, clock):
    """A platform that answers every probe slowly is not back."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 3, seconds=2.0)
    assert breaker.state.value == "open"


def test_one_slow_probe_is_forgiven(breaker, clock):
    """The share of slow calls is judged over the probes as over any calls."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 1, seconds=2.0)
    succeed(breaker, 2)
    assert breaker.state.value == "closed"


def test_probes_far_apart_close_it_too(breaker, clock):
    """With one call a minute it still closes after three."""
    clock.now += trip(breaker, clock)
    for _ in range(3):
        succeed(breaker)
        clock.now += 60
    assert breaker.state.value == "closed"


def test_no_more_probes_than_places(breaker, clock):
    """With three probes under way the fourth caller is sent away for a second."""
    clock.now += trip(breaker, clock)
    probes = [breaker.admit() for _ in range(3)]
    assert refusal(breaker) == 1.0
    probes[0].success(0.1)
    assert refusal(breaker) == 1.0


def test_an_ignored_probe_frees_its_place(breaker, clock):
    """A probe that says nothing is made again by somebody else."""
    clock.now += trip(breaker, clock)
    probes = [breaker.admit() for _ in range(3)]
    probes[0].discard()
    breaker.admit().success(0.1)
    for probe in probes[1:]:
        probe.success(0.1)
    assert breaker.state.value == "closed"


def test_a_permit_counts_once(breaker):
    """Only the first outcome counts, so that `ignore` may stand in a finally."""
    permits = [breaker.admit() for _ in range(19)]
    for permit in permits * 3:
        permit.failure(0.1)
        permit.success(0.1)
    assert breaker.state.value == "closed"


def test_leaving_the_block_ignores_the_call(breaker, clock):
    """A cancelled probe gives its place back by itself."""
    clock.now += trip(breaker, clock)
    for _ in range(10):
        with pytest.raises(KeyError), breaker.admit():
            raise KeyError
    assert breaker.state.value == "half-open"
    for _ in range(3):
        with breaker.admit() as permit:
            permit.success(0.1)
    assert breaker.state.value == "closed"


def test_late_results_of_another_state_count_for_nothing(breaker, clock):
    """Calls admitted before the opening neither close it nor open it again."""
    late = [breaker.admit() for _ in range(30)]
    clock.now += trip(breaker, clock)
    assert breaker.state.value == "half-open"
    late[0].failure(9.0)
    for permit in late[1:10]:
        permit.success(9.0)
    assert breaker.state.value == "half-open"
    succeed(breaker, 3)
    for permit in late[10:]:
        permit.failure(9.0)
    assert breaker.state.value == "closed"


def test_open_time_doubles_up_to_its_bound(breaker, clock):
    """Failing probes stretch it: 5, 10, 20, 30, 30 seconds."""
    waits = [trip(breaker, clock)]
    for _ in range(4):
        clock.now += waits[-1]
        fail(breaker)
        waits.append(refusal(breaker))
    assert waits == pytest.approx([5, 10, 20, 30, 30])


def test_open_time_is_spread_below_its_bound(clock):
    """Chance shortens it by up to a fifth, so that workers do not probe in step."""
    breaker = CircuitBreaker(slow_seconds=2.0, clock=clock, random=lambda: 0.0)
    waits = [trip(breaker, clock)]
    for _ in range(4):
        clock.now += waits[-1]
        fail(breaker)
        waits.append(refusal(breaker))
    assert waits == pytest.approx([4, 8, 16, 24, 24])


def test_a_relapse_goes_on_doubling(breaker, clock):
    """Opening again soon after closing is one more opening in a row."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 3)
    clock.now += 29
    assert trip(breaker, clock) == pytest.approx(10)


def test_calm_resets_the_doubling(breaker, clock):
    """After thirty seconds closed, the next opening is a first one."""
    clock.now += trip(breaker, clock)
    succeed(breaker, 3)
    clock.now += 30
    assert trip(breaker, clock) == pytest.approx(5)


def test_changes_are_told(clock):
    """Every change of state is reported once, in order."""
    told: list[State] = []
    breaker = CircuitBreaker(
        slow_seconds=2.0, clock=clock, random=lambda: 1.0, on_change=told.append
    )
    clock.now += trip(breaker, clock)
    fail(breaker)
    clock.now += refusal(breaker)
    succeed(breaker, 3)
    assert told == [
        State.OPEN,
        State.HALF_OPEN,
        State.OPEN,
        State.HALF_OPEN,
        State.CLOSED,
    ]


class PlainModel:
    """The breaker as its description reads: lists, recounted at every question."""

    def __init__(self, now):
        self.change("closed", now)
        self.closed_at = now
        self.row = 0

    def change(self, state, now):
        """Enter a state with nothing counted yet."""
        self.state = state
        self.generation = object()
        self.calls: list[tuple[float, bool, bool]] = []
        self.under_way = 0
        self.until = now

    def look(self, now):
        """The state, with time taken into account."""
        if self.state == "open" and now >= self.until:
            self.change("half-open", now)
        return self.state

    def may_enter(self, now):
        """Whether one more call is let through."""
        state = self.look(now)
        return state == "closed" or (
            state == "half-open" and self.under_way + len(self.calls) < 2
        )

    def open(self, now, chance):
        """Open for the next time in the row."""
        if self.state == "closed" and now - self.closed_at >= 12:
            self.row = 0
        self.change("open", now)
        self.until = now + min(5 * 2**self.row, 12) * (0.8 + 0.2 * chance)
        self.row += 1

    def end(self, generation, outcome, seconds, now, chance):
        """A call of that generation ended."""
        if generation is not self.generation:
            return
        self.under_way -= 1
        if outcome == "discard":
            return
        self.calls.append((now // 1, outcome == "failure", seconds >= 2))
        if self.state == "closed":
            recent = [call for call in self.calls if call[0] > now // 1 - 10]
            if len(recent) >= 4 and self.bad(recent):
                self.open(now, chance)
        elif outcome == "failure":
            self.open(now, chance)
        elif len(self.calls) == 2:
            if self.bad(self.calls):
                self.open(now, chance)
            else:
                self.change("closed", now)
                self.closed_at = now

    def bad(self, calls):
        """Whether these calls are too bad a lot."""
        failures = sum(failed for _, failed, _ in calls)
        crawls = sum(slow for _, _, slow in calls)
        return failures >= 0.5 * len(calls) or crawls >= 0.8 * len(calls)


class BreakerMachine(RuleBasedStateMachine):
    """Any script of calls, outcomes and silences, for breaker and model alike."""

    permits = Bundle("permits")

    def __init__(self):
        super().__init__()
        self.clock = Clock(100.0)
        self.chance = 1.0
        self.breaker = CircuitBreaker(
            window=10.0,
            minimum=4,
            slow_seconds=2.0,
            max_open_seconds=12.0,
            probes=2,
            clock=self.clock,
            random=lambda: self.chance,
        )
        self.model = PlainModel(self.clock.now)

    @rule(
        seconds=st.sampled_from([0.25, 1.0, 3.5, 4.0, 4.5, 5.0, 10.0, 12.0, 40.0]),
        chance=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def silence(self, seconds, chance):
        """Time passes."""
        self.clock.now += seconds
        self.chance = chance

    @rule(target=permits, times=st.integers(1, 4))
    def admit(self, times):
        """Some calls begin, or are refused, in both alike."""
        begun = []
        for _ in range(times):
            if self.model.may_enter(self.clock.now):
                self.model.under_way += 1
                begun.append((self.breaker.admit(), self.model.generation))
            else:
                assert refusal(self.breaker) > 0
        return multiple(*begun)

    @rule(
        call=consumes(permits),
        outcome=st.sampled_from(["success", "failure", "discard"]),
        seconds=st.sampled_from([0.1, 2.0]),
        again=st.booleans(),
    )
    def end(self, call, outcome, seconds, again):
        """A call ends, perhaps long after the state it began in; once or twice."""
        permit, generation = call
        told = () if outcome == "discard" else (seconds,)
        getattr(permit, outcome)(*told)
        self.model.end(generation, outcome, seconds, self.clock.now, self.chance)
        if again:
            permit.failure(9.0)

    @precondition(lambda self: self.model.look(self.clock.now) == "open")
    @rule()
    def wait_it_out(self):
        """Time passes to the named moment exactly."""
        self.clock.now = self.model.until

    @invariant()
    def same_state(self):
        """Both are in one state, and an open one names the same moment."""
        state = self.model.look(self.clock.now)
        assert self.breaker.state.value == state
        if state == "open":
            assert refusal(self.breaker) == pytest.approx(
                self.model.until - self.clock.now
            )


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(
    deadline=None, max_examples=60, stateful_step_count=60
)
