"""The circuit breaker of one endpoint, on a clock that the test moves."""

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

from aims_server.primitives import CircuitState
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.circuit_breaker import CircuitBreaker, CircuitOpen
from tests.virtual_time import Clock

student, address = CallerKey.student, CallerKey.address


@pytest.fixture(name="breaker")
def _breaker(clock):
    """Opens for three verified students, or twenty callers of any kind."""
    return CircuitBreaker(clock=clock, random=lambda: 1.0)


class Call:
    """A call that the breaker lets through, until it ends in one of three ways."""

    def __init__(self, breaker, caller):
        self._number = breaker.enter(caller)
        self._breaker, self._caller = breaker, caller

    def success(self):
        """The endpoint answered."""
        self._end(failed=False)

    def failure(self):
        """The endpoint failed this caller."""
        self._end(failed=True)

    def discard(self):
        """The call says nothing about the endpoint."""
        self._end(failed=None)

    def _end(self, *, failed):
        self._breaker.leave(self._number, self._caller, failed=failed)


def fail(breaker, *callers):
    """End one call of each in failure."""
    for caller in callers:
        Call(breaker, caller).failure()


ANYBODY = address("anybody")


def refusal(breaker, caller=ANYBODY):
    """The seconds to stay away, from a breaker that lets this caller not through."""
    with pytest.raises(CircuitOpen) as refused:
        breaker.enter(caller)
    return refused.value.retry_after


def trip(breaker):
    """Open it by failures, and return for how long it is open."""
    fail(breaker, student(1), student(2), student(3))
    return refusal(breaker)


def test_three_verified_students_failing_open_it(breaker):
    """The third of them, not the second."""
    fail(breaker, student(1), student(2))
    assert breaker.state.value == "closed"
    fail(breaker, student(3))
    assert breaker.state.value == "open"
    assert refusal(breaker) == 5.0


@pytest.mark.parametrize("caller", [student(1), address("192.0.2.7")])
def test_one_caller_opens_nothing(breaker, caller):
    """It does not, however often its calls fail: the fault may be its own."""
    fail(breaker, *[caller] * 1000)
    assert breaker.state.value == "closed"


def test_twenty_callers_of_any_kind_open_it(breaker):
    """Unverified ones, of whom nobody was answered."""
    fail(breaker, *map(address, range(19)))
    assert breaker.state.value == "closed"
    fail(breaker, address(19))
    assert breaker.state.value == "open"


def test_strangers_open_nothing_while_somebody_is_served(breaker, clock):
    """No number of unverified callers does, for ten seconds after each success."""
    for _ in range(3):
        Call(breaker, student(1)).success()
        fail(breaker, *map(address, range(100)))
        clock.now += 9.9
        fail(breaker, *map(address, range(100)))
        assert breaker.state.value == "closed"
        assert len(breaker._failing) <= 20
    clock.now += 0.1
    fail(breaker, address("one more"))
    assert breaker.state.value == "open"


@pytest.mark.parametrize("happy", [student(9), address("192.0.2.9")])
def test_a_success_of_anybody_forgets_the_failures(breaker, happy):
    """The endpoint works, so who failed before has other reasons."""
    fail(breaker, student(1), student(2))
    Call(breaker, happy).success()
    fail(breaker, student(3), student(4))
    assert breaker.state.value == "closed"


def test_calls_that_began_before_a_success_say_nothing_new(breaker, clock):
    """The endpoint left them hanging, and is well again when they are given up."""
    late = [Call(breaker, student(number)) for number in range(30)]
    clock.now += 20
    Call(breaker, student(31)).success()
    clock.now += 10
    for call in late:
        call.failure()
    assert breaker.state.value == "closed"
    fail(breaker, student(1), student(2), student(3))
    assert breaker.state.value == "open"


def test_what_is_older_than_the_window_is_forgotten(breaker, clock):
    """Two failures and, ten seconds later, two more do not open it."""
    fail(breaker, student(1), student(2))
    clock.now += 10
    fail(breaker, student(3), student(4))
    assert breaker.state.value == "closed"


def test_a_caller_that_fails_again_is_remembered_from_then(breaker, clock):
    """Its window begins anew with each failure."""
    fail(breaker, student(1))
    clock.now += 9
    fail(breaker, student(1))
    clock.now += 9
    fail(breaker, student(2), student(3))
    assert breaker.state.value == "open"


