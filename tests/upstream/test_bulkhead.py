"""The line for slots: fair, honest about the wait, and never leaking a slot."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.deadline import Deadline
from aims_server.upstream.bulkhead import Bulkhead, BulkheadFull
from tests.virtual_time import Clock, VirtualLoop, settle, virtual_loop

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="io_loop")
def _io_loop(clock):
    yield from virtual_loop(clock)


class Line:
    """Callers of some slots, and the order in which they were served."""

    def __init__(self, slots, clock, patience=1000.0):
        self.slots = slots
        self.clock = clock
        self.patience = patience
        self.served: list[str] = []

    async def call(self, name):
        """Stand in line as the flow that is the name's first letter."""
        await self.slots.acquire(name[0], Deadline(self.patience, self.clock))
        self.served.append(name)

    async def join(self, *names):
        """Let callers stand in line one after the other."""
        tasks = []
        for name in names:
            tasks.append(asyncio.ensure_future(self.call(name)))
            await settle()
        return tasks

    async def release(self, times=1, seconds=None):
        """Give slots back one after the other."""
        for _ in range(times):
            self.slots.release(seconds)
            await settle()


async def refused(slots, flow, deadline):
    """The wait named when a call is refused."""
    with pytest.raises(BulkheadFull) as refusal:
        await slots.acquire(flow, deadline)
    return refusal.value.wait


async def test_no_more_than_size_at_once(clock):
    """The third of three callers waits until one of two slots is free."""
    line = Line(Bulkhead(2, clock=clock), clock)
    await line.join("a1", "b1", "c1")
    assert line.served == ["a1", "b1"]
    assert (line.slots.in_use, line.slots.waiting) == (2, 1)
    await line.release()
    assert line.served == ["a1", "b1", "c1"]
    assert (line.slots.in_use, line.slots.waiting) == (2, 0)
    await line.release(2)
    assert line.slots.in_use == 0


