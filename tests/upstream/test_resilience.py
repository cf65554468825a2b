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
    UpstreamUnreachable,
)
from aims_server.upstream.admission import Admission
from aims_server.upstream.bulkhead import Bulkhead
from aims_server.upstream.callers import CallerKey
from aims_server.upstream.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience import ResiliencePolicy
from aims_server.upstream.retry import RetryBudget
from tests.virtual_time import settle, virtual_loop

pytestmark = pytest.mark.gen_test

REPEATED = [UpstreamDropped, UpstreamFault, UpstreamBusy, UpstreamUnreachable]
FINAL = [TokenRefused, UpstreamRejected, UpstreamError, UpstreamTimeout]

ME = CallerKey.student(1)
SOMEBODY = CallerKey.student(2)


class Told:
    """An observer that writes down what it is told."""

    def __init__(self):
        self.calls: list[tuple[str, str, float]] = []
        self.repeated: list[str] = []
        self.hedged: list[str] = []

    def call_finished(self, endpoint, outcome, seconds):
        """One call ended."""
        self.calls.append((endpoint, outcome, seconds))

    def call_repeated(self, endpoint):
        """One more is made."""
        self.repeated.append(endpoint)

    def call_hedged(self, endpoint, end):
        """A late call and its hedge."""
        self.hedged.append(end)

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
        self.slow_once = 0.0
        self.apart: list[bool] = []
        self.allowed: list[float] = []
        self.at: list[float] = []
        self.busy = self.peak = 0

    async def __call__(self, allowed, *, apart):
        """One call; an exception in the script is raised, anything else returned."""
        self.allowed.append(allowed)
        self.apart.append(apart)
        seconds, self.slow_once = self.slow_once or self.seconds, 0.0
        self.at.append(self._clock())
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            await asyncio.sleep(min(seconds, allowed))
            if seconds > allowed:
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

    def __init__(self, clock, *, size=10, floor=10.0, breaker_clock=None):
        self.clock = clock
        self.platform = Platform(clock)
        self.slots = Bulkhead(size, clock=clock)
        self.breakers = EndpointBreakers(
            ["cards", "quizzes", "login"],
            clock=breaker_clock or clock,
            random=lambda: 1.0,
        )
        self.budget = RetryBudget(clock=clock, share=0.25, floor=floor)
        self.told = Told()
        self.hedges = RetryBudget(clock=clock, share=0.1, floor=10.0)
        self.failures: list[tuple[str, UpstreamError, float]] = []
        self.guard = self.policy(lambda: 0.5)

    def policy(self, random):
        """The policy over these parts."""
        return ResiliencePolicy(
            Admission(self.slots, self.breakers, clock=self.clock),
            self.told,
            retries=self.budget,
            hedges=self.hedges,
            random=random,
            on_failure=lambda *told: self.failures.append(told),
            clock=self.clock,
        )

    async def call(
        self, endpoint="cards", seconds=10.0, *, attempt=None, caller=ME, **more
    ):
        """One call through the guard, with a deadline of its own."""
        deadline = Deadline(seconds, self.clock)
        return await self.guard.call(
            endpoint, caller, attempt or self.platform, deadline, **more
        )

    async def outcome(self, endpoint="cards", seconds=10.0, **more):
        """The result of a call, or the error it ended with."""
        try:
            return await self.call(endpoint, seconds, **more)
        except ApiError as fault:
            return fault

    def state(self, endpoint="cards"):
        """The endpoint's breaker."""
        return self.breakers.state(endpoint).value

    async def trip(self, endpoint="cards"):
        """Let the platform fail until the endpoint's breaker is open."""
        for number in range(101, 104):
            self.platform.script = [UpstreamError()]
            await self.outcome(endpoint, caller=CallerKey.student(number))
        assert self.state(endpoint) == "open"

    @property
    def at_rest(self):
        """Whether every slot is back and nobody waits."""
        return self.slots.in_use == self.slots.waiting == 0


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


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
async def test_a_failed_call_raises_its_own_error(clock, kind):
    """What the last try raised is what the caller gets; its slot is free again."""
    bench = Bench(clock, floor=2.0)
    faults = [kind() for _ in range(9)]
    bench.platform.script = list(faults)
    assert await bench.outcome() is faults[bench.platform.calls - 1]
    assert set(bench.told.outcomes) == {kind.code}
    assert bench.at_rest


