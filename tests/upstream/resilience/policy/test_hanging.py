"""Calls that hang for longer than a request waits, while others want their slots."""

import asyncio

import pytest

from aims_server.errors import Overloaded, UpstreamFault
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.retry import RetryBudget
from aims_server.upstream.resilience.slot_pool import SlotPools
from tests.virtual_time import settle

from ..bench import SOMEBODY, Bench

pytestmark = pytest.mark.gen_test

HANGS = 99.0


def begin(bench, number, endpoint="cards", seconds=30.0):
    """A call of another student each time, which a page may be gathered with."""
    caller = CallerKey.student(number)
    return asyncio.create_task(bench.outcome(endpoint, seconds, caller=caller))


async def all_slots_hang(bench, endpoint="cards"):
    """As many calls as there are slots, for longer than a request waits."""
    bench.platform.seconds = HANGS
    hung = [begin(bench, number, endpoint) for number in range(10)]
    await asyncio.sleep(10.5)
    assert bench.slots.in_use == 10
    return hung


async def test_a_platform_that_is_back_is_noticed_though_all_slots_hang(bench):
    """New calls get slots in seconds, and what hung is made again and answered."""
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    back_at = bench.clock()
    for number in range(10, 13):
        assert await begin(bench, number, seconds=10.0) == "answer"
    assert await asyncio.gather(*hung) == ["answer"] * 10
    assert bench.clock() < back_at + 2.0
    assert bench.at_rest


async def test_a_slow_answer_long_ago_delays_no_notice(bench):
    """A platform became slow, hung, and is back."""
    bench.platform.seconds = 8.0
    await begin(bench, 20)
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    assert await begin(bench, 10, seconds=10.0) == "answer"
    await asyncio.gather(*hung)


async def test_calls_give_way_though_another_worker_has_the_other_slots(clock):
    """This one has less than its share, and what it waits for hangs there, too."""
    pools = SlotPools()
    other = pools.of(1, size=10, share=5)
    assert all(other.take() for _ in range(6))
    bench = Bench(clock, size=pools.of(0, size=10, share=5))
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(4)]
    await asyncio.sleep(10.5)
    bench.platform.seconds = 0.1
    assert await begin(bench, 10, seconds=10.0) == "answer"
    await asyncio.gather(*hung)


async def test_calls_give_way_to_those_of_another_worker(clock):
    """The other worker has none of the slots, and so no call that could give way."""
    pools = SlotPools()
    bench = Bench(clock, size=pools.of(0, size=10, share=5))
    other = Bench(clock, size=pools.of(1, size=10, share=5))
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    assert await begin(other, 10, seconds=10.0) == "answer"
    await asyncio.gather(*hung)


async def test_calls_that_began_before_the_last_answer_give_way_too(bench):
    """A login, which never does, may have taken the slot of the one answered last."""
    bench.platform.seconds = 4.0
    answered = begin(bench, 0)
    await asyncio.sleep(0.1)
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(1, 10)]
    assert await answered == "answer"
    login = bench.outcome("login", 30.0, caller=SOMEBODY, repeatable=False)
    hung.append(asyncio.create_task(login))
    await asyncio.sleep(10.5)
    bench.platform.seconds = 0.1
    assert await begin(bench, 11, seconds=10.0) == "answer"
    await asyncio.gather(*hung)


async def test_an_endpoint_that_hangs_is_left_to_itself(bench):
    """Its breaker opens once three students' calls hung for half the gathering time."""
    hung = await all_slots_hang(bench, "quizzes")
    for number in range(10, 18):
        hung.append(begin(bench, number, "quizzes", seconds=10.0))
        await asyncio.sleep(1.0)
    assert bench.state("quizzes") == "open"
    bench.platform.seconds = 0.1
    assert await begin(bench, 50, seconds=10.0) == "answer"
    await asyncio.gather(*hung)
    assert bench.at_rest


async def test_the_breaker_opens_though_calls_give_way_before_they_count(clock):
    """With few slots none is left to hang for half the gathering time."""
    bench = Bench(clock, size=6)
    bench.platform.seconds = HANGS
    calls = []
    for number in range(80):
        calls.append(begin(bench, number))
        await asyncio.sleep(0.5)
    assert bench.state() != "closed"
    await asyncio.gather(*calls)


async def test_the_breaker_opens_though_each_student_has_many_calls(clock):
    """Those that give way are not all of the one who came first."""
    bench = Bench(clock, size=30)
    bench.platform.seconds = HANGS
    calls = []
    for number in range(6):
        calls += [begin(bench, number) for _ in range(15)]
        await asyncio.sleep(1.0)
    await asyncio.sleep(19.0)
    assert bench.state() != "closed"
    await asyncio.gather(*calls)


