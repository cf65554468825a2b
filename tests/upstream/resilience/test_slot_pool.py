"""Slots shared by workers: never too many, none idle, and each worker has its share."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.deadline import Deadline
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.bulkhead import Bulkhead, BulkheadFull
from aims_server.upstream.resilience.slot_pool import SlotPools
from tests.upstream.resilience.queueing import acquire
from tests.virtual_time import Clock, VirtualLoop, settle, virtual_loop

STUDENT, OTHER = CallerKey.student(1), CallerKey.student(2)


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


def workers(size, number=2):
    """The pools of workers with equal shares."""
    pools = SlotPools()
    shares = [size // number + (n < size % number) for n in range(number)]
    return pools, [pools.of(n, size=size, share=shares[n]) for n in range(number)]


def taken(pool, most=1000):
    """How many slots it gets."""
    return sum(pool.take() for _ in range(most))


def test_a_worker_takes_what_others_leave_free():
    """One whose students are busy uses the slots of one that is idle."""
    _, (busy, _) = workers(10)
    assert taken(busy) == 10


def test_workers_together_never_have_more_than_there_are():
    """What one has is missing from what the other can take."""
    _, (first, second) = workers(10)
    assert taken(first, 7) == 7
    assert taken(second) == 3


def test_a_worker_in_need_gets_its_share_back():
    """While calls wait there, another one takes nothing beyond its own share."""
    _, (busy, needy) = workers(4)
    assert taken(busy) == 4
    needy.publish_waiting(True)
    for _ in range(2):
        busy.give_back()
        assert not busy.take()
    assert taken(needy) == 2


def test_a_worker_with_its_share_does_not_hold_others_back():
    """Waiting calls of one that has its share leave the rest to whoever comes first."""
    _, (first, second, _) = workers(6, 3)
    assert taken(first, 2) == 2
    first.publish_waiting(True)
    assert taken(second) == 4


def test_the_slots_of_a_dead_worker_are_free():
    """A dead worker's slots are free, and it no longer waits for more."""
    pools, (first, second) = workers(10)
    assert taken(second) == 10
    second.publish_waiting(True)
    second.publish_reserved(9, verified=True)
    pools.withdraw(1)
    assert first.others_reserved(verified=True) == 0
    assert taken(first) == 10


@given(
    size=st.integers(3, 12),
    moves=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["take", "give", "wait", "calm"]))
    ),
)
def test_no_order_of_events_gives_too_many_slots_or_loses_one(size, moves):
    """The sum is at most the size, a worker below its share is refused only when all
    are held, and in the end the rest is there.
    """
    _, pools = workers(size, 3)
    held: Counter[int] = Counter()
    for number, move in moves:
        pool = pools[number]
        if move == "take":
            free, own = held.total() < size, held[number] < pool.share
            took = pool.take()
            assert took is free if own else took <= free
            held[number] += took
        elif move == "give" and held[number]:
            pool.give_back()
            held[number] -= 1
        elif move in ("wait", "calm"):
            pool.publish_waiting(move == "wait")
        assert held.total() <= size
        assert pool.share <= pool.capacity <= size
    for pool in pools:
        pool.publish_waiting(False)
    assert taken(pools[0]) == size - held.total()


async def crowded(clock):
    """A worker with both slots of a machine, and another one with a call that waits."""
    _, pools = workers(2)
    busy, needy = (Bulkhead(pool, clock=clock) for pool in pools)
    assert busy.try_acquire(STUDENT)
    assert busy.try_acquire(STUDENT)
    waiting = asyncio.ensure_future(acquire(needy, OTHER, Deadline(5.0, clock)))
    await settle()
    return busy, needy, waiting


@pytest.mark.gen_test
async def test_a_slot_that_another_worker_frees_is_noticed(clock):
    """A call that waits has it within 10 ms, though nobody tells."""
    busy, needy, waiting = await crowded(clock)
    busy.release(STUDENT, None)
    assert not busy.try_acquire(STUDENT)
    began = clock.now
    await waiting
    assert clock.now - began <= 0.011
    needy.release(OTHER, None)
    assert busy.try_acquire(STUDENT)