async def test_failures_of_the_platform_are_told(bench):
    """Each call's, also of one that is made again; a refused token is none."""
    dropped = UpstreamDropped()
    bench.platform.script = [dropped, TokenRefused()]
    await bench.outcome()
    assert bench.failures == [("cards", dropped, pytest.approx(0.1))]


async def test_a_fault_of_ours_frees_the_slot(bench):
    """A bug in an attempt is passed on as it is, says nothing of the platform, and
    is not taken for a cancelled call.
    """
    for _ in range(30):
        bench.platform.script = [LookupError("ours")]
        with pytest.raises(LookupError):
            await bench.call()
    assert bench.told.outcomes == ["internal_error"] * 30
    assert bench.state() == "closed"
    assert bench.at_rest


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_call_has_all_the_time_left(bench, repeatable):
    """None of it is kept for a second try: a slow answer is better than none."""
    await bench.call(seconds=8.0, repeatable=repeatable)
    assert bench.platform.allowed == [8.0]


async def test_a_hung_call_ends_with_its_deadline(bench):
    """It has had all the time there was, so it is not made again."""
    bench.platform.seconds = 99.0
    began = bench.clock()
    assert isinstance(await bench.outcome(seconds=8.0), UpstreamTimeout)
    assert bench.platform.allowed == [8.0]
    assert bench.clock() - began == 8.0


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


async def test_the_calls_of_one_caller_share_a_line(narrow):
    """A page of many calls does not hold up another's single one."""
    order = []

    async def one(name, caller):
        await narrow.call(seconds=60.0, caller=caller)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(one(f"page {number}", ME))
        await settle()
        tasks.create_task(one("single", CallerKey.student(2)))
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
    """Dropped connections and 5xx, as often as the budget allows."""
    times = 2 if kind is UpstreamUnreachable else 4  # three open the breakers
    bench.platform.script = [kind() for _ in range(times)]
    assert await bench.call() == "answer"
    assert bench.platform.calls == times + 1
    assert bench.told.repeated == ["cards"] * times
    assert bench.told.outcomes == [*[kind.code] * times, "ok"]


async def test_tries_end_with_the_deadline(clock):
    """Not with a number: no try begins that could not end."""
    bench = Bench(clock, floor=1000.0)
    bench.platform.script = [UpstreamFault() for _ in range(100)]
    began = clock()
    assert isinstance(await bench.outcome(seconds=5.0), UpstreamFault)
    assert 4.0 < clock() - began <= 5.0
    assert bench.platform.calls > 8


async def test_tries_end_with_the_budget(clock):
    """At once when it is used up, whatever time is left."""
    bench = Bench(clock, floor=4.0)
    bench.platform.script = [UpstreamFault() for _ in range(100)]
    assert isinstance(await bench.outcome(), UpstreamFault)
    assert bench.platform.calls == 1 + 2  # a half of the room is one caller's


async def test_one_callers_failures_leave_budget_for_others(bench):
    """Odd data of one student costs no other student a second try."""
    bench.platform.script = [UpstreamFault() for _ in range(6)]
    assert isinstance(await bench.outcome(), UpstreamFault)
    bench.platform.script = [UpstreamFault()]
    assert await bench.call(caller=CallerKey.student(2)) == "answer"


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
    guard = bench.policy(lambda: chance)
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamFault(), UpstreamFault()]
    await guard.call("cards", ME, bench.platform, Deadline(10.0, clock))
    first, second, third = bench.platform.at
    assert second - first == pytest.approx(chance * 0.05)
    assert third - second == pytest.approx(chance * 0.1)


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
    assert isinstance(await bench.outcome(seconds=0.03), UpstreamFault)
    assert bench.platform.calls == 1


