"""Which calls are made again, when, and for how long."""

import asyncio

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import (
    UpstreamBusy,
    UpstreamFault,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from aims_server.upstream.resilience import CallerKey
from tests.virtual_time import settle

from ..bench import FINAL, ME, REPEATED, Bench

pytestmark = pytest.mark.gen_test


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
    """Their number is not limited: no try begins that could not end."""
    bench = Bench(clock, floor=1000.0)
    bench.platform.script = [UpstreamFault() for _ in range(100)]
    began = clock()
    assert isinstance(await bench.outcome(seconds=5.0), UpstreamFault)
    assert 4.0 < clock() - began <= 5.0
    assert bench.platform.calls > 8


async def test_tries_end_with_the_budget(clock):
    """They end at once when it is used up, whatever time is left."""
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
    """A call that waits for its second try lets others have their first."""
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


@pytest.mark.parametrize(
    ("pause", "calls"), [(9.0, 2), (11.0, 1), (25.0, 1), (31.0, 1)]
)
async def test_nobody_waits_for_a_pause_that_outlasts_them(clock, pause, calls):
    """The call may go on behind its asker, who is told of the pause all the same."""
    bench = Bench(clock)
    guard = bench.policy(lambda: 0.5, background_seconds=20.0)
    bench.platform.script = [UpstreamBusy(retry_after=pause) for _ in range(2)]
    began = clock()
    with pytest.raises(UpstreamBusy):
        await guard.call("cards", ME, bench.platform, Deadline(30.0, clock))
    assert bench.platform.calls == calls
    assert clock() - began < 10.0


async def test_who_waits_is_told_of_the_fault(clock):
    """No try is put off until nobody waits: its askers would hear that the platform had
    not answered in time, though it had each time at once.
    """
    bench = Bench(clock, floor=1000.0)
    guard = bench.policy(lambda: 1.0, background_seconds=29.0)
    bench.platform.seconds = 0.0
    bench.platform.script = [UpstreamFault() for _ in range(9)]
    began = clock()
    with pytest.raises(UpstreamFault):
        await guard.call("cards", ME, bench.platform, Deadline(30.0, clock))
    assert clock() - began < 1.0
    assert bench.platform.calls > 3


async def test_what_nobody_waits_for_is_tried_again(clock):
    """It fails when its askers are gone, and is for those who come."""
    bench = Bench(clock)
    guard = bench.policy(lambda: 1.0, background_seconds=29.0)
    bench.platform.seconds = 1.5
    bench.platform.script = [UpstreamFault() for _ in range(2)]
    deadline = Deadline(30.0, clock)
    assert await guard.call("cards", ME, bench.platform, deadline) == "answer"


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
