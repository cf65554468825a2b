"""One call, and its slot."""

import asyncio
import gc

import pytest

from aims_server.errors import (
    Overloaded,
    TokenRefused,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
)
from tests.virtual_time import settle

from ..bench import FINAL, REPEATED, Bench

pytestmark = pytest.mark.gen_test


async def test_a_call_gives_its_result(bench):
    """A good call is made once, and its slot is free again."""
    bench.platform.script = ["the answer"]
    assert await bench.call() == "the answer"
    assert bench.platform.calls == 1
    assert bench.at_rest


async def test_the_observer_is_told_of_a_call(bench):
    """It is given the endpoint, the success, and the time that the call took."""
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
    """Each failed call is reported, retries too; a refused token is no failure."""
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


async def test_a_hung_call_ends_with_its_deadline(narrow):
    """It has had all the time there was, so it is not made again."""
    narrow.platform.seconds = 99.0
    began = narrow.clock()
    assert isinstance(await narrow.outcome(seconds=8.0), UpstreamTimeout)
    assert narrow.platform.allowed == [8.0]
    assert narrow.clock() - began == 8.0


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
    """The queue says so, before the deadline is wasted; with a time to wait."""
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
    """What is left after the queue is what the call may take."""
    narrow.platform.seconds = 1.0
    waiting = asyncio.create_task(narrow.call())
    await settle()
    await narrow.call(seconds=5.0, repeatable=False)
    await waiting
    assert narrow.platform.allowed[1] == pytest.approx(4.0)


async def test_a_slot_is_held_until_the_call_ends(narrow):
    """It is held though the asker has left, since the call still runs."""
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


@pytest.mark.parametrize("repeatable", [True, False])
async def test_closing_gives_up_the_calls_under_way(bench, repeatable):
    """Their slots are free, they count for nothing, their askers are let go."""
    askers = [asyncio.create_task(bench.call(repeatable=repeatable)) for _ in range(3)]
    await settle()
    await bench.guard.close()
    await asyncio.wait(askers)
    assert bench.told.outcomes == ["cancelled"] * 3
    assert all(asker.cancelled() for asker in askers)
    assert bench.at_rest