def test_a_caller_that_fails_again_keeps_nobody_remembered(breaker, clock):
    """Who failed between its failures is forgotten in time."""
    fail(breaker, student(1), student(2))
    clock.now += 9
    fail(breaker, student(1))
    clock.now += 1
    fail(breaker, student(3))
    assert breaker.state.value == "closed"


def test_strangers_crowd_no_student_out(breaker):
    """Of as many failing callers as are remembered, the students are the last to go."""
    Call(breaker, student(9)).success()
    fail(breaker, student(1), student(2), *map(address, range(100)), student(3))
    assert breaker.state.value == "open"


def test_discarded_calls_count_as_nothing(breaker):
    """A thousand students refused by the platform say nothing about it."""
    for number in range(1000):
        Call(breaker, student(number)).discard()
    fail(breaker, student(1), student(2))
    assert breaker.state.value == "closed"


def test_open_for_its_time_then_half_open(breaker, clock):
    """Until the named moment all is refused; at it, probes get through."""
    clock.now += trip(breaker) - 1
    assert refusal(breaker) == pytest.approx(1)
    clock.now += 1
    assert breaker.state.value == "half-open"
    Call(breaker, student(1))


def test_the_first_success_closes_it(breaker, clock):
    """The first success closes it, also after another caller's failed probe."""
    clock.now += trip(breaker)
    fail(breaker, student(1))
    assert breaker.state.value == "half-open"
    Call(breaker, student(2)).success()
    assert breaker.state.value == "closed"


def test_one_caller_does_not_keep_it_open(breaker, clock):
    """Its probe fails, and it gets no other one; the next caller's closes it."""
    clock.now += trip(breaker)
    fail(breaker, student(1))
    for _ in range(100):
        assert refusal(breaker, student(1)) == 5.0
    Call(breaker, student(2)).success()
    assert breaker.state.value == "closed"


def test_a_lonely_caller_probes_again_after_the_window(breaker, clock):
    """Its failed probe bars it for ten seconds only: there may be no other to probe."""
    clock.now += trip(breaker)
    fail(breaker, student(1))
    clock.now += 10
    Call(breaker, student(1)).success()
    assert breaker.state.value == "closed"


def test_three_failed_probes_open_it_again(breaker, clock):
    """The same rule as before, for the same time."""
    clock.now += trip(breaker)
    assert trip(breaker) == 5.0


def test_no_more_probes_than_places(breaker, clock):
    """With three probes under way the fourth caller is sent away for five seconds: they
    may hang, and a page that came back each second would soon come no more.
    """
    clock.now += trip(breaker)
    probes = [Call(breaker, student(number)) for number in range(3)]
    assert refusal(breaker, student(3)) == 5.0
    probes[0].discard()
    Call(breaker, student(3))


def test_probes_that_hang_shut_nobody_out(breaker, clock):
    """Made before the endpoint was back, they may hang for half a minute more."""
    clock.now += trip(breaker)
    for number in range(3):
        Call(breaker, student(number))
    clock.now += 4.9
    assert refusal(breaker, student(3)) == 5.0
    clock.now += 0.1
    Call(breaker, student(3)).success()
    assert breaker.state.value == "closed"


def test_probes_that_hung_open_nothing(breaker, clock):
    """They time out when the endpoint may be back and newer ones are under way."""
    clock.now += trip(breaker)
    hung = [Call(breaker, student(number)) for number in range(3)]
    clock.now += 30
    for call in hung:
        call.failure()
    assert breaker.state.value == "half-open"
    Call(breaker, student(3)).success()
    assert breaker.state.value == "closed"


def test_made_up_tokens_do_not_probe_before_students(breaker, clock):
    """They wait while students ask, and for thirty seconds after."""
    clock.now += trip(breaker)
    assert refusal(breaker, ANYBODY) == 5.0
    Call(breaker, student(7)).discard()
    clock.now += 29.9
    assert refusal(breaker, ANYBODY) == 5.0
    clock.now += 0.1
    Call(breaker, ANYBODY).success()
    assert breaker.state.value == "closed"


def test_where_nobody_is_verified_anybody_probes(breaker, clock):
    """Logins have no verified callers."""
    fail(breaker, *map(address, range(20)))
    clock.now += refusal(breaker)
    Call(breaker, ANYBODY).success()
    assert breaker.state.value == "closed"


