"""How carefully the platform is called: breaker, slots, retries and pauses together."""

import asyncio
import gc

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import (
    ApiError,
    Overloaded,
    TokenRefused,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from aims_server.upstream.bulkhead import Bulkhead
from aims_server.upstream.circuit_breaker import CircuitBreaker, State
from aims_server.upstream.resilience import ResiliencePolicy
from aims_server.upstream.retry import RetryBudget
from tests.virtual_time import Clock, settle, virtual_loop

pytestmark = pytest.mark.gen_test

REPEATED = [UpstreamDropped, UpstreamFault, UpstreamBusy, UpstreamTimeout]
FINAL = [TokenRefused, UpstreamRejected, UpstreamError]


class Told:
    """An observer that writes down what it is told."""

    def __init__(self):
        self.calls: list[tuple[str, str, float]] = []
        self.repeated: list[str] = []

    def call_finished(self, endpoint, outcome, seconds):
        """One call ended."""
        self.calls.append((endpoint, outcome, seconds))

    def call_repeated(self, endpoint):
        """One more is made."""
        self.repeated.append(endpoint)

    @property
    def outcomes(self):
        """How the calls ended, in order."""
        return [outcome for _, outcome, _ in self.calls]


class Platform:
    """A far side by script: each call takes its time, then ends as the script says."""

    def __init__(self, clock):
        self._clock = clock
        self.script: list[object] = []
        self.seconds = 0.1
        self.allowed: list[float] = []
        self.at: list[float] = []
        self.busy = self.peak = 0

    async def __call__(self, allowed):
        """One call; an exception in the script is raised, anything else returned."""
        self.allowed.append(allowed)
        self.at.append(self._clock())
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            await asyncio.sleep(min(self.seconds, allowed))
            if self.seconds > allowed:
                raise UpstreamTimeout
            result = self.script.pop(0) if self.script else "answer"
            if isinstance(result, BaseException):
                raise result
            return result
        finally:
            self.busy -= 1

    @property
    def calls(self):
        """How often it was called."""
        return len(self.at)


class Ticking:
    """A clock that goes on a little at each look."""

    step = 1e-6

    def __init__(self, clock):
        self._clock = clock
        self._looks = 0

    def __call__(self):
        """The time, later than at any look before."""
        self._looks += 1
        return self._clock() + self._looks * self.step


class Bench:
    """A guard with its real parts, on one clock."""

    def __init__(self, clock, *, size=10, minimum=20, floor=10.0, breaker_clock=None):
        self.clock = clock
        self.platform = Platform(clock)
        self.slots = Bulkhead(size, clock=clock)
        self.breaker = CircuitBreaker(
            clock=breaker_clock or clock,
            random=lambda: 1.0,
            minimum=minimum,
            slow_seconds=5.0,
        )
        self.budget = RetryBudget(clock=clock, min_per_second=floor)
        self.told = Told()
        self.guard = ResiliencePolicy(
            self.slots,
            self.breaker,
            self.budget,
            self.told,
            random=lambda: 0.5,
            clock=clock,
        )

    async def call(self, endpoint="cards", seconds=10.0, *, attempt=None, **more):
        """One call through the guard, with a deadline of its own."""
        deadline = Deadline(seconds, self.clock)
        return await self.guard.call(
            endpoint, attempt or self.platform, deadline, **more
        )

    async def outcome(self, endpoint="cards", seconds=10.0, **more):
        """The result of a call, or the error it ended with."""
        try:
            return await self.call(endpoint, seconds, **more)
        except ApiError as fault:
            return fault

    async def trip(self):
        """Let the platform fail until the breaker is open."""
        while self.breaker.state is State.CLOSED:
            self.platform.script = [UpstreamError()]
            await self.outcome("trip")
        self.platform.script = []

    @property
    def at_rest(self):
        """Whether every slot is back and nobody waits."""
        return self.slots.in_use == self.slots.waiting == 0


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="io_loop")
def _io_loop(clock):
    yield from virtual_loop(clock)


@pytest.fixture(name="bench")
def _bench(clock):
    return Bench(clock)


@pytest.fixture(name="narrow")
def _narrow(clock):
    """A bench with a single slot."""
    return Bench(clock, size=1)


# One call.


async def test_a_call_gives_its_result(bench):
    """A good call is made once, and its slot is free again."""
    bench.platform.script = ["the answer"]
    assert await bench.call() == "the answer"
    assert bench.platform.calls == 1
    assert bench.at_rest