async def test_an_empty_budget_allows_no_repetition(clock):
    """A dead platform sees a quarter more calls, not many times as many."""
    bench = Bench(clock, floor=0.0)
    bench.platform.seconds = 0.0
    for number in range(500):
        bench.platform.script = [UpstreamFault()] * 3
        await bench.outcome(caller=CallerKey.address(number % 10))
    assert 500 * 1.24 <= bench.platform.calls <= 500 * 1.25


async def test_calls_that_are_never_made_earn_no_repetition(clock):
    """What an open breaker turns away is no load that a share could be added to."""
    bench = Bench(clock, floor=0.0)
    await bench.trip()
    for _ in range(1000):
        await bench.outcome()
    assert bench.state() == "open"
    taken = 0
    while bench.budget.take(taken):
        taken += 1
    assert taken <= 0.25 * bench.platform.calls


async def test_a_second_try_that_is_turned_away_was_none(bench):
    """The breaker opened meanwhile: no call, so no repetition is told of."""
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamBusy(retry_after=1.0)]
    asker = asyncio.create_task(bench.outcome())
    await settle()
    await bench.trip()
    assert isinstance(await asker, UpstreamUnavailable)
    assert bench.told.repeated == []


# Hedges.


async def knows(bench, endpoint="cards"):
    """Let the policy learn that calls take 0.1 s."""
    for _ in range(10):
        await bench.call(endpoint)
    bench.told.calls.clear()


async def test_a_late_call_gets_another_one_beside_it(bench):
    """Apart from the first, which is given up when the other is answered."""
    await knows(bench)
    bench.platform.slow_once = 99.0
    began = bench.clock()
    assert await bench.call() == "answer"
    assert bench.clock() - began < 0.5
    assert bench.platform.apart == [*[False] * 11, True]
    assert bench.told.hedged == ["started", "won"]
    await settle()
    assert sorted(bench.told.outcomes) == ["cancelled", "ok"]
    assert bench.at_rest


async def test_a_late_login_waits(bench):
    """It is never made twice."""
    await knows(bench, "login")
    bench.platform.slow_once = 5.0
    assert await bench.call("login", repeatable=False) == "answer"
    assert bench.told.hedged == []


async def test_a_refusal_of_one_copy_is_final(bench):
    """Nobody waits for the hung one to be refused as well."""
    await knows(bench)
    bench.platform.slow_once = 99.0
    bench.platform.script = [TokenRefused()]
    began = bench.clock()
    assert isinstance(await bench.outcome(seconds=30.0), TokenRefused)
    assert bench.clock() - began < 0.5
    await settle()
    assert bench.at_rest


async def test_no_hedge_without_a_free_slot(narrow):
    """Who waits in line comes first."""
    await knows(narrow)
    narrow.platform.slow_once = 5.0
    assert await narrow.call() == "answer"
    assert narrow.told.hedged == []


async def test_no_hedge_beyond_the_budget(bench):
    """A platform that answers every other call gets a tenth more of them."""
    bench.hedges = RetryBudget(clock=bench.clock, share=0.0, floor=0.0)
    bench.guard = bench.policy(lambda: 0.5)
    await knows(bench)
    for caller in range(3):
        bench.platform.slow_once = 5.0
        await bench.call(caller=CallerKey.student(caller))
    assert bench.told.hedged == []
    assert bench.at_rest


async def test_no_hedge_while_the_caller_is_to_pause(bench):
    """A call under way is waited for, and no other one made."""
    await knows(bench)
    bench.platform.slow_once = 5.0
    late = asyncio.create_task(bench.call())
    await settle()
    bench.platform.script = [UpstreamUnavailable(retry_after=60.0)]
    await bench.outcome(repeatable=False)
    assert await late == "answer"
    assert bench.told.hedged == []


async def test_closing_ends_all_copies(bench):
    """The late one and the one beside it."""
    await knows(bench)
    bench.platform.seconds = 99.0
    late = asyncio.create_task(bench.call(seconds=200.0))
    await asyncio.sleep(1.0)
    assert bench.platform.busy == 3
    await bench.guard.close()
    await asyncio.wait([late])
    assert late.cancelled()
    assert bench.at_rest