def test_late_results_of_another_state_count_for_nothing(breaker, clock):
    """Calls admitted before the opening neither close it nor open it again."""
    late = [Call(breaker, student(number)) for number in range(12)]
    clock.now += trip(breaker)
    assert breaker.state.value == "half-open"
    for call in late[:6]:
        call.success()
    assert breaker.state.value == "half-open"
    Call(breaker, student(1)).success()
    for call in late[6:]:
        call.failure()
    assert breaker.state.value == "closed"


def test_open_time_is_spread_below_its_bound(clock):
    """Chance shortens it by up to a fifth, so that workers do not probe in step."""
    breaker = CircuitBreaker(clock=clock, random=lambda: 0.0)
    assert trip(breaker) == pytest.approx(4)


def test_changes_are_told(clock):
    """Every change of state is reported once, in order."""
    told: list[CircuitState] = []
    breaker = CircuitBreaker(
        clock=clock, random=lambda: 1.0, on_change=lambda: told.append(breaker.state)
    )
    clock.now += trip(breaker)
    clock.now += trip(breaker)
    Call(breaker, student(1)).success()
    assert told == [
        CircuitState.OPEN,
        CircuitState.HALF_OPEN,
        CircuitState.OPEN,
        CircuitState.HALF_OPEN,
        CircuitState.CLOSED,
    ]


CALLERS = [*map(student, range(4)), *map(address, range(4))]


class PlainModel:
    """The breaker as its description reads: a list, recounted at every question."""

    def __init__(self, now):
        self.change("closed", now)
        self.successes = 0
        self.asked = self.served = float("-inf")

    def change(self, state, now):
        """Enter a state with nothing counted yet."""
        self.state = state
        self.generation = object()
        self.failures: list[tuple[float, CallerKey]] = []
        self.under_way: list[float | None] = []  # None: over
        self.until = now

    def look(self, now):
        """The state, with time taken into account."""
        if self.state == "open" and now >= self.until:
            self.change("half-open", now)
        return self.state

    def failing(self, now):
        """Whose calls failed in the last ten seconds."""
        return {caller for at, caller in self.failures if now - at < 10}

    def may_enter(self, caller, now):
        """Whether one more call is let through."""
        state = self.look(now)
        if caller.verified:
            self.asked = now
        if state != "half-open":
            return state == "closed"
        return (
            sum(at is not None and now - at < 5 for at in self.under_way) < 2
            and caller not in self.failing(now)
            and (caller.verified or now - self.asked >= 30)
        )

    def begin(self, now):
        """A call begins; what is to be known of it at its end."""
        number = len(self.under_way)
        self.under_way.append(now)
        return self.generation, self.successes, number

    def end(self, began, caller, outcome, now, chance):
        """A call ended that began so."""
        generation, successes, number = began
        if generation is not self.generation:
            return
        probed_at, self.under_way[number] = self.under_way[number], None
        hung = self.state == "half-open" and now - probed_at >= 10
        if outcome == "success":
            if self.state == "half-open":
                self.change("closed", now)
            self.failures.clear()
            self.served = now
            self.successes += 1
        elif outcome == "failure" and successes == self.successes and not hung:
            self.failures.append((now, caller))
            failing = self.failing(now)
            students = sum(each.verified for each in failing)
            if students >= 3 or (len(failing) >= 6 and now - self.served >= 10):
                self.open(now, chance)

    def open(self, now, chance):
        """Let nothing through for four to five seconds."""
        self.change("open", now)
        self.until = now + 5 * (0.8 + 0.2 * chance)


class BreakerMachine(RuleBasedStateMachine):
    """Any script of calls, outcomes and silences, for breaker and model alike."""

    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.clock = Clock(100.0)
        self.chance = 1.0
        self.breaker = CircuitBreaker(
            callers=6,
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

    @rule(target=calls, callers=st.lists(st.sampled_from(CALLERS), max_size=4))
    def admit(self, callers):
        """Some calls begin, or are refused, in both alike."""
        begun = []
        for caller in callers:
            if self.model.may_enter(caller, self.clock.now):
                began = self.model.begin(self.clock.now)
                begun.append((Call(self.breaker, caller), caller, began))
            else:
                assert refusal(self.breaker, caller) > 0
        return multiple(*begun)

    @rule(
        call=consumes(calls),
        outcome=st.sampled_from(["success", "failure", "failure", "discard"]),
    )
    def end(self, call, outcome):
        """A call ends, perhaps long after the state it began in."""
        begun, caller, began = call
        getattr(begun, outcome)()
        self.model.end(began, caller, outcome, self.clock.now, self.chance)

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
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=60)