async def test_one_flow_is_served_in_order(clock):
    """Within a flow it is first come, first served."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("a1", "a2", "a3", "a4")
    await line.release(3)
    assert line.served == ["a1", "a2", "a3", "a4"]


async def test_flows_take_turns(clock):
    """A page's many calls let every other flow in between."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("x1", "a1", "a2", "a3", "b1", "b2", "c1")
    await line.release(6)
    assert line.served == ["x1", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_newcomer_waits_one_round(clock):
    """A flow that joins late comes after those of this round and of the next."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("x1", "a1", "a2", "a3", "b1", "b2")
    await line.release()
    await line.join("c1")
    await line.release(5)
    assert line.served == ["x1", "a1", "b1", "a2", "b2", "c1", "a3"]


async def test_a_stream_of_newcomers_starves_nobody(clock):
    """Ever new single calls do not keep a page's second call waiting for ever."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("x1", "a1", "a2")
    for newcomer in "bcdefg":
        await line.join(f"{newcomer}1", f"{newcomer}2")
        await line.release()
    assert "a2" in line.served
    await line.release(8)
    assert line.slots.waiting == 0


async def test_a_hopeless_call_is_refused_at_once(clock):
    """Nine ahead on two slots of 1 s each: 5 s of waiting and 1 s of calling."""
    line = Line(Bulkhead(2, clock=clock, first_guess=1.0), clock)
    await line.join("x1", "y1", *(f"{flow}1" for flow in "abcdefghi"))
    began = clock.now
    assert await refused(line.slots, "z", Deadline(5.9, clock)) == 5.0
    assert clock.now == began
    patient = asyncio.ensure_future(line.slots.acquire("z", Deadline(6.1, clock)))
    await settle()
    assert line.slots.waiting == 10
    await line.release(11)
    await patient


async def test_the_wait_counts_only_who_is_served_before(clock):
    """Behind a page of 18 calls, a new flow waits for one of them, not for all."""
    line = Line(Bulkhead(1, clock=clock, first_guess=1.0), clock)
    tasks = await line.join("x1", *(f"a{number}" for number in range(18)))
    assert await refused(line.slots, "b", Deadline(2.5, clock)) == 2.0
    assert await refused(line.slots, "a", Deadline(2.5, clock)) == 19.0
    for task in tasks:
        task.cancel()
    await settle()


async def test_the_wait_is_told_exactly(clock):
    """With calls of constant length each is served when it was told it would be."""
    slots = Bulkhead(1, clock=clock, first_guess=1.0)
    line = Line(slots, clock)
    source = random.Random(3)
    await line.join("x1", *(source.choice("abc") for _ in range(20)))
    wait = await refused(slots, "b", Deadline(1.5, clock))
    asked, last = clock.now, asyncio.ensure_future(line.call("b!"))
    await settle()
    while not last.done():
        clock.now += 1
        await line.release(seconds=1.0)
    assert clock.now - asked == pytest.approx(wait)
    await line.release(slots.waiting)


async def test_a_free_slot_is_given_however_slow_calls_were(clock):
    """Slow calls alone refuse nobody: without calls nothing could be learnt."""
    slots = Bulkhead(1, clock=clock)
    for _ in range(100):
        await slots.acquire("a", Deadline(1, clock))
        slots.release(60.0)
    assert slots.recent_seconds > 30
    await slots.acquire("a", Deadline(1, clock))


async def test_no_time_left_is_refused_even_if_a_slot_is_free(clock):
    """A call whose deadline has come is not begun."""
    slots = Bulkhead(1, clock=clock)
    await refused(slots, "a", Deadline(0, clock))
    assert slots.in_use == 0


async def test_nothing_learnt_refuses_nobody_wrongly(clock):
    """At a cold start 200 calls in line for 10 slots fit into ten seconds."""
    line = Line(Bulkhead(10, clock=clock), clock, patience=10.0)
    tasks = await line.join(*(f"{chr(0x100 + number)}1" for number in range(210)))
    assert line.slots.waiting == 200
    await line.release(200)
    await asyncio.gather(*tasks)


async def test_a_bad_spell_is_unlearnt_by_good_calls(clock):
    """Forty quick calls after a hundred hung ones restore the estimate."""
    slots = Bulkhead(1, clock=clock)
    for seconds in [10.0] * 100 + [0.2] * 40:
        await slots.acquire("a", Deadline(1, clock))
        slots.release(seconds)
    assert slots.recent_seconds < 0.4


async def test_a_bad_spell_fades_in_silence(clock):
    """Without any call the estimate halves its error every thirty seconds."""
    slots = Bulkhead(1, clock=clock, first_guess=0.5)
    clock.now += 600
    for _ in range(200):
        await slots.acquire("a", Deadline(1, clock))
        slots.release(8.5)
    assert slots.recent_seconds == pytest.approx(8.5, rel=1e-3)
    clock.now += 60
    assert slots.recent_seconds == pytest.approx(2.5, rel=1e-3)


async def test_release_without_a_time_teaches_nothing(clock):
    """A call that was never made leaves the estimate as it was."""
    slots = Bulkhead(1, clock=clock)
    await slots.acquire("a", Deadline(1, clock))
    slots.release(None)
    assert slots.recent_seconds == 0.3


async def test_the_deadline_ends_the_wait(clock):
    """A call still in line at its deadline is refused then, and leaves the line."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("x1")
    began = clock.now
    await refused(line.slots, "a", Deadline(2.0, clock))
    assert clock.now - began == pytest.approx(2.0)
    assert line.slots.waiting == 0
    await line.release()
    assert line.slots.in_use == 0


async def test_an_extended_deadline_lengthens_the_wait(clock):
    """A deadline moved while in line is the one that counts."""
    line = Line(Bulkhead(1, clock=clock), clock)
    await line.join("x1")
    began, deadline = clock.now, Deadline(2.0, clock)
    asyncio.get_running_loop().call_later(1, deadline.extend, Deadline(5.0, clock))
    await refused(line.slots, "a", deadline)
    assert clock.now - began == pytest.approx(5.0)


async def test_a_cancelled_waiter_leaves_the_line(clock):
    """Its place is gone at once, and the slot goes to the next."""
    line = Line(Bulkhead(1, clock=clock), clock)
    tasks = await line.join("x1", "a1", "b1", "a2")
    tasks[1].cancel()
    await settle()
    assert line.slots.waiting == 2
    await line.release(2)
    assert line.served == ["x1", "b1", "a2"]


async def test_a_slot_handed_to_a_cancelled_waiter_is_handed_on(clock):
    """Cancelled between hand-over and waking, it passes the slot to the next."""
    line = Line(Bulkhead(1, clock=clock), clock)
    tasks = await line.join("x1", "a1", "b1")
    line.slots.release(None)
    tasks[1].cancel()
    await settle()
    assert line.served == ["x1", "b1"]
    await line.release()
    assert line.slots.in_use == 0


async def test_a_waiter_cancelled_before_the_hand_over_gets_nothing(clock):
    """Cancelled and then handed the slot before it woke, it passes it on too."""
    line = Line(Bulkhead(1, clock=clock), clock)
    tasks = await line.join("x1", "a1")
    tasks[1].cancel()
    line.slots.release(None)
    await settle()
    assert tasks[1].cancelled()
    assert line.slots.in_use == 0


async def test_nothing_is_left_of_a_flow_that_has_gone(clock):
    """Neither served nor refused nor cancelled flows leave a line behind."""
    slots = Bulkhead(1, clock=clock)
    await slots.acquire("x", Deadline(1, clock))
    for number in range(50):
        waiter = asyncio.ensure_future(slots.acquire(number, Deadline(9, clock)))
        await settle()
        if number % 2:
            waiter.cancel()
        else:
            slots.release(None)
        await settle()
    await refused(slots, "late", Deadline(1, clock))
    assert not slots._lines
    assert not slots._rounds


async def test_release_without_acquire_is_a_fault(clock):
    """A slot given back twice would let too many calls run: it is refused."""
    with pytest.raises(RuntimeError):
        Bulkhead(1, clock=clock).release(None)


async def test_no_slots_are_no_line(clock):
    """A size below one could serve nobody."""
    with pytest.raises(ValueError, match="at least 1"):
        Bulkhead(0, clock=clock)


async def use(slots, flow, patience, seconds, running, clock):
    """One caller's whole life; `running` notes how many run at once."""
    try:
        await slots.acquire(flow, Deadline(patience, clock))
    except BulkheadFull:
        return
    running[0] += 1
    running[1] = max(running)
    try:
        await asyncio.sleep(seconds)
    finally:
        running[0] -= 1
        slots.release(seconds)


callers = st.tuples(
    st.floats(0, 3),  # silence before it comes
    st.integers(0, 3),  # flow
    st.floats(0, 5),  # patience
    st.floats(0, 2),  # time of its call
    st.none() | st.floats(0, 4),  # when it is cancelled
)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.lists(callers, max_size=25))
def test_no_slot_is_lost_or_doubled(size, script):
    """Whoever comes, waits, gives up or is cancelled: at the end all slots are free."""
    clock = Clock()
    loop = VirtualLoop(clock)
    slots, running = Bulkhead(size, clock=clock), [0, 0]

    async def play():
        tasks = []
        for silence, flow, patience, seconds, leaves in script:
            await asyncio.sleep(silence)
            task = asyncio.ensure_future(
                use(slots, flow, patience, seconds, running, clock)
            )
            if leaves is not None:
                asyncio.get_running_loop().call_later(leaves, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(play())
    loop.close()
    assert running[1] <= size
    assert (slots.in_use, slots.waiting) == (0, 0)
    assert not slots._lines