# The breaker.


async def test_an_open_breaker_answers_at_once(narrow):
    """Without a slot, without a place in line, without a call; with a time to wait."""
    await narrow.trip()
    calls = narrow.platform.calls
    await narrow.slots.acquire(SOMEBODY, Deadline(60.0, narrow.clock))
    began = narrow.clock()
    refused = await narrow.outcome()
    assert type(refused) is UpstreamUnavailable
    assert refused.retry_after == pytest.approx(5.0, abs=0.1)
    assert narrow.clock() == began
    assert narrow.platform.calls == calls
    assert narrow.slots.waiting == 0
    narrow.slots.release(SOMEBODY, None)


async def test_a_breaker_that_opens_while_one_waits_in_line_refuses_it(narrow):
    """And the slot it was given goes to the next, or is free."""
    deadline = Deadline(60.0, narrow.clock)
    await narrow.slots.acquire(SOMEBODY, deadline)
    waiting = [asyncio.create_task(narrow.outcome(seconds=60.0)) for _ in range(3)]
    await settle()
    for number in range(3):
        narrow.breakers.admit("cards", CallerKey.student(number)).failure()
    narrow.slots.release(SOMEBODY, 0.1)
    results = await asyncio.gather(*waiting)
    assert [type(result) for result in results] == [UpstreamUnavailable] * 3
    assert narrow.platform.calls == 0
    assert narrow.at_rest


async def test_an_open_endpoint_costs_the_others_nothing(bench):
    """Undecodable cards of three students, and somebody's quizzes and login."""
    await bench.trip("cards")
    assert await bench.call("quizzes") == "answer"
    assert await bench.call("login", repeatable=False) == "answer"


async def test_the_first_good_probe_closes_the_breaker(bench):
    """After the five seconds for which it is open."""
    await bench.trip()
    bench.clock.now += 6
    assert bench.state() == "half-open"
    await bench.call()
    assert bench.state() == "closed"


@pytest.mark.parametrize("kind", [UpstreamDropped, UpstreamFault, UpstreamBusy])
async def test_what_a_retry_mends_failed_nobody(clock, kind):
    """Every fifth call may fail, for whomever: the breaker is not asked."""
    bench = Bench(clock, floor=100.0)
    for number in range(50):
        bench.platform.script = [kind(), kind()]
        assert await bench.call(caller=CallerKey.student(number)) == "answer"
    assert bench.state() == "closed"


@pytest.mark.parametrize(
    "kind", [UpstreamDropped, UpstreamFault, UpstreamBusy, UpstreamError]
)
async def test_what_three_students_see_opens_the_breaker(clock, kind):
    """Failures that no retry mended; one student's alone, however many, do not."""
    bench = Bench(clock, floor=0.0)
    for number in (1, 1, 1, 1, 1, 2, 3):
        assert bench.state() == "closed"
        bench.platform.script = [kind()]
        await bench.outcome(caller=CallerKey.student(number), repeatable=False)
    assert bench.state() == "open"


async def test_connections_that_cannot_be_made_open_all_breakers(bench):
    """Tries and repetitions alike, of one caller: it is not its fault."""
    bench.platform.script = [UpstreamUnreachable() for _ in range(3)]
    await bench.outcome()
    assert bench.platform.calls == 3
    assert set(bench.breakers.states().values()) == {"open"}


async def test_a_slow_platform_is_not_a_sick_one(bench):
    """Answers after 8 s; or none in the 10 s that their askers had."""
    for seconds, deadline in ((8.0, 30.0), (12.0, 10.0)):
        bench.platform.seconds = seconds
        await asyncio.gather(
            *(
                bench.outcome(seconds=deadline, caller=CallerKey.student(number))
                for number in range(10)
            )
        )
    assert set(bench.told.outcomes) == {"ok", "upstream_timeout"}
    assert bench.state() == "closed"


