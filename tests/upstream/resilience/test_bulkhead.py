"""Who gets a slot, who waits, and who is refused at once."""

import asyncio
import random

import pytest

from aims_server.deadline import Deadline
from aims_server.upstream.resilience.bulkhead import Bulkhead, BulkheadFull
from tests.virtual_time import settle, virtual_loop

from .queueing import Queue, acquire, caller, refused

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


async def test_no_more_than_size_at_once(clock):
    """The third of three callers waits until one of two slots is free."""
    queue = Queue(Bulkhead(2, clock=clock), clock)
    await queue.join("a1", "b1", "c1")
    assert queue.served == ["a1", "b1"]
    assert (queue.slots.in_use, queue.slots.waiting) == (2, 1)
    await queue.release()
    assert queue.served == ["a1", "b1", "c1"]
    assert (queue.slots.in_use, queue.slots.waiting) == (2, 0)
    await queue.release(2)
    assert queue.slots.in_use == 0


async def test_a_deadline_may_pass_as_the_wait_begins(clock):
    """The process was held up for longer than a call takes: that is a refusal."""
    slots = Bulkhead(1, clock=clock, first_guess=0.1)
    assert slots.try_acquire(caller("a"))
    moments = iter([0.0, 0.5])
    deadline = Deadline(1.0, lambda: next(moments, 2.0))
    with pytest.raises(BulkheadFull):
        await slots.wait_for_turn(caller("b"), deadline)
    assert slots.waiting == 0


