"""Who waits, and how many are ahead of whom."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.resilience.fair_queue import FairQueue
from tests.upstream.resilience.queueing import caller

CALLERS = [caller(name) for name in "abcAB"]
steps = st.tuples(st.sampled_from(CALLERS), st.sampled_from(["join", "leave", "serve"]))


@settings(max_examples=60)
@given(st.lists(steps, max_size=40))
def test_those_ahead_are_the_first_of_each_queue(script):
    """Of each queue, as many are ahead as will be served before it."""
    asyncio.run(_check_ahead(script))


async def _check_ahead(script):
    queue = FairQueue(3, slots=10)
    waiting = defaultdict(list)
    for who, what in script:
        if what == "join":
            waiting[who].append(queue.join(who))
        elif what == "leave" and waiting[who]:
            queue.leave(who, waiting[who].pop())
        elif what == "serve" and (served := queue.next()) is not None:
            queue.serve(served)
            del waiting[served][0]
    assert queue.waiting == sum(map(len, waiting.values()))
    for who in CALLERS:
        ranked = [each for each in waiting if not each.verified]
        if not queue.is_outranked(who):
            ranked = list(waiting)
        for calls in (1, 3):
            mine = len(waiting[who]) + calls
            first = sum(min(len(waiting[each]), mine) for each in ranked)
            assert queue.ahead(who, calls) == calls + first


def served(queue):
    """Who has the next slot."""
    who = queue.next()
    queue.serve(who)
    return who


@pytest.mark.gen_test
@pytest.mark.parametrize(("slots", "order"), [(4, "aAb"), (5, "Aab")])
async def test_strangers_come_first_up_to_their_fifth(slots, order):
    """If a fifth is less than a slot, all are served in order of arrival."""
    queue = FairQueue(3, slots)
    for name in "aAb":
        queue.join(caller(name))
    assert [served(queue) for _ in order] == list(map(caller, order))


@pytest.mark.gen_test
async def test_more_calls_lose_nobody_a_turn():
    """A caller waits since its first call that does."""
    queue = FairQueue(3, slots=4)
    for name in "aAa":
        queue.join(caller(name))
    assert queue.next() == caller("a")


@pytest.mark.gen_test
async def test_an_address_at_its_limit_lets_another_pass():
    """An address at its limit lets another one pass."""
    queue = FairQueue(2, slots=100)
    for name in "AAAB":
        queue.join(caller(name))
    assert [served(queue).key for _ in range(3)] == [caller(name).key for name in "ABA"]
    queue.join(caller("A"))
    queue.join(caller("B"))
    assert queue.next() == caller("B")


@pytest.mark.gen_test
async def test_strangers_are_outranked_while_students_wait():
    """Unverified callers are outranked only while students wait."""
    queue = FairQueue(1, slots=10)
    assert not queue.is_outranked(caller("A"))
    queue.join(caller("a"))
    assert queue.is_outranked(caller("A"))
    assert not queue.is_outranked(caller("b"))


def test_slots_are_counted_by_who_has_them():
    """Students' apart from those of others."""
    queue = FairQueue(1, slots=10)
    assert not queue.at_limit(caller("a"))
    for name in "aAB":
        queue.take(caller(name))
    assert queue.at_limit(caller("a"))
    assert (queue.in_use, queue.students_in_use) == (3, 1)
    assert [queue.held(caller(name)) for name in "ab"] == [1, 0]