async def test_the_observer_is_told_of_a_call(bench):
    """Its endpoint, that it went well, and how long it took."""
    await bench.call("quizzes")
    assert bench.told.calls == [("quizzes", "ok", pytest.approx(0.1))]
    assert bench.told.repeated == []


@pytest.mark.parametrize("kind", [*REPEATED, *FINAL])
async def test_a_failed_call_raises_its_own_error(bench, kind):
    """What the last try raised is what the caller gets; its slot is free again."""
    faults = [kind() for _ in range(3)]
    bench.platform.script = list(faults)
    assert await bench.outcome() is faults[bench.platform.calls - 1]
    assert set(bench.told.outcomes) == {kind.code}
    assert bench.at_rest


async def test_a_fault_of_ours_frees_the_slot(bench):
    """A bug in an attempt is passed on as it is, says nothing of the platform, and
    is not taken for a cancelled call.
    """
    for _ in range(30):
        bench.platform.script = [LookupError("ours")]
        with pytest.raises(LookupError):
            await bench.call()
    assert bench.told.outcomes == ["internal_error"] * 30
    assert bench.guard.state == "closed"
    assert bench.at_rest


async def test_a_last_try_may_take_all_the_time_left(bench):
    """A call that is not repeated has its whole deadline."""
    await bench.call(seconds=8.0, repeatable=False)
    assert bench.platform.allowed == [8.0]


async def test_a_hung_try_leaves_time_for_another(bench):
    """Half of what is left, then half of that, then the rest."""
    bench.platform.seconds = 99.0
    began = bench.clock()
    assert isinstance(await bench.outcome(seconds=8.0), UpstreamTimeout)
    first, second, third = bench.platform.allowed
    assert first == 4.0
    assert second == pytest.approx(4.0 / 2, abs=0.1)
    assert third == pytest.approx(2.0, abs=0.2)
    assert bench.clock() - began <= 8.0


async def test_a_passed_deadline_is_no_call(bench):
    """Nothing is begun that cannot be used any more."""
    assert isinstance(await bench.outcome(seconds=0.0), UpstreamTimeout)
    assert bench.platform.calls == 0
    assert bench.at_rest


# Bulkhead.


async def test_never_more_calls_at_once_than_slots(bench):
    """Fifty calls, ten slots, each with its own deadline: ten at a time."""
    results = await asyncio.gather(*(bench.call() for _ in range(50)))
    assert results == ["answer"] * 50
    assert bench.platform.peak == 10
    assert bench.at_rest


async def test_a_call_that_cannot_be_served_in_time_is_refused_at_once(narrow):
    """The line's length says so, before the deadline is wasted; with a time to wait."""
    narrow.platform.seconds = 1.0
    began = narrow.clock()
    async with asyncio.TaskGroup() as tasks:
        first = [tasks.create_task(narrow.outcome()) for _ in range(30)]
        await settle()
        late = await narrow.outcome(seconds=1.0)
        assert narrow.clock() == began
    assert isinstance(late, Overloaded)
    assert (late.retry_after or 0) > 0
    assert "answer" in [task.result() for task in first]
    assert narrow.at_rest


async def test_waiting_for_a_slot_counts_against_the_deadline(narrow):
    """What is left after the line is what the call may take."""
    narrow.platform.seconds = 1.0
    waiting = asyncio.create_task(narrow.call())
    await settle()
    await narrow.call(seconds=5.0, repeatable=False)
    await waiting
    assert narrow.platform.allowed[1] == pytest.approx(4.0)


async def test_the_calls_of_one_request_share_a_line(narrow):
    """A page of many calls does not hold up another's single one: its deadline is
    its place in line.
    """
    page = Deadline(60.0, narrow.clock)
    order = []

    async def one(name, deadline):
        await narrow.guard.call("cards", narrow.platform, deadline)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(one(f"page {number}", page))
        await settle()
        tasks.create_task(one("single", Deadline(60.0, narrow.clock)))
    assert order.index("single") <= 2


async def test_who_leaves_the_line_leaves_no_slot_behind(narrow):
    """A cancelled waiter was never counted, and no call is made for it."""
    first = asyncio.create_task(narrow.call())
    await settle()
    second = asyncio.create_task(narrow.call())
    await settle()
    second.cancel()
    await asyncio.wait([second])
    assert await first == "answer"
    assert narrow.platform.calls == 1
    assert narrow.at_rest


