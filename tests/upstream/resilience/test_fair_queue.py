"""Who waits, and how many are ahead of whom."""

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.resilience.fair_queue import FairQueue
from tests.upstream.resilience.queueing import caller

CALLERS = [caller(name) for name in "abcAB"]
steps = st.tuples(st.sampled_from(CALLERS), st.sampled_from(["join", "leave", "serve"]))


@settings(max_examples=60)
@given(st.lists(steps, max_size=40))
def test_those_ahead_are_the_first_of_each_queue(script):
    """As many of each as its own queue will have, whoever has joined, left or been
    served before.
    """
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
