"""Many callers at once: no slot is lost, and all that is admitted is served in time."""

import asyncio
import contextlib
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.deadline import Deadline
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.bulkhead import Bulkhead, BulkheadFull
from tests.virtual_time import Clock, VirtualLoop, settle

from .queueing import Queue, acquire, caller, refused

pytestmark = pytest.mark.gen_test


async def use(slots, who, patience, seconds, running, clock):
    """One caller's whole life; `running` notes how many run at once, in all and its."""
    try:
        await acquire(slots, who, Deadline(patience, clock))
    except BulkheadFull:
        return
    running[who] += 1
    running["peak"] = max(running["peak"], slots.in_use)
    assert running[who] <= 2 or not who.verified
    try:
        await asyncio.sleep(seconds)
    finally:
        running[who] -= 1
        slots.release(who, seconds)


visits = st.tuples(
    st.floats(0, 3),  # silence before it comes
    st.sampled_from("abCD"),
    st.floats(0, 5),  # patience
    st.floats(0, 2),  # time of its call
    st.none() | st.floats(0, 4),  # when it is cancelled
)


@settings(max_examples=60)
@given(st.integers(1, 6), st.lists(visits, max_size=25))
def test_no_slot_is_lost_or_doubled(size, script):
    """Whoever comes, waits, gives up or is cancelled: at the end all slots are free."""
    clock = Clock()
    loop = VirtualLoop(clock)
    slots, running = Bulkhead(size, per_caller=2, clock=clock), Counter[object]()

    async def play():
        tasks = []
        for silence, name, patience, seconds, leaves in script:
            await asyncio.sleep(silence)
            task = asyncio.ensure_future(
                use(slots, caller(name), patience, seconds, running, clock)
            )
            if leaves is not None:
                asyncio.get_running_loop().call_later(leaves, task.cancel)
            tasks.append(task)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in done if isinstance(each, AssertionError)]

    loop.run_until_complete(play())
    loop.close()
    assert running["peak"] <= size
    assert (slots.in_use, slots.waiting) == (0, 0)
    assert not slots._queue.queues
    assert not any(slots._queue._rings.values())
    assert not slots._queue._held


# Pieces of many calls.


async def test_work_is_admitted_while_slots_are_free_for_all(clock):
    """While slots are free for all calls, slow calls are admitted too."""
    slots = Bulkhead(50, clock=clock, first_guess=60.0)
    with slots.reserve(caller("a"), 16, 1.0), slots.reserve(caller("b"), 16, 1.0):
        with slots.reserve(caller("c"), 16, 1.0):
            pass
        with pytest.raises(BulkheadFull), slots.reserve(caller("d"), 19, 1.0):
            pass


def test_small_pages_beside_a_large_one_have_the_free_slots(clock):
    """A page of two calls takes two slots, whatever the largest page reserves."""
    slots = Bulkhead(100, clock=clock, first_guess=2.0)
    with contextlib.ExitStack() as work:
        work.enter_context(slots.reserve(caller("a"), 16, 7.0))
        for number in range(42):
            work.enter_context(slots.reserve(caller(number), 2, 7.0))
        with pytest.raises(BulkheadFull):
            slots.reserve(caller("b"), 2, 7.0)


def test_a_large_page_that_has_ended_delays_nobody(clock):
    """No other one waits as if it were as large."""
    slots = Bulkhead(10, clock=clock, first_guess=2.0)
    slots.reserve(caller("a"), 100, math.inf).end()
    for number in range(10):
        slots.reserve(caller(number), 2, 7.0)


def test_pages_of_one_call_keep_no_large_one_out(clock):
    """Forty quizzes are forty calls to who waits for a page of sixteen; to who asks for
    one more they are forty that others may follow, a turn each time.
    """
    slots = Bulkhead(100, clock=clock, first_guess=1.0)
    with contextlib.ExitStack() as work:
        for number in range(40):
            work.enter_context(slots.reserve(caller(number), 1, 7.0))
        for number in range(40):
            work.enter_context(slots.reserve(caller(number), 16, 8.0))
        for number in range(100):
            assert slots.try_acquire(caller(number))
        with pytest.raises(BulkheadFull):
            slots.reserve(caller("b"), 1, 7.0)
        work.enter_context(slots.reserve(caller("b"), 16, 9.0))


def test_who_comes_at_once_shares_the_free_slots(clock):
    """Of a crowd of single calls no more are admitted than there are free slots, though
    none has taken its slot yet: more would delay the pages admitted before.
    """
    slots = Bulkhead(4, clock=clock, first_guess=5.0)
    slots.reserve(caller("a"), 16, 100.0)
    for number in range(3):
        slots.reserve(caller(number), 1, 7.0)
    with pytest.raises(BulkheadFull):
        slots.reserve(caller("b"), 1, 7.0)