async def test_a_slot_is_held_until_the_call_ends(narrow):
    """Though the asker has left: curl is still at it, and the platform too."""
    asker = asyncio.create_task(narrow.call(repeatable=False))
    await settle()
    asker.cancel()
    await asyncio.wait([asker])
    assert asker.cancelled()
    assert narrow.slots.in_use == narrow.platform.busy == 1
    await asyncio.sleep(0.2)
    assert narrow.told.outcomes == ["ok"]
    assert narrow.at_rest


async def test_an_error_nobody_waits_for_is_no_complaint(bench, io_loop):
    """No "exception was never retrieved" when an asker left before its call failed."""
    bench.platform.script = [UpstreamError(), LookupError()]
    askers = [asyncio.create_task(bench.call(repeatable=False)) for _ in range(2)]
    await settle()
    for asker in askers:
        asker.cancel()
    await asyncio.wait(askers)
    await asyncio.sleep(0.2)
    gc.collect()
    assert bench.told.outcomes == ["upstream_error", "internal_error"]
    assert io_loop.complaints == []
    assert bench.at_rest


async def test_closing_gives_up_the_calls_under_way(bench):
    """Their slots are free, they count for nothing, their askers are let go."""
    askers = [asyncio.create_task(bench.call()) for _ in range(3)]
    await settle()
    await bench.guard.close()
    await asyncio.wait(askers)
    assert bench.told.outcomes == ["cancelled"] * 3
    assert all(asker.cancelled() for asker in askers)
    assert bench.at_rest


# Retries.


@pytest.mark.parametrize("kind", REPEATED)
async def test_a_fault_that_may_mend_is_tried_again(bench, kind):
    """Dropped connections, 5xx and time-outs: at most two more tries."""
    bench.platform.script = [kind(), kind()]
    assert await bench.call() == "answer"
    assert bench.platform.calls == 3
    assert bench.told.repeated == ["cards", "cards"]
    assert bench.told.outcomes == [kind.code, kind.code, "ok"]


@pytest.mark.parametrize("kind", REPEATED)
async def test_three_tries_are_enough(bench, kind):
    """The fourth is never made."""
    bench.platform.script = [kind() for _ in range(5)]
    assert isinstance(await bench.outcome(), kind)
    assert bench.platform.calls == 3


@pytest.mark.parametrize("kind", FINAL)
async def test_a_fault_that_will_not_mend_is_final(bench, kind):
    """A refusal, a wrong answer: asking again would only cost."""
    bench.platform.script = [kind()]
    assert isinstance(await bench.outcome(), kind)
    assert bench.platform.calls == 1


@pytest.mark.parametrize("kind", REPEATED)
async def test_a_login_is_never_repeated(bench, kind):
    """Whatever happened to it: it may have been counted as a wrong password."""
    bench.platform.script = [kind()]
    assert isinstance(await bench.outcome("login", repeatable=False), kind)
    assert bench.platform.calls == 1
    assert bench.told.repeated == []


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
async def test_tries_are_spread_by_full_jitter(clock, chance):
    """Anything from nothing to a bound that doubles, so that calls which failed
    together do not come back together.
    """
    bench = Bench(clock)
    guard = ResiliencePolicy(
        bench.slots,
        bench.breaker,
        bench.budget,
        bench.told,
        random=lambda: chance,
        clock=clock,
    )
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamFault(), UpstreamFault()]
    await guard.call("cards", bench.platform, Deadline(10.0, clock))
    first, second, third = bench.platform.at
    assert second - first == pytest.approx(chance * 0.1)
    assert third - second == pytest.approx(chance * 0.2)


async def test_no_slot_is_held_between_tries(narrow):
    """Who waits for its second try lets others have their first."""
    narrow.platform.seconds = 0.0
    narrow.platform.script = [UpstreamBusy(retry_after=2.0)]
    asker = asyncio.create_task(narrow.call("cards"))
    await settle()
    assert narrow.at_rest
    began = narrow.clock()
    await narrow.call("quizzes")
    assert narrow.clock() == began
    assert await asker == "answer"


async def test_no_try_begins_past_the_deadline(bench):
    """If the pause before it would not leave any time, there is none."""
    bench.platform.seconds = 0.01
    bench.platform.script = [UpstreamFault(), UpstreamFault()]
    assert isinstance(await bench.outcome(seconds=0.05), UpstreamFault)
    assert bench.platform.calls == 1


async def test_an_empty_budget_allows_no_repetition(clock):
    """A dead platform sees a fifth more calls, not three times as many."""
    bench = Bench(clock, minimum=10_000, floor=0.0)
    bench.platform.seconds = 0.0
    for _ in range(500):
        bench.platform.script = [UpstreamFault()] * 3
        await bench.outcome()
    assert 500 * 1.19 <= bench.platform.calls <= 500 * 1.2


