"""Late calls, and those made beside them."""

import asyncio

import pytest

from aims_server.errors import (
    TokenRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.retry import RetryBudget
from tests.virtual_time import settle

from ..bench import REPEATED, SOMEBODY, Bench

pytestmark = pytest.mark.gen_test


async def knows(bench, endpoint="cards"):
    """Let the policy learn that calls take 0.1 s."""
    for _ in range(10):
        await bench.call(endpoint)
    bench.told.calls.clear()


async def test_a_late_call_gets_another_one_beside_it(bench):
    """The hedge uses another connection; the first call is given up at its answer."""
    await knows(bench)
    bench.platform.slow_once = 99.0
    began = bench.clock()
    assert await bench.call() == "answer"
    assert bench.clock() - began < 0.5
    assert bench.platform.fresh == [*[False] * 11, True]
    assert bench.told.hedged == ["started", "won"]
    await settle()
    assert sorted(bench.told.outcomes) == ["cancelled", "ok"]
    assert bench.at_rest


async def test_a_late_login_waits(bench):
    """A late login gets no hedge."""
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


@pytest.mark.parametrize("fault", [*REPEATED, UpstreamTimeout])
async def test_a_copy_that_fails_is_not_the_end(bench, fault):
    """The other one may be answered: the call is neither failed nor made again."""
    await knows(bench)
    bench.platform.slow_once = 1.0
    bench.platform.script = [fault()]
    assert await bench.call() == "answer"
    assert bench.told.repeated == []
    await settle()
    assert bench.at_rest


async def test_no_hedge_without_a_free_slot(narrow):
    """A caller that waits comes first."""
    await knows(narrow)
    narrow.platform.slow_once = 5.0
    assert await narrow.call() == "answer"
    assert narrow.told.hedged == []


async def test_older_hedges_end_while_others_find_no_slot(clock):
    """A call that hangs for half a minute may have six of them, which would take the
    slots of other students' pages.
    """
    bench = Bench(clock, size=4)
    await knows(bench)
    bench.platform.seconds = 99.0
    late = asyncio.create_task(bench.call(seconds=200.0))
    await asyncio.sleep(4.0)
    assert bench.platform.busy == 4
    bench.platform.seconds = 0.1
    began = bench.clock()
    assert await bench.call("quizzes", caller=SOMEBODY) == "answer"
    assert bench.clock() - began < 1.0
    assert bench.platform.busy == 2
    late.cancel()
    await asyncio.wait([late])


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


async def test_a_hedge_that_wins_costs_no_budget(bench):
    """It takes the place of a call that hangs; another one may be made for the next."""
    bench.hedges = RetryBudget(clock=bench.clock, share=0.0, floor=1.0)
    bench.guard = bench.policy(lambda: 0.5)
    await knows(bench)
    for number in range(3):
        bench.platform.slow_once = 99.0
        assert await bench.call(caller=CallerKey.student(number)) == "answer"
    assert bench.told.hedged == ["started", "won"] * 3
    bench.platform.seconds = 1.0
    for number in range(3):
        await bench.call(caller=CallerKey.student(number))
    assert bench.told.hedged == [*["started", "won"] * 3, "started"]
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


async def test_no_hedge_while_the_breaker_is_not_closed(bench):
    """The endpoint fails others: a call under way is waited for."""
    await knows(bench)
    bench.platform.slow_once = 5.0
    late = asyncio.create_task(bench.call())
    await settle()
    for number in range(3):
        bench.breakers.admit("cards", CallerKey.student(number)).failure()
    assert await late == "answer"
    assert bench.told.hedged == []
    assert bench.at_rest


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