def test_work_is_admitted_where_there_is_no_other(clock):
    """However slow calls are thought to be: while none is made nobody learns better."""
    slots = Bulkhead(2, clock=clock, first_guess=60.0)
    for _ in range(2):
        with slots.reserve(caller("a"), 16, 1.0), pytest.raises(BulkheadFull):
            slots.reserve(caller("b"), 16, 1.0)


def test_a_single_call_is_admitted_while_a_slot_is_free(clock):
    """Also beside pages that stay reserved for half a minute since one call hangs."""
    slots = Bulkhead(4, clock=clock, first_guess=5.0)
    for number in range(3):
        slots.reserve(caller(f"a{number}"), 16, 100.0)
        assert slots.try_acquire(caller(f"a{number}"))
    with slots.reserve(caller("b"), 1, 7.0):
        assert slots.try_acquire(caller("b"))
    with pytest.raises(BulkheadFull):
        slots.reserve(caller("b"), 1, 7.0)


def test_single_calls_have_the_slots_that_large_pages_can_spare(clock):
    """Twenty pages of sixteen calls are had in time with half of the slots; single
    calls are admitted to the other half.
    """
    slots = Bulkhead(100, clock=clock, first_guess=1.0)
    with contextlib.ExitStack() as work:
        for number in range(20):
            work.enter_context(slots.reserve(caller(number), 16, 7.0))
        for number in range(100):
            assert slots.try_acquire(caller(number))
        for number in range(54):
            work.enter_context(slots.reserve(caller(f"single{number}"), 1, 7.0))
        with pytest.raises(BulkheadFull):
            slots.reserve(caller("b"), 1, 7.0)


async def test_work_that_is_over_makes_room(clock):
    """A reservation that has ended makes room, also after a failure."""
    slots = Bulkhead(16, clock=clock, first_guess=1.0)
    for _ in range(5):
        with contextlib.suppress(KeyError), slots.reserve(caller("a"), 16, 1.5):
            with pytest.raises(BulkheadFull) as refused:
                slots.reserve(caller("b"), 16, 1.5).__enter__()
            assert refused.value.wait >= 1.0
            raise KeyError
    assert not slots._reservations


def test_a_page_whose_calls_have_their_slots_keeps_nobody_out(clock):
    """Fourteen of its calls have ended, and one hangs."""
    slots = Bulkhead(20, clock=clock, first_guess=5.0)
    with slots.reserve(caller("a"), 16, 7.0) as page:
        assert slots.try_acquire(caller("a"))
        with pytest.raises(BulkheadFull):
            slots.reserve(caller("b"), 16, 7.0)
        page.all_made(caller("a"))
        with slots.reserve(caller("b"), 16, 7.0):
            pass


async def test_a_page_that_waits_keeps_others_out(clock):
    """It counts as a whole until its last call has a slot."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    with queue.slots.reserve(caller("a"), 16, 7.0) as page:
        tasks = await queue.join("x1", "a1", "a2")
        page.all_made(caller("a"))
        await queue.release()
        assert len(queue.slots._reservations) == 1
        await queue.release()
        assert not queue.slots._reservations
    await asyncio.gather(*tasks)


async def test_a_page_whose_calls_have_left_the_queue_has_ended(clock):
    """Its calls gave up before they had slots; nothing of it is remembered."""
    queue = Queue(Bulkhead(1, clock=clock), clock)
    with queue.slots.reserve(caller("a"), 16, 7.0) as page:
        tasks = await queue.join("x1", "a1")
        page.all_made(caller("a"))
        assert len(queue.slots._reservations) == 1
        tasks[1].cancel()
        await settle()
        assert not queue.slots._reservations
    assert not queue.slots._queue._when_served


async def test_work_waits_for_calls_that_need_no_admission(clock):
    """Logins are in the same queue."""
    slots = Bulkhead(2, clock=clock, first_guess=1.0)
    calls = await Queue(slots, clock).join(*(f"A{number}" for number in range(6)))
    with pytest.raises(BulkheadFull), slots.reserve(caller("a"), 2, 3.0):
        pass  # four turns of two slots, its first call and then its last
    with slots.reserve(caller("a"), 2, 4.0):
        pass
    for call in calls[2:]:
        call.cancel()


async def test_of_a_strangers_work_the_first_call_has_to_wait(clock):
    """When that is answered, the others are a student's."""
    slots = Bulkhead(4, clock=clock, first_guess=1.0)
    await Queue(slots, clock).join(*(f"a{number}" for number in range(4)))
    with slots.reserve(caller("B"), 16, 5.0):  # 16 of 4 slots, with none before them
        pass
    with pytest.raises(BulkheadFull), slots.reserve(caller("b"), 16, 5.0):
        pass


