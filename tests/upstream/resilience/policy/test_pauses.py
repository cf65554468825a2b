"""Pauses that the platform asks for."""

import asyncio
from itertools import count

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import (
    UpstreamBusy,
    UpstreamUnavailable,
)
from aims_server.upstream.resilience import CallerKey

from ..bench import ME, SOMEBODY, Bench
from ..queueing import acquire

pytestmark = pytest.mark.gen_test


async def test_a_caller_that_was_asked_to_pause_makes_no_call(bench):
    """It pauses for exactly that time, and is told how long."""
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
    """The caller's other endpoints are called, and this endpoint for other callers."""
    bench.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    await bench.outcome("cards")
    assert await bench.call(endpoint, caller=caller) == "answer"


async def test_three_callers_told_so_pause_the_endpoint(bench):
    """Pauses of three callers pause the endpoint for everybody."""
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
    """It is, if the pause leaves time for a try."""
    bench.platform.script = [UpstreamUnavailable(retry_after=1.0)]
    assert await bench.call() == "answer"
    first, second = bench.platform.at
    assert 1.1 <= second - first <= 1.2


async def test_calls_turned_down_together_are_all_tried_again(bench):
    """They are, though each is told a moment later to wait as long."""

    async def busy_at_first(allowed, *, fresh):
        began = bench.clock()
        await asyncio.sleep(0.1 * next(numbers))
        if began < first_second:
            raise UpstreamUnavailable(retry_after=1.0)
        return "answer"

    numbers = count(1)
    first_second = bench.clock() + 1.0
    calls = [bench.call(attempt=busy_at_first, seconds=30.0) for _ in range(5)]
    assert await asyncio.gather(*calls) == ["answer"] * 5
    assert next(numbers) == 11


async def test_who_waits_for_a_pause_that_grew_comes_a_little_after_it(bench):
    """Their returns are spread, so that they do not come together."""

    async def busy_at_first(allowed, *, fresh):
        began.append(bench.clock())
        if len(began) <= 2:
            await asyncio.sleep(0.1 * len(began))
            raise UpstreamUnavailable(retry_after=1.0)
        return "answer"

    began: list[float] = []
    await asyncio.gather(*(bench.call(attempt=busy_at_first) for _ in range(2)))
    assert min(began[2:]) > began[0] + 0.2 + 1.0 + 0.01


async def test_a_pause_that_outlasts_the_asker_is_not_waited_for(clock):
    """The call might go on behind its asker, who is told now."""
    bench = Bench(clock)
    guard = bench.policy(lambda: 0.5, background_seconds=20.0)
    bench.platform.script = [
        UpstreamUnavailable(retry_after=1.0),
        UpstreamUnavailable(retry_after=15.0),
    ]
    calls = [
        guard.call("cards", ME, bench.platform, Deadline(30.0, clock)) for _ in range(2)
    ]
    began = clock()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in results] == [UpstreamUnavailable] * 2
    assert clock() - began < 2


async def test_a_pause_that_grew_too_long_is_not_waited_for(bench):
    """Another call of the same caller was told so: this one is refused when it is
    found out, and not at its deadline.
    """
    began = bench.clock()
    bench.platform.script = [
        UpstreamUnavailable(retry_after=1.0),
        UpstreamUnavailable(retry_after=50.0),
    ]
    results = await asyncio.gather(bench.outcome(), bench.outcome())
    assert [type(each) for each in results] == [UpstreamUnavailable] * 2
    assert bench.clock() - began < 2
    assert bench.platform.calls == 2


async def test_a_pause_opens_no_queue(narrow):
    """A call that is refused because of it takes no slot."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=50.0)]
    await narrow.outcome()
    await acquire(narrow.slots, SOMEBODY, Deadline(60.0, narrow.clock))
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


async def test_a_pause_that_leaves_time_is_waited_out_by_those_in_line(narrow):
    """One call that is turned down does not cost its page the calls behind it."""
    narrow.platform.script = [UpstreamUnavailable(retry_after=1.0)]
    results = await asyncio.gather(*(narrow.outcome() for _ in range(4)))
    assert results == ["answer"] * 4
    first, second, *_ = narrow.platform.at
    assert 1.1 <= second - first <= 1.3
    assert narrow.told.repeated == ["cards"]
    assert narrow.at_rest


async def test_a_pause_asked_for_while_others_go_first_is_waited_out(narrow):
    """A call gave way, and another one of its caller is turned down before it is made
    again.
    """
    narrow.platform.seconds = 99.0
    gave_way = asyncio.create_task(narrow.outcome(seconds=40.0))
    await asyncio.sleep(9.0)
    narrow.platform.seconds = 1.0
    narrow.platform.script = [UpstreamUnavailable(retry_after=3.0)]
    callers = ME, SOMEBODY, CallerKey.student(3)
    others = [narrow.outcome(seconds=20.0, caller=caller) for caller in callers]
    assert await asyncio.gather(gave_way, *others) == ["answer"] * 4
    assert narrow.at_rest