async def test_one_flow_is_served_in_order(clock):
    """Within a flow it is first come, first served."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("a1", "a2", "a3", "a4")
    await queue.release(3)
    assert queue.served == ["a1", "a2", "a3", "a4"]


async def test_flows_take_turns(clock):
    """A page's many calls let every other flow in between."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1", "a1", "a2", "a3", "b1", "b2", "c1")
    await queue.release(6)
    assert queue.served == ["x1", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_newcomer_waits_one_round(clock):
    """A caller that joins late is served after each of those before it once."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1", "a1", "a2", "a3", "b1", "b2")
    await queue.release()
    await queue.join("c1")
    await queue.release(5)
    assert queue.served == ["x1", "a1", "b1", "a2", "c1", "b2", "a3"]


async def test_a_stream_of_newcomers_starves_nobody(clock):
    """Ever new single calls do not keep a page's second call waiting for ever."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1", "a1", "a2")
    for newcomer in "bcdefg":
        await queue.join(f"{newcomer}1", f"{newcomer}2")
        await queue.release()
    assert "a2" in queue.served
    await queue.release(8)
    assert queue.slots.waiting == 0


async def test_a_hopeless_call_is_refused_at_once(clock):
    """Nine ahead on two slots of 1 s each: 5 s of waiting and 1 s of calling."""
    queue = Queue(Bulkhead(2, clock=clock, first_guess=1.0), clock)
    await queue.join("x1", "y1", *(f"{flow}1" for flow in "abcdefghi"))
    began = clock.now
    assert await refused(queue.slots, "z", Deadline(5.9, clock)) == 5.0
    assert clock.now == began
    patient = asyncio.ensure_future(
        acquire(queue.slots, caller("z"), Deadline(6.1, clock))
    )
    await settle()
    assert queue.slots.waiting == 10
    await queue.release(11)
    await patient


async def test_the_wait_counts_only_who_is_served_before(clock):
    """Behind a page of 18 calls, a new flow waits for one of them, not for all."""
    queue = Queue(Bulkhead(1, clock=clock, first_guess=1.0), clock)
    tasks = await queue.join("x1", *(f"a{number}" for number in range(18)))
    assert await refused(queue.slots, "b", Deadline(2.5, clock)) == 2.0
    assert await refused(queue.slots, "a", Deadline(2.5, clock)) == 19.0
    for task in tasks:
        task.cancel()
    await settle()


async def test_the_wait_is_told_exactly(clock):
    """With calls of constant length a newcomer is served when it was told it would be,
    and who waits already no later.
    """
    slots = Bulkhead(1, clock=clock, first_guess=1.0)
    queue = Queue(slots, clock)
    source = random.Random(3)
    await queue.join("x1", *(source.choice("abc") for _ in range(20)))
    waits = {name: slots.wait(caller(name)) for name in "bd"}
    asked, ends = clock.now, dict[str, float]()
    last = {name: asyncio.ensure_future(queue.call(f"{name}!")) for name in "bd"}
    await settle()
    while queue.holding:
        clock.now += 1
        await queue.release(seconds=1.0)
        for name, task in last.items():
            if task.done():
                ends.setdefault(name, clock.now - asked)
    assert ends["d"] == pytest.approx(waits["d"])
    assert waits["b"] - 2 <= ends["b"] <= waits["b"] + 1  # of the newcomer


async def test_a_student_has_so_many_slots_and_no_more(clock):
    """Even if others are free: they are for those who come next."""
    queue = Queue(Bulkhead(5, per_caller=3, clock=clock), clock)
    await queue.join("a1", "a2", "a3", "a4", "a5")
    assert queue.served == ["a1", "a2", "a3"]
    assert not queue.slots.try_acquire(caller("a"))
    await queue.join("b1")
    assert queue.served[-1] == "b1"
    await queue.release(2)
    assert queue.served[-2:] == ["a4", "a5"]
    await queue.release(4)
    assert (queue.slots.in_use, queue.slots.waiting) == (0, 0)


@pytest.mark.parametrize("other", ["B1", "b1"])
async def test_an_address_has_so_many_slots_while_others_wait(clock, other):
    """An address has three slots while others wait, and otherwise all."""
    queue = Queue(Bulkhead(5, per_caller=3, clock=clock), clock)
    await queue.join("A1", "A2", "A3", "A4", "A5", "A6", "A7", other)
    assert queue.served == ["A1", "A2", "A3", "A4", "A5"]
    await queue.release()
    assert queue.served[-1] == other
    await queue.release(2)
    assert queue.served[-2:] == ["A6", "A7"]
    await queue.release(5)


async def test_strangers_have_a_fifth_while_students_wait(clock):
    """They do, from however many addresses, and though they came first."""
    queue = Queue(Bulkhead(5, clock=clock), clock)
    await queue.join(*(f"{name}1" for name in "ABCDEFGHIJ"))
    await queue.join(*(f"{name}1" for name in "abcdefgh"))
    await queue.release(5)
    assert queue.served[5:] == ["a1", "b1", "c1", "d1", "F1"]
    await queue.release(4)
    assert queue.served[10:] == ["e1", "f1", "g1", "h1"]
    await queue.release()  # now no student waits
    assert queue.served[14:] == ["G1"]
    await queue.release(8)
    assert queue.slots.in_use == 0


async def test_a_crowd_behind_one_address_has_its_fifth(clock):
    """Its fifth is served before students who came first."""
    queue = Queue(Bulkhead(10, clock=clock), clock)
    await queue.join(*(f"{name}1" for name in "abcdefghij"))
    await queue.join(*(f"{name}1" for name in "klmnopqrst"), "A1", "A2", "A3")
    await queue.release(4)
    assert queue.served[10:] == ["A1", "A2", "k1", "l1"]
    await queue.release(19)
    assert queue.slots.in_use == 0


async def test_students_wait_as_if_strangers_were_few(clock):
    """Only a fifth of the slots count as strangers', in the estimated wait too."""
    queue = Queue(Bulkhead(5, clock=clock, first_guess=1.0), clock)
    tasks = await queue.join(*(f"{name}1" for name in "abcdefgABCDEF"))
    # Five slots are given back in a call time: to A, f, g and then z.
    assert queue.slots.wait(caller("z")) == pytest.approx(4 / 5)
    assert queue.slots.wait(caller("Z")) == pytest.approx(7 - 1)
    for task in tasks:
        task.cancel()
    await settle()


async def test_the_wait_of_many_calls_is_that_of_the_last(clock):
    """Fifteen of them, behind nobody, on five slots of which one is taken."""
    queue = Queue(Bulkhead(5, clock=clock, first_guess=1.0), clock)
    await queue.join("x1")
    assert queue.slots.wait(caller("a"), 4) == 0.0
    assert queue.slots.wait(caller("a"), 15) == pytest.approx(11 / 5)


async def test_a_student_waits_for_calls_of_its_own(clock):
    """With all its slots in use it waits for those, though others are free."""
    queue = Queue(Bulkhead(50, per_caller=2, clock=clock, first_guess=1.0), clock)
    tasks = await queue.join("a1", "a2", "a3", "A1", "A2", "A3")
    assert queue.slots.wait(caller("a")) == pytest.approx((2 + 2 - 2) / 2)
    assert queue.slots.wait(caller("a"), 5) == pytest.approx((2 + 6 - 2) / 2)
    assert queue.slots.wait(caller("A")) == queue.slots.wait(caller("b")) == 0.0
    tasks[2].cancel()
    await settle()


async def test_a_free_slot_is_given_however_slow_calls_were(clock):
    """Slow calls alone refuse nobody: without calls nothing could be learnt."""
    slots = Bulkhead(1, clock=clock)
    for _ in range(100):
        await acquire(slots, caller("a"), Deadline(1, clock))
        slots.release(caller("a"), 60.0)
    assert slots.recent_seconds > 30
    await acquire(slots, caller("a"), Deadline(1, clock))


async def test_no_time_left_is_refused_even_if_a_slot_is_free(clock):
    """A call whose deadline has come is not begun."""
    slots = Bulkhead(1, clock=clock)
    await refused(slots, "a", Deadline(0, clock))
    assert slots.in_use == 0


async def test_nothing_learnt_refuses_nobody_wrongly(clock):
    """At a cold start 200 calls that wait for 10 slots fit into ten seconds."""
    queue = Queue(Bulkhead(10, clock=clock), clock, patience=10.0)
    tasks = await queue.join(*(f"{chr(0x100 + number)}1" for number in range(210)))
    assert queue.slots.waiting == 200
    await queue.release(200)
    await asyncio.gather(*tasks)


async def test_a_bad_spell_is_unlearnt_by_good_calls(clock):
    """Forty quick calls after a hundred hung ones restore the estimate: each leaves
    nine tenths of what it was off by.
    """
    slots = Bulkhead(1, clock=clock)
    for seconds in [10.0] * 100 + [0.2] * 40:
        await acquire(slots, caller("a"), Deadline(1, clock))
        slots.release(caller("a"), seconds)
    assert slots.recent_seconds == pytest.approx(0.2 + 9.8 * 0.9**40, abs=0.001)


async def test_calls_that_hung_say_little_when_newer_ones_have_ended(clock):
    """The newest call counts for a tenth of the estimate; one that began half a minute
    before it for that halved six times.
    """
    slots = Bulkhead(1, clock=clock, first_guess=1.0)
    for seconds in (0.0, 30.0):
        await acquire(slots, caller("a"), Deadline(1, clock))
        slots.release(caller("a"), seconds)
    assert slots.recent_seconds == pytest.approx(0.9 + 0.1 * 0.5**6 * (30 - 0.9))


async def test_a_bad_spell_fades_in_silence(clock):
    """Without any call the estimate halves its error every thirty seconds."""
    slots = Bulkhead(1, clock=clock, first_guess=0.5)
    clock.now += 600
    for _ in range(200):
        await acquire(slots, caller("a"), Deadline(1, clock))
        slots.release(caller("a"), 8.5)
    assert slots.recent_seconds == pytest.approx(8.5, rel=1e-3)
    clock.now += 60
    assert slots.recent_seconds == pytest.approx(2.5, rel=1e-3)


async def test_release_without_a_time_teaches_nothing(clock):
    """A call that was never made leaves the estimate as it was."""
    slots = Bulkhead(1, clock=clock)
    await acquire(slots, caller("a"), Deadline(1, clock))
    slots.release(caller("a"), None)
    assert slots.recent_seconds == 0.3


async def test_the_deadline_ends_the_wait(clock):
    """A call still in line at its deadline is refused then, and leaves the queue."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1")
    began = clock.now
    await refused(queue.slots, "a", Deadline(2.0, clock))
    assert clock.now - began == pytest.approx(2.0)
    assert queue.slots.waiting == 0
    await queue.release()
    assert queue.slots.in_use == 0


async def test_a_slot_may_come_as_the_deadline_passes(clock):
    """In one turn of the loop: then it is had."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1")
    asyncio.get_running_loop().call_later(2.0, queue.slots.release, caller("x"), None)
    await acquire(queue.slots, caller("a"), Deadline(2.0, clock))
    assert queue.slots.in_use == 1