async def test_while_none_is_answered_one_call_a_second_gives_way(bench):
    """Nobody can know yet whether the others would be answered in the end."""
    hung = await all_slots_hang(bench)
    for number in range(10, 40):
        begin(bench, number, seconds=4.0)
        await asyncio.sleep(0.1)
    assert 3 <= bench.told.outcomes.count("cancelled") <= 4
    assert all(type(end) is not str for end in await asyncio.gather(*hung))


async def test_calls_of_a_platform_that_is_slow_do_not_give_way(bench):
    """Once one is answered, be it in 12 s: what they bring is for the next request."""
    bench.platform.seconds = 12.0
    calls = []
    for number in range(60):
        calls.append(begin(bench, number))
        await asyncio.sleep(0.5)
    await asyncio.gather(*calls)
    assert "cancelled" not in bench.told.outcomes[5:]
    assert bench.told.outcomes.count("ok") >= 25


async def test_what_hung_is_made_again_when_others_are_answered(clock):
    """Beside it, without a budget: else its student would wait until its end, 20 s
    later.
    """
    bench = Bench(clock, size=80)
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(30)]
    await asyncio.sleep(10.5)
    bench.platform.seconds = 0.1
    back_at = bench.clock()
    assert await begin(bench, 30, seconds=10.0) == "answer"
    assert await asyncio.gather(*hung) == ["answer"] * 30
    assert bench.clock() < back_at + 4.0
    assert bench.at_rest


async def test_a_platform_that_is_back_is_noticed_though_nobody_new_asks(clock):
    """The next request waits for the call that hung, and begins no new one."""
    bench = Bench(clock, size=80)
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(30)]
    await asyncio.sleep(15.0)
    tried = bench.platform.calls
    await are_answered(bench, hung, virtual_seconds=5.0)
    assert tried < 40
    assert bench.at_rest


async def are_answered(bench, calls, *, virtual_seconds):
    """All of them, so soon after the platform is back by the clock of the tests."""
    bench.platform.seconds = 0.1
    back_at = bench.clock()
    assert await asyncio.gather(*calls) == ["answer"] * len(calls)
    assert bench.clock() < back_at + virtual_seconds


async def answered_at_once(bench):
    """The platform has been quick so far."""
    for number in range(900, 930):
        await begin(bench, number)


async def test_a_platform_that_hangs_for_two_seconds_costs_nobody_more(bench):
    """Not even the only student who asks meanwhile, though hedges made then hang as
    well.
    """
    await answered_at_once(bench)
    bench.platform.seconds = HANGS
    hung = begin(bench, 1)
    await asyncio.sleep(2.0)
    bench.platform.seconds = 0.1
    began = bench.clock()
    assert await hung == "answer"
    assert bench.clock() < began + 3.0
    assert bench.platform.calls <= 30 + 5
    await settle()
    assert bench.at_rest


async def test_calls_that_hung_together_cost_nobody_more(clock):
    """One newer answer is enough, however many they are: each is then made again."""
    bench = Bench(clock, size=80)
    await answered_at_once(bench)
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(8)]
    await asyncio.sleep(5.0)
    bench.platform.seconds = 0.1
    began = bench.clock()
    assert await begin(bench, 8) == "answer"
    assert await asyncio.gather(*hung) == ["answer"] * 8
    assert bench.clock() < began + 1.0
    assert bench.told.hedged.count("won") == 8


async def test_whose_calls_were_made_to_try_is_not_forgotten(clock):
    """Those beside which another one hung as well, while none was answered."""
    bench = Bench(clock, size=80)
    await answered_at_once(bench)
    bench.platform.seconds = HANGS
    hung = [begin(bench, number) for number in range(30)]
    await asyncio.sleep(18.0)
    await are_answered(bench, hung, virtual_seconds=4.0)


async def test_what_was_tried_in_a_silence_is_not_waited_for(bench):
    """Once a newer call is answered, also what began in the silence gives way: with few
    slots it would keep them from others for ten seconds more.
    """
    bench.hedges.take = lambda _: False
    hung = await all_slots_hang(bench)
    hung += [begin(bench, number) for number in range(10, 20)]
    await asyncio.sleep(4.0)
    await are_answered(bench, hung, virtual_seconds=4.0)
    assert bench.at_rest


async def test_calls_give_way_to_those_that_have_waited_since_before_they_hung(bench):
    """Of a page with more calls than there are slots; nobody else asks."""
    bench.platform.seconds = HANGS
    calls = [begin(bench, 1) for _ in range(15)]
    await asyncio.sleep(5.0)
    await are_answered(bench, calls, virtual_seconds=8.0)
    assert bench.at_rest


