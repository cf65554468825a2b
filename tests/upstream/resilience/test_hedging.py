"""When a late call gets another one beside it, in virtual time."""

import asyncio
import contextvars
import gc
import weakref
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.resilience.hedging import Hedging
from tests.virtual_time import Clock, VirtualLoop, settle, virtual_loop

pytestmark = pytest.mark.gen_test


class Unlucky(Exception):
    """A failure that another call need not share."""


class Final(Exception):
    """A failure that every call would share."""


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


class Copies:
    """Calls by script: each takes its seconds, then returns or raises."""

    def __init__(self, clock, *script, known=0.1, soonest=0.0):
        self.clock = clock
        self.script = list(script)
        self.began: list[float] = []
        self.running = 0
        self.hedging = Hedging(inconclusive=(Unlucky,), soonest=soonest, clock=clock)
        for _ in range(20 if known else 0):
            self.hedging.latency.observe(known)

    async def copy(self):
        """The next call of the script."""
        seconds, result = self.script.pop(0)
        self.began.append(self.clock.now)
        self.running += 1
        try:
            await asyncio.sleep(seconds)
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            self.running -= 1

    async def run(self):
        """A hedged call; another copy may be had while the script has one."""
        return await self.hedging.run(
            self.copy(), lambda _: self.copy() if self.script else None
        )


async def test_a_call_in_time_is_alone(clock):
    """Twice the median is not late yet."""
    copies = Copies(clock, (0.2, "first"), (0.1, "second"))
    assert await copies.run() == "first"
    assert len(copies.began) == 1


async def test_nobody_is_late_in_no_time(clock):
    """A quarter of a second is soon enough, however quick all the others were."""
    copies = Copies(clock, (0.24, "first"), (0.1, "second"), known=0.001, soonest=0.25)
    assert await copies.run() == "first"
    assert len(copies.began) == 1


async def test_the_first_answer_wins(clock):
    """The late call's own, if it comes before the other's."""
    copies = Copies(clock, (0.5, "first"), (9.0, "second"))
    began = clock.now
    assert await copies.run() == "first"
    assert clock.now - began == pytest.approx(0.5)
    await settle()
    assert copies.running == 0


async def test_a_late_third_gets_more_each_after_twice_as_long(clock):
    """They are few, and outlast a platform that hangs for some seconds."""
    copies = Copies(clock, *((9.0, number) for number in range(9)))
    assert await copies.run() == 0
    waits = [late - early for early, late in pairwise(copies.began)]
    assert 0.2 <= waits[0] <= 0.23
    assert waits == pytest.approx([waits[0] * times for times in (1, 1, 2, 4, 8, 16)])
    await settle()
    assert copies.running == 0


async def test_the_first_call_of_all_is_late_after_three_seconds(clock):
    """Without answers nothing tells how long calls take; one that hangs has a hedge
    too.
    """
    copies = Copies(clock, (99.0, "first"), (0.1, "second"), known=0)
    assert await copies.run() == "second"
    assert copies.began[1] - copies.began[0] == pytest.approx(3.0)


async def test_three_answers_may_make_a_call_late_that_began_before(clock):
    """Within a quarter of a second."""
    copies = Copies(clock, (9.0, 1), (0.1, 2), known=0)
    call = asyncio.create_task(copies.run())
    await asyncio.sleep(1)
    assert len(copies.began) == 1
    for _ in range(3):
        copies.hedging.latency.observe(0.1)
    assert await call == 2
    assert copies.began[1] - copies.began[0] <= 1.3


async def test_a_late_call_is_seen_though_others_keep_beginning(clock):
    """Each of them is to be looked at later than the one that is late."""
    copies = Copies(clock, (99.0, 1), *[(0.1, 2)] * 20, soonest=0.25)
    calls = [asyncio.create_task(copies.run())]
    for _ in range(5):
        await asyncio.sleep(0.1)
        calls.append(asyncio.create_task(copies.run()))
    assert calls[0].done()
    await asyncio.gather(*calls)


async def test_one_that_hangs_gets_another_once_the_platform_is_back(clock):
    """At once, however long its next hedge would have had to wait."""
    copies = Copies(clock, *[(99.0, 1)] * 7, (0.1, 2))
    call = asyncio.create_task(copies.run())
    await asyncio.sleep(11.0)
    assert copies.running == 7
    copies.hedging.answered(clock() - 0.1)
    back_at = clock()
    assert await call == 2
    assert clock() - back_at < 1.0