async def test_a_waiter_may_be_cancelled_as_its_deadline_passes(clock):
    """In one turn of the loop: it has no slot to hand on."""
    queue = Queue(Bulkhead(1, clock=clock), clock, patience=2.0)
    _, waiter = await queue.join("x1", "a1")
    asyncio.get_running_loop().call_at(clock() + 2.0, waiter.cancel)
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert (queue.slots.in_use, queue.slots.waiting) == (1, 0)


async def test_an_extended_deadline_lengthens_the_wait(clock):
    """A deadline moved while it waits is the one that counts."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    await queue.join("x1")
    began, deadline = clock.now, Deadline(2.0, clock)
    asyncio.get_running_loop().call_later(1, deadline.extend, Deadline(5.0, clock))
    await refused(queue.slots, "a", deadline)
    assert clock.now - began == pytest.approx(5.0)


async def test_a_cancelled_waiter_leaves_the_queue(clock):
    """Its place is gone at once, and the slot goes to the next."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    tasks = await queue.join("x1", "a1", "b1", "a2")
    tasks[1].cancel()
    await settle()
    assert queue.slots.waiting == 2
    await queue.release(2)
    assert queue.served == ["x1", "a2", "b1"]


async def test_a_slot_handed_to_a_cancelled_waiter_is_handed_on(clock):
    """Cancelled between hand-over and waking, it passes the slot to the next."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    tasks = await queue.join("x1", "a1", "b1")
    queue.slots.release(queue.holding.pop(0), None)
    tasks[1].cancel()
    await settle()
    assert queue.served == ["x1", "b1"]
    await queue.release()
    assert queue.slots.in_use == 0


async def test_a_waiter_cancelled_before_the_hand_over_gets_nothing(clock):
    """Cancelled and then handed the slot before it woke, it passes it on too."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    tasks = await queue.join("x1", "a1")
    tasks[1].cancel()
    queue.slots.release(queue.holding.pop(0), None)
    await settle()
    assert tasks[1].cancelled()
    assert queue.slots.in_use == 0


async def test_nothing_is_left_of_a_flow_that_has_gone(clock):
    """Neither served nor refused nor cancelled flows leave a queue behind."""
    slots = Bulkhead(1, clock=clock)
    await acquire(slots, caller("x"), Deadline(1, clock))
    holder = caller("x")
    for number in range(50):
        waiter = asyncio.ensure_future(
            acquire(slots, caller(number), Deadline(9, clock))
        )
        await settle()
        if number % 2:
            waiter.cancel()
        else:
            slots.release(holder, None)
            holder = caller(number)
        await settle()
    await refused(slots, "late", Deadline(1, clock))
    assert not slots._queue.queues
    assert not any(slots._queue._rings.values())
    assert set(slots._queue._held) <= {caller("x"), caller(48)}
    assert slots._queue._longer == {True: [0], False: []}  # one waited at a time


async def test_release_without_acquire_is_a_fault(clock):
    """A slot given back twice would let too many calls run: it is refused."""
    with pytest.raises(RuntimeError):
        Bulkhead(1, clock=clock).release(caller("a"), None)