async def test_calls_that_are_never_made_earn_no_repetition(clock):
    """What an open breaker turns away is no load that a fifth could be added to."""
    bench = Bench(clock, floor=0.0)
    await bench.trip()
    for _ in range(1000):
        await bench.outcome()
    assert bench.guard.state == "open"
    taken = 0
    while bench.budget.take():
        taken += 1
    assert taken <= 0.2 * bench.platform.calls


async def test_a_second_try_that_is_turned_away_was_none(bench):
    """The breaker opened meanwhile: no call, so no repetition is told of."""
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamBusy(retry_after=1.0)]
    asker = asyncio.create_task(bench.outcome())
    await settle()
    await bench.trip()
    assert isinstance(await asker, UpstreamUnavailable)
    assert bench.told.repeated == []


# The breaker.


async def test_an_open_breaker_answers_at_once(narrow):
    """Without a slot, without a place in line, without a call; with a time to wait."""
    await narrow.trip()
    calls = narrow.platform.calls
    await narrow.slots.acquire("somebody", Deadline(60.0, narrow.clock))
    began = narrow.clock()
    refused = await narrow.outcome()
    assert type(refused) is UpstreamUnavailable
    assert refused.retry_after == pytest.approx(5.0, abs=0.1)
    assert narrow.clock() == began
    assert narrow.platform.calls == calls
    assert narrow.slots.waiting == 0
    narrow.slots.release(None)


async def test_a_breaker_that_opens_while_one_waits_in_line_refuses_it(narrow):
    """And the slot it was given goes to the next, or is free."""
    deadline = Deadline(60.0, narrow.clock)
    await narrow.slots.acquire("somebody", deadline)
    waiting = [asyncio.create_task(narrow.outcome(seconds=60.0)) for _ in range(3)]
    await settle()
    for _ in range(20):
        narrow.breaker.admit().failure(0.1)
    narrow.slots.release(0.1)
    results = await asyncio.gather(*waiting)
    assert [type(result) for result in results] == [UpstreamUnavailable] * 3
    assert narrow.platform.calls == 0
    assert narrow.at_rest


async def test_the_state_is_told(bench):
    """In the words of the contract."""
    assert bench.guard.state == "closed"
    await bench.trip()
    assert bench.guard.state == "open"
    bench.clock.now += 6
    assert bench.guard.state == "half-open"
    for _ in range(3):
        await bench.call()
    assert bench.guard.state == "closed"


@pytest.mark.parametrize("kind", [*REPEATED, UpstreamError])
async def test_the_platforms_own_failures_open_the_breaker(bench, kind):
    """Twenty of them, tries and repetitions alike."""
    while bench.platform.calls < 20:
        bench.platform.script = [kind()]
        await bench.outcome(repeatable=False)
    assert bench.guard.state == "open"


async def test_slowness_opens_the_breaker(bench):
    """Calls that answer, but too late for a page of two round trips."""
    bench.platform.seconds = 6.0
    while bench.platform.calls < 20:
        await asyncio.gather(*(bench.outcome(repeatable=False) for _ in range(10)))
    assert bench.told.outcomes == ["ok"] * 20
    assert bench.guard.state == "open"


@pytest.mark.parametrize("kind", [TokenRefused, UpstreamRejected, UpstreamUnavailable])
async def test_a_refusal_of_one_student_says_nothing_of_the_platform(bench, kind):
    """401, 403, 404 and 429 open no breaker, however many."""
    for _ in range(100):
        bench.platform.script = [kind()]
        assert isinstance(await bench.outcome(), kind)
    assert bench.guard.state == "closed"


@pytest.mark.parametrize("kind", [TokenRefused, UpstreamRejected, UpstreamUnavailable])
async def test_a_refusal_does_not_use_up_a_probe(bench, kind):
    """Half-open, it neither closes the breaker nor takes a place for ever."""
    await bench.trip()
    bench.clock.now += 6
    for _ in range(10):
        bench.platform.script = [kind()]
        assert isinstance(await bench.outcome(), kind)
    assert bench.guard.state == "half-open"
    assert await asyncio.gather(*(bench.call() for _ in range(3))) == ["answer"] * 3
    assert bench.guard.state == "closed"


async def test_a_cancelled_call_counts_as_nothing(bench):
    """Closing is no verdict either."""
    for _ in range(5):
        askers = [asyncio.create_task(bench.outcome()) for _ in range(10)]
        await settle()
        await bench.guard.close()
        await asyncio.wait(askers)
    assert bench.guard.state == "closed"
    assert bench.at_rest