async def test_a_platform_that_hangs_is_sick(bench):
    """Three students' calls had half a minute, and no answer."""
    bench.platform.seconds = 99.0
    await asyncio.gather(
        *(
            bench.outcome(seconds=30.0, caller=CallerKey.student(number))
            for number in range(3)
        )
    )
    assert bench.state() == "open"


@pytest.mark.parametrize("kind", [TokenRefused, UpstreamRejected, UpstreamUnavailable])
async def test_a_refusal_of_one_student_says_nothing_of_the_platform(bench, kind):
    """401, 403, 404 and 429 open no breaker, however many."""
    for number in range(100):
        bench.platform.script = [kind()]
        caller = CallerKey.student(number)
        assert isinstance(await bench.outcome(caller=caller, repeatable=False), kind)
    assert bench.state() == "closed"


@pytest.mark.parametrize("kind", [TokenRefused, UpstreamRejected, UpstreamUnavailable])
async def test_a_refusal_does_not_use_up_a_probe(bench, kind):
    """Half-open, it neither closes the breaker nor takes a place for ever."""
    await bench.trip()
    bench.clock.now += 6
    for _ in range(10):
        bench.platform.script = [kind()]
        assert isinstance(await bench.outcome(repeatable=False), kind)
    assert bench.state() == "half-open"
    assert await bench.call() == "answer"
    assert bench.state() == "closed"


async def test_a_cancelled_call_counts_as_nothing(bench):
    """Closing is no verdict either."""
    for _ in range(5):
        askers = [asyncio.create_task(bench.outcome()) for _ in range(10)]
        await settle()
        await bench.guard.close()
        await asyncio.wait(askers)
    assert bench.state() == "closed"
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
    await bench.call()
    assert bench.state() == "closed"


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
    assert bench.state() == "closed"


# The platform's own wish for a pause.


async def test_a_caller_that_was_asked_to_pause_makes_no_call(bench):
    """For exactly as long as was asked; it is told how long."""
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    await bench.outcome()
    for waited in (0.0, 1.0, 48.999):
        bench.clock.now += waited
        refused = await bench.outcome()
        assert type(refused) is UpstreamUnavailable
        assert 0 < (refused.retry_after or 0) <= 50.0
    assert bench.platform.calls == 1
    bench.clock.now += 0.001
    assert await bench.call() == "answer"


@pytest.mark.parametrize(
    ("endpoint", "caller"), [("quizzes", ME), ("cards", CallerKey.student(2))]
)
async def test_others_are_called_meanwhile(bench, endpoint, caller):
    """Other endpoints of this caller, and other callers of this endpoint."""
    bench.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    await bench.outcome("cards")
    assert await bench.call(endpoint, caller=caller) == "answer"


async def test_three_callers_told_so_pause_the_endpoint(bench):
    """It means everybody then."""
    for number in range(101, 104):
        bench.platform.script = [UpstreamUnavailable(retry_after=50.0)]
        await bench.outcome(caller=CallerKey.student(number))
    assert type(await bench.outcome()) is UpstreamUnavailable
    assert bench.platform.calls == 3


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


async def test_a_429_is_tried_again_when_it_said(bench):
    """If its pause leaves time for it."""
    bench.platform.script = [UpstreamUnavailable(retry_after=1.0)]
    assert await bench.call() == "answer"
    first, second = bench.platform.at
    assert 1.1 <= second - first <= 1.2


async def test_a_pause_opens_no_line(narrow):
    """Who is refused because of it takes no slot."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    await narrow.outcome()
    await narrow.slots.acquire(SOMEBODY, Deadline(60.0, narrow.clock))
    refused = await narrow.outcome()
    assert type(refused) is UpstreamUnavailable
    narrow.slots.release(SOMEBODY, None)


async def test_a_pause_asked_for_while_one_waited_in_line_holds(narrow):
    """The wish may come from the very call that one waited for."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    results = await asyncio.gather(narrow.outcome(), narrow.outcome())
    assert [type(each) for each in results] == [UpstreamUnavailable] * 2
    assert narrow.platform.calls == 1
    assert narrow.at_rest