async def test_a_hedge_that_is_not_to_be_had_is_asked_for_again(clock):
    """A slot may be free later."""
    copies = Copies(clock, (9.0, 1))
    call = asyncio.create_task(copies.run())
    await asyncio.sleep(1)
    copies.script.append((0.1, 2))
    assert await call == 2


async def test_another_call_is_had_in_its_askers_context(clock):
    """A hedge runs in the context of the call that it belongs to."""
    asker: contextvars.ContextVar[str] = contextvars.ContextVar("asker")
    copies = Copies(clock)
    seen = []

    async def ask(name, after):
        asker.set(name)
        await asyncio.sleep(after)

        async def tell():
            seen.append(asker.get())

        def another(_):
            seen.append(asker.get())
            return tell()

        await copies.hedging.run(asyncio.sleep(9), another)

    await asyncio.gather(ask("first", 0.0), ask("second", 0.15))
    assert seen == ["first", "first", "second", "second"]


async def test_a_failure_waits_for_the_others(clock):
    """The late call's answer is as good."""
    copies = Copies(clock, (1.0, "first"), (0.1, Unlucky()))
    assert await copies.run() == "first"


@pytest.mark.parametrize("more", [[], [(9.0, "third")]])
async def test_the_first_ones_failure_waits_for_the_others(clock, more):
    """The first of the others that answers decides."""
    copies = Copies(clock, (0.5, Unlucky()), (1.0, "second"), *more)
    began = clock.now
    assert await copies.run() == "second"
    assert clock.now - began < 1.3
    await settle()


async def test_a_hedges_failure_waits_for_the_other_hedge(clock):
    """Also when the first call has failed before."""
    copies = Copies(clock, (0.5, Unlucky()), (0.4, Unlucky()), (1.0, "third"))
    assert await copies.run() == "third"


async def test_two_that_answer_in_one_turn_are_one_answer(clock):
    """The second of them ends nothing any more."""
    copies, answer = Copies(clock), asyncio.get_running_loop().create_future()
    call = asyncio.create_task(
        copies.hedging.run(asyncio.sleep(9), lambda _: result_of(answer))
    )
    await asyncio.sleep(1)
    answer.set_result("both")
    assert await call == "both"


async def test_the_last_failure_is_raised(clock):
    """The last failure is raised when all have failed."""
    copies = Copies(clock, (1.0, Unlucky("late")), (0.1, Unlucky("early")))
    with pytest.raises(Unlucky, match="late"):
        await copies.run()


async def test_a_final_failure_is_raised_at_once(clock):
    """The others would fare no better."""
    copies = Copies(clock, (9.0, "first"), (0.1, Final()))
    began = clock.now
    with pytest.raises(Final):
        await copies.run()
    assert clock.now - began < 0.5
    await settle()
    assert copies.running == 0


async def test_a_fast_failure_alone_is_raised(clock):
    """To make the call again is another's business."""
    copies = Copies(clock, (0.1, Unlucky()), (0.1, 2))
    with pytest.raises(Unlucky):
        await copies.run()


async def test_being_cancelled_cancels_all(clock):
    """No copy outlives who asked for it."""
    copies = Copies(clock, (9.0, 1), (9.0, 2))
    call = asyncio.create_task(copies.run())
    await asyncio.sleep(1)
    assert copies.running == 2
    call.cancel()
    await asyncio.wait([call])
    await settle()
    assert copies.running == 0


async def test_being_cancelled_as_another_wins_is_being_cancelled(clock):
    """A call cancelled from outside while its hedge wins is cancelled."""
    copies = Copies(clock)

    async def another(_):
        asyncio.get_running_loop().call_soon(call.cancel)

    call = asyncio.create_task(copies.hedging.run(asyncio.sleep(9), another))
    await asyncio.wait([call])
    assert call.cancelled()


async def test_nothing_is_left_of_a_failure(clock):
    """The task that had it is freed at once, and with it what its frames know."""
    call = asyncio.create_task(Copies(clock, (0.1, Final())).run())
    await asyncio.wait([call])
    assert isinstance(call.exception(), Final)
    left = weakref.ref(call)
    gc.disable()
    try:
        del call
        await settle()
        assert left() is None
    finally:
        gc.enable()


