"""What the breaker is told, and what it lets through."""

import asyncio

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import (
    TokenRefused,
    UpstreamBusy,
    UpstreamDropped,
    UpstreamError,
    UpstreamFault,
    UpstreamRejected,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from aims_server.upstream.resilience import CallerKey
from tests.virtual_time import settle

from ..bench import SOMEBODY, Bench, Ticking
from ..queueing import acquire

pytestmark = pytest.mark.gen_test


async def test_an_open_breaker_answers_at_once(narrow):
    """Without a slot, without waiting for one, without a call; with a time to wait."""
    await narrow.trip()
    calls = narrow.platform.calls
    await acquire(narrow.slots, SOMEBODY, Deadline(60.0, narrow.clock))
    began = narrow.clock()
    refused = await narrow.outcome()
    assert type(refused) is UpstreamUnavailable
    assert refused.retry_after == pytest.approx(5.0, abs=0.1)
    assert narrow.clock() == began
    assert narrow.platform.calls == calls
    assert narrow.slots.waiting == 0
    narrow.slots.release(SOMEBODY, None)


async def test_a_failure_that_a_retry_mends_opens_nothing(bench):
    """However many students' calls fail together."""
    bench.platform.script = [UpstreamFault() for _ in range(5)]
    calls = [bench.call(caller=CallerKey.student(number)) for number in range(5)]
    assert await asyncio.gather(*calls) == ["answer"] * 5
    assert bench.state() == "closed"


async def test_a_breaker_that_opens_while_one_waits_in_line_refuses_it(narrow):
    """It is not made, and its slot goes to the next one or is free."""
    deadline = Deadline(60.0, narrow.clock)
    await acquire(narrow.slots, SOMEBODY, deadline)
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
    """It does so after the five seconds for which the breaker is open."""
    await bench.trip()
    bench.clock.now += 6
    assert bench.state() == "half-open"
    await bench.call()
    assert bench.state() == "closed"


async def test_a_probe_has_a_new_connection(bench):
    """It has no hedge, and kept connections may hang: all of them, if the platform
    moved.
    """
    await bench.trip()
    bench.clock.now += 6
    await bench.call()
    await bench.call()
    assert bench.platform.fresh == [*[False] * 3, True, False]


async def test_a_probe_of_the_way_has_a_new_connection(bench):
    """Whichever endpoint it is for."""
    for _ in range(3):
        bench.breakers.admit("login", SOMEBODY).unreachable()
    bench.clock.now += 6
    await bench.call()
    await bench.call()
    assert bench.platform.fresh == [True, False]


async def test_the_next_probe_has_a_kept_connection(bench):
    """While no name can be resolved, kept ones may still work."""
    for _ in range(3):
        bench.breakers.admit("login", SOMEBODY).unreachable()
    bench.clock.now += 6
    bench.platform.script = [UpstreamUnreachable()]
    assert await bench.call() == "answer"
    assert bench.platform.fresh == [True, False]
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