async def test_a_probe_without_a_verdict_gives_its_place_back(bench):
    """Cancelled, or broken off by a bug of ours: others may probe in its stead."""
    await bench.trip()
    bench.clock.now += 6
    askers = [asyncio.create_task(bench.call()) for _ in range(3)]
    await settle()
    await bench.guard.close()
    await asyncio.wait(askers)
    for _ in range(3):
        bench.platform.script = [LookupError("ours")]
        with pytest.raises(LookupError):
            await bench.call()
    for _ in range(3):
        await bench.call()
    assert bench.guard.state == "closed"


@pytest.mark.parametrize("offset", range(4))
async def test_a_breaker_whose_time_ends_this_very_moment_loses_no_probe(clock, offset):
    """Open at one look, half-open at the next: the place taken in between is given
    back, or no call would ever be let through again.
    """
    bench = Bench(clock, breaker_clock=Ticking(clock))
    await bench.trip()
    calls = bench.platform.calls
    clock.now += 5 - (100 + offset) * Ticking.step
    while bench.platform.calls == calls:
        await bench.outcome()
    assert [await bench.call(), await bench.call()] == ["answer"] * 2
    assert bench.guard.state == "closed"


# The platform's own wish for a pause.


async def test_no_call_to_an_endpoint_that_asked_for_a_pause(bench):
    """For exactly as long as it asked; who comes meanwhile is told how long."""
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamUnavailable(retry_after=5.0)]
    await bench.outcome()
    for waited in (0.0, 1.0, 3.999):
        bench.clock.now += waited
        refused = await bench.outcome()
        assert type(refused) is UpstreamUnavailable
        assert 0 < (refused.retry_after or 0) <= 5.0
    assert bench.platform.calls == 1
    bench.clock.now += 0.001
    assert await bench.call() == "answer"


async def test_other_endpoints_are_called_meanwhile(bench):
    """A limit on one is none on the others."""
    bench.platform.script = [UpstreamUnavailable(retry_after=5.0)]
    await bench.outcome("quizzes")
    assert await bench.call("cards") == "answer"


async def test_a_later_shorter_wish_does_not_shorten_the_pause(bench):
    """Of calls that were under way together, the longest wish counts."""
    bench.platform.script = [
        UpstreamUnavailable(retry_after=60.0),
        UpstreamUnavailable(retry_after=1.0),
    ]
    await asyncio.gather(bench.outcome(), bench.outcome())
    bench.clock.now += 30
    assert isinstance(await bench.outcome(), UpstreamUnavailable)
    assert bench.platform.calls == 2


async def test_a_busy_platform_is_tried_again_when_it_said(bench):
    """A 503 with Retry-After: the next try comes then, and a little later, so that
    those who were told the same do not come back together.
    """
    bench.platform.script = [UpstreamBusy(retry_after=3.0)]
    assert await bench.call() == "answer"
    first, second = bench.platform.at
    assert 3.1 <= second - first <= 3.2


async def test_a_busy_platform_that_asks_for_too_long_is_not_waited_for(bench):
    """The deadline would pass: the caller is told at once."""
    bench.platform.script = [UpstreamBusy(retry_after=30.0)]
    began = bench.clock()
    fault = await bench.outcome(seconds=10.0)
    assert fault.retry_after == 30.0
    assert bench.clock() - began < 1
    assert bench.platform.calls == 1


async def test_a_429_is_not_tried_again(bench):
    """It is a wish to be left alone; half a second later would be no answer to it."""
    bench.platform.script = [UpstreamUnavailable(retry_after=0.5)]
    assert isinstance(await bench.outcome(), UpstreamUnavailable)
    assert bench.platform.calls == 1


async def test_a_pause_opens_no_line(narrow):
    """Who is refused because of it takes no slot."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=5.0)]
    await narrow.outcome()
    await narrow.slots.acquire("somebody", Deadline(60.0, narrow.clock))
    refused = await narrow.outcome()
    assert type(refused) is UpstreamUnavailable
    narrow.slots.release(None)


async def test_a_pause_asked_for_while_one_waited_in_line_holds(narrow):
    """The wish may come from the very call that one waited for."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=5.0)]
    results = await asyncio.gather(narrow.outcome(), narrow.outcome())
    assert [type(each) for each in results] == [UpstreamUnavailable] * 2
    assert narrow.platform.calls == 1
    assert narrow.at_rest