async def test_work_of_strangers_keeps_no_student_out(clock):
    """Their work has a fifth of the slots until it turns out to be a student's."""
    slots = Bulkhead(100, clock=clock, first_guess=1.0)
    with contextlib.ExitStack() as work:
        strangers = [
            work.enter_context(slots.reserve(caller("A"), 16, 100.0))
            for _ in range(200)
        ]
        with slots.reserve(caller("a"), 16, 2.0):
            pass
        for stranger in strangers:
            stranger.verify()
        with pytest.raises(BulkheadFull), slots.reserve(caller("a"), 16, 20.0):
            pass
    assert not any(slots._reservations._reserved.values())


async def page_of(slots, who, calls, seconds, reservation):
    """One call, and then all the others at once."""

    async def call():
        await acquire(slots, who, Deadline(1000.0, slots._clock))
        await asyncio.sleep(seconds)
        slots.release(who, seconds)

    await call()
    others = [asyncio.ensure_future(call()) for _ in range(calls - 1)]
    await asyncio.sleep(0)
    reservation.all_made(who)
    await asyncio.gather(*others)


def test_nobody_is_told_to_wait_longer_than_half_a_minute(clock):
    """No refusal tells a wait above half a minute, nor does any when that is over."""
    slots, waits = Bulkhead(1, clock=clock), []
    with slots.reserve(caller("a"), 16, 10.0):
        for number in range(30):
            with (
                pytest.raises(BulkheadFull) as refusal,
                slots.reserve(caller(number), 16, 1.0),
            ):
                pass
            waits.append(refusal.value.wait)
        clock.now += 29
        with pytest.raises(BulkheadFull) as refusal:
            slots.reserve(caller("late"), 16, 1.0)
    assert waits == sorted(waits)
    assert refusal.value.wait < waits[-1] == 30.0


async def test_nobody_is_told_so_for_a_single_call(clock):
    """The refusal of a single call tells no wait above half a minute either, however
    many wait and however slow calls were.
    """
    queue = Queue(Bulkhead(1, clock=clock, first_guess=7.0), clock)
    tasks = await queue.join("x1", *(f"{flow}1" for flow in "abcdefghi"))
    assert await refused(queue.slots, "z", Deadline(10.0, clock)) == 30.0
    for task in tasks:
        task.cancel()
    await settle()


@settings(max_examples=30)
@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 8)), max_size=40),
)
def test_what_is_admitted_is_served_in_time(size, arrivals):
    """Whoever comes later: its last call has a slot when it was promised one."""
    clock = Clock()
    loop = VirtualLoop(clock)
    slots = Bulkhead(size, clock=clock, first_guess=0.3)

    async def visit(number, calls):
        began = clock.now
        try:
            with slots.reserve(caller(number), calls, 4.0) as page:
                await page_of(slots, caller(number), calls, 0.3, page)
        except BulkheadFull:
            return
        # Its two trips beside the wait, of which the first is among the calls.
        assert clock.now - began <= 4.0 + 2 * 0.3 + 1e-6

    async def play():
        tasks = []
        for number, (silence, calls) in enumerate(arrivals):
            await asyncio.sleep(silence)
            tasks.append(asyncio.ensure_future(visit(number, calls)))
        await asyncio.gather(*tasks)

    loop.run_until_complete(play())
    loop.close()
    assert slots.in_use == 0


def test_all_of_a_crowd_that_obeys_are_served():
    """Six hundred students at once: who is refused comes back after Retry-After and has
    a page of sixteen calls then, in a request's ten seconds.
    """
    clock = Clock()
    loop = VirtualLoop(clock)
    slots = Bulkhead(100, clock=clock)
    refusals: Counter[int] = Counter()

    async def visit(number):
        student = CallerKey.student(number)
        while True:
            began = clock.now
            try:
                with slots.reserve(student, 16, 7.0) as page:
                    await page_of(slots, student, 16, 0.3, page)
                break
            except BulkheadFull as refusal:
                refusals[number] += 1
                await asyncio.sleep(max(1, math.ceil(refusal.wait)))
        assert clock.now - began <= 10.0

    async def crowd():
        await asyncio.gather(*map(visit, range(600)))

    loop.run_until_complete(crowd())
    loop.close()
    assert 0 < len(refusals) < 600
    assert set(refusals.values()) == {1}


def test_a_slow_platform_is_asked_for_nearly_all_it_can_give():
    """At five seconds a call a hundred slots make 1.25 pages a second. Of students that
    come every second, and obey Retry-After, all have their page within half a minute.
    """
    clock = Clock()
    loop = VirtualLoop(clock)
    slots, took = Bulkhead(100, clock=clock, first_guess=5.0), []

    async def visit(number):
        await asyncio.sleep(number)
        began, student = clock.now, CallerKey.student(number)
        while True:
            try:
                with slots.reserve(student, 16, 7.0) as page:
                    await page_of(slots, student, 16, 5.0, page)
                break
            except BulkheadFull as refusal:
                await asyncio.sleep(max(1, math.ceil(refusal.wait)))
        took.append(clock.now - began)

    async def minute():
        await asyncio.gather(*map(visit, range(60)))

    loop.run_until_complete(minute())
    loop.close()
    assert max(took) <= 30.0