async def test_what_gave_way_comes_after_others(clock):
    """One of ten students whose calls hang had a turn again each time: the pages of
    half of the others lacked subjects.
    """
    bench = Bench(clock, size=3)
    bench.hedges = RetryBudget(clock=clock, share=0.0, floor=0.0)
    bench.guard = bench.policy(lambda: 0.5)
    made = 0

    async def hang(allowed, *, fresh):
        nonlocal made
        made += 1
        await asyncio.sleep(allowed)

    async def visit(number):
        while clock() < crowded_until:
            await begin(bench, number)

    bench.platform.seconds = 1.0
    crowded_until = clock() + 20.0
    hung = [
        asyncio.create_task(bench.call(seconds=40.0, attempt=hang)) for _ in range(2)
    ]
    others = [asyncio.create_task(visit(number)) for number in range(10, 18)]
    await asyncio.sleep(19.0)
    assert bench.told.outcomes.count("cancelled") == made == 2
    await asyncio.wait(others)
    await asyncio.sleep(1.0)
    assert made == 4
    for call in hung:
        call.cancel()
    await asyncio.wait(hung)


async def test_a_call_has_the_time_that_those_of_other_endpoints_take(bench):
    """Of an endpoint that few ask for, none may have been answered for long."""
    bench.platform.seconds = 12.0
    bench.hedges.take = lambda _: False
    calls = [begin(bench, number) for number in range(8)]
    await asyncio.sleep(6.0)
    rare = begin(bench, 8, "quizzes")
    await asyncio.sleep(6.5)
    calls += [begin(bench, number) for number in range(10, 19)]
    await asyncio.sleep(4.0)
    calls.append(begin(bench, 20, seconds=10.0))
    assert await rare == "answer"
    ends = [
        outcome for endpoint, outcome, _ in bench.told.calls if endpoint == "quizzes"
    ]
    assert ends == ["ok"]
    await asyncio.gather(*calls)


async def test_a_call_that_gave_way_needs_no_budget(bench):
    """It takes the place of a dead one: all that hung are made again at once."""
    bench.budget.take = lambda _: False
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    assert await begin(bench, 10, seconds=10.0) == "answer"
    assert await asyncio.gather(*hung) == ["answer"] * 10
    assert bench.at_rest


async def test_a_call_that_gave_way_is_made_again_on_a_new_connection(bench):
    """It may be its connection that hangs."""
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    assert await begin(bench, 10, seconds=10.0) == "answer"
    assert await hung[-1] == "answer"
    assert bench.platform.fresh == [False] * 11 + [True]
    await asyncio.gather(*hung)


async def test_a_try_that_gave_way_hides_no_answer(narrow):
    """The error told is the last one with which the platform answered."""
    narrow.platform.slow_once, narrow.platform.seconds = 0.1, HANGS
    narrow.platform.script = [UpstreamFault()]
    failed = begin(narrow, 0)
    await asyncio.sleep(11.0)
    late = begin(narrow, 1, seconds=17.0)
    assert isinstance(await failed, UpstreamFault)
    assert narrow.told.outcomes[:2] == ["upstream_error", "cancelled"]
    await late


async def test_a_call_with_another_one_beside_it_does_not_give_way(clock):
    """The newer one will be answered, so both keep their slots."""
    bench = Bench(clock, size=4)
    bench.platform.seconds = HANGS
    hung = begin(bench, 1)
    await asyncio.sleep(10.5)
    assert bench.told.hedged == ["started"] * 2
    bench.platform.seconds = 4.0
    await asyncio.sleep(2.0)
    assert bench.slots.in_use == 4
    late = begin(bench, 2, seconds=10.0)
    assert await hung == "answer"
    assert bench.told.hedged == ["started"] * 3 + ["won"]
    assert await late == "answer"


async def test_a_call_gives_way_whose_hedge_hangs_as_well(clock):
    """With few slots the hedges of a few calls may take all of them."""
    bench = Bench(clock, size=3)
    bench.platform.seconds = HANGS
    hung = begin(bench, 1, seconds=60.0)
    await asyncio.sleep(24.0)
    assert bench.slots.in_use == 3
    bench.platform.seconds = 0.1
    assert await begin(bench, 2, seconds=10.0) == "answer"
    await hung


async def test_nothing_gives_way_while_slots_are_free(clock):
    """However long it hangs, and though this caller has all that one may have."""
    bench = Bench(clock, size=40)
    bench.platform.seconds = HANGS
    hung = [begin(bench, 1) for _ in range(33)]
    await asyncio.sleep(15.0)
    assert (bench.slots.in_use, bench.slots.waiting) == (32, 1)
    assert not bench.told.outcomes
    await asyncio.gather(*hung)


async def test_calls_give_way_to_pages_that_were_refused(bench):
    """They wait for no slot: while all are refused nobody would notice that the
    platform is back.
    """
    hung = await all_slots_hang(bench)
    bench.platform.seconds = 0.1
    with pytest.raises(Overloaded):
        bench.guard.reserve(CallerKey.student(10), 16, seconds=0.2)
    assert await asyncio.gather(*hung) == ["answer"] * 10