async def test_a_call_that_is_decided_gets_no_more(clock):
    """Though the one that lost takes seconds to end."""
    copies = Copies(clock, (0.0, "good"), *[(60.0, "too many")] * 9)

    async def lose():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(5)

    run = copies.hedging.run(lose(), lambda _: copies.copy())
    assert await run == "good"
    assert len(copies.began) == 1


async def test_another_call_that_was_not_begun_ends_as_one_that_was(clock):
    """The first answer comes in the turn of the loop in which the other is made: what
    the other holds, a slot, is given back all the same.
    """
    hedging = Hedging(soonest=0.0, clock=clock)
    for _ in range(20):
        hedging.latency.observe(0.1)
    first = asyncio.get_running_loop().create_future()
    given_back: list[str] = []

    def another(_):
        first.set_result("first")
        return holding(given_back)

    assert await hedging.run(result_of(first), another) == "first"
    await settle()
    assert given_back == ["slot"]


async def holding(given_back):
    """A call that holds a slot from before its first step on."""
    try:
        await asyncio.sleep(60)
    finally:
        given_back.append("slot")


async def result_of(future):
    """Wait for it."""
    return await future


async def test_when_all_are_slow_none_gets_another(clock):
    """None gets a hedge, before and after it is known that calls became slow."""
    copies = Copies(clock, *[(4.0, n) for n in range(60)])
    for _ in range(2):
        await asyncio.gather(*(copies.run() for _ in range(30)))
    assert len(copies.began) == 60


async def test_one_that_hangs_among_many_gets_another(clock):
    """The others have been answered since it began."""
    copies = Copies(clock, (9.0, "hung"), *[(0.1, n) for n in range(14)], (0.1, "won"))
    results = await asyncio.gather(*(copies.run() for _ in range(15)))
    assert results[0] == "won"


@pytest.mark.parametrize(("answered", "hedged"), [(3, 0), (4, 3)])
async def test_late_ones_are_at_most_half_of_those_that_were_answered(
    clock, answered, hedged
):
    """Beyond half as many, late calls are no exceptions and get no hedge."""
    copies = Copies(clock)
    made = []

    async def run(seconds):
        await copies.hedging.run(asyncio.sleep(seconds), lambda _: made.append(1))

    await run(0.1)
    hung = [run(0.4) for _ in range(3)]  # late once: after 0.2 s, and half again
    await asyncio.gather(*hung, *(run(0.1) for _ in range(answered)))
    assert len(made) == hedged


@pytest.mark.parametrize("seconds", [(9.0, 0.1), (0.5, 9.0)])
async def test_a_call_that_is_given_up_is_known_to_have_had_no_end(clock, seconds):
    """The late one, or the other."""
    copies = Copies(clock, *((each, "answer") for each in seconds))
    await copies.run()
    assert copies.hedging.latency.quantile(0.99) == inf
    await settle()


async def test_calls_that_are_given_up_do_not_make_others_late(clock):
    """With one in twenty hanging, calls are late no sooner than without."""
    copies = Copies(clock)
    before = copies.hedging.lateness.late_after
    for _ in range(30):
        copies.script = [(99.0, "hung"), (0.1, "won")]
        await copies.run()
        for _ in range(19):
            copies.script = [(0.1, "well")]
            await copies.run()
    assert 0 < before <= copies.hedging.lateness.late_after <= 1.5 * before


calls = st.lists(
    st.tuples(
        st.floats(0, 5), st.sampled_from(["good", Unlucky("unlucky"), Final("final")])
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60)
@given(calls, st.floats(0, 3) | st.none())
def test_whatever_the_copies_do_none_is_left(script, leaves):
    """The result is one copy's."""
    clock = Clock()
    loop = VirtualLoop(clock)
    copies = Copies(clock, *script)

    async def play():
        call = asyncio.ensure_future(copies.run())
        if leaves is not None:
            asyncio.get_running_loop().call_later(leaves, call.cancel)
        await asyncio.wait([call])
        await settle()
        return call

    call = loop.run_until_complete(play())
    loop.close()
    assert copies.running == 0
    assert not copies.hedging._began
    if not call.cancelled():
        made = [result for _, result in script[: len(copies.began)]]
        assert (call.exception() or call.result()) in made