@pytest.mark.gen_test
async def test_a_worker_above_its_share_waits_until_others_have_theirs(clock):
    """What it has too many of is not its own when it is given back: of four slots two,
    and the third is the first that it may use again.
    """
    _, (crowded, needy) = workers(4)
    slots = Bulkhead(crowded, clock=clock, first_guess=1.0)
    for _ in range(4):
        assert slots.try_acquire(STUDENT)
    assert slots.wait(OTHER) == pytest.approx(1 / 4)
    needy.publish_waiting(True)
    assert slots.wait(OTHER) == pytest.approx(3 / 4)
    assert slots.wait(OTHER, 3) == pytest.approx(3 / 2)
    returned = 0
    while not slots.try_acquire(OTHER):
        slots.release(STUDENT, None)
        returned += 1
    assert returned == 3


@pytest.mark.gen_test
async def test_a_call_that_comes_later_overtakes_none_that_waits(clock):
    """A slot that another worker has freed goes to the first that waits."""
    busy, needy, waiting = await crowded(clock)
    busy.release(STUDENT, None)
    assert not needy.try_acquire(STUDENT)
    await waiting


@pytest.mark.gen_test
async def test_a_wait_that_was_given_up_holds_nobody_back(clock):
    """Once nobody waits there, others take all slots again."""
    busy, _, waiting = await crowded(clock)
    waiting.cancel()
    await settle()
    busy.release(STUDENT, None)
    assert busy.try_acquire(STUDENT)


@pytest.mark.gen_test
async def test_a_wait_that_was_too_long_holds_nobody_back(clock):
    """The same for one that has ended at its deadline."""
    busy, _, waiting = await crowded(clock)
    with pytest.raises(BulkheadFull):
        await waiting
    busy.release(STUDENT, None)
    assert busy.try_acquire(STUDENT)


@pytest.mark.gen_test
async def test_pages_admitted_elsewhere_count(clock):
    """What all workers have admitted together must be had in time."""
    _, (first, second) = workers(10)
    one, other = (
        Bulkhead(pool, clock=clock, first_guess=1.0) for pool in (first, second)
    )
    with (
        one.reserve(STUDENT, 10, 2.0),
        pytest.raises(BulkheadFull),
        other.reserve(OTHER, 10, 1.5),
    ):
        pass
    with other.reserve(OTHER, 10, 1.5):
        pass


def test_small_pages_admitted_elsewhere_count_for_their_calls(clock):
    """Pages of one call keep no large one of another worker out, while slots are free
    for all of them.
    """
    _, pools = workers(100)
    one, other = (Bulkhead(pool, clock=clock, first_guess=2.0) for pool in pools)
    with ExitStack() as work:
        for _ in range(84):
            work.enter_context(one.reserve(STUDENT, 1, 7.0))
        work.enter_context(other.reserve(OTHER, 16, 7.0))
        with pytest.raises(BulkheadFull):
            other.reserve(OTHER, 16, 2.0)


def test_six_pages_on_one_of_two_workers_have_all_slots():
    """However connections fall on workers, calls that fit the machine do not wait."""
    clock = Clock()
    _, (crowded, _) = workers(100)
    slots = Bulkhead(crowded, clock=clock)
    students = [CallerKey.student(n) for n in range(6)]

    async def page(student):
        async def call():
            await acquire(slots, student, Deadline(10.0, clock))
            await asyncio.sleep(4.0)
            slots.release(student, 4.0)

        await asyncio.gather(*(call() for _ in range(15)))

    async def pages():
        await asyncio.gather(*map(page, students))

    loop = VirtualLoop(clock)
    began = clock.now
    loop.run_until_complete(pages())
    loop.close()
    assert clock.now - began == pytest.approx(4.0)
