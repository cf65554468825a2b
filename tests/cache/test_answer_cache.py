"""What is kept for a session, through the read-throughs of several workers."""

import pytest

from aims_server.cache import AnswerCache, Entry, Lifetimes
from aims_server.deadline import Deadline
from aims_server.web import SessionReader

from .reading import FRESH, HIT, MISS, SERVABLE, STALE

FLOOR = 30
RESOURCE = "quiz"


class Uncounted:
    """Counts no look-up."""

    def lookup(self, resource, outcome):
        """Ignore it."""


def entry(session, value, clock, *, complete):
    """An entry that is made now."""
    times = clock.now, clock.now + FRESH, clock.now + SERVABLE
    return Entry(value, len(value), session.owner, *times, complete=complete)


@pytest.mark.gen_test
async def test_no_incomplete_answer_of_another_worker_is_shown_for_a_whole_one(
    workers, clock
):
    """Which this worker has, and the machine has lost. Who asks for a fresh one is told
    that it is old; who does so where there is none is shown what there is.
    """
    lifetimes = Lifetimes(fresh=FRESH, stale=SERVABLE - FRESH, floor=FLOOR)
    session = SessionReader(b"secret").read("token")
    whole = entry(session, "whole", clock, complete=True)
    workers[0].store.put(session.resource_key(RESOURCE), whole)
    clock.now += FLOOR + 1

    async def fill(deadline):
        return entry(session, "part", clock, complete=False)

    async def shown(worker):
        through = worker.through
        cache = AnswerCache(through, through, lifetimes, Uncounted(), clock=clock)
        deadline = Deadline(10, clock)
        served = await cache.answer(RESOURCE, session, fill, deadline, fresh=True)
        return served.outcome, served.entry.value

    one, *others = workers
    assert [await shown(each) for each in others] == [(MISS, "part"), (HIT, "part")]
    assert await shown(one) == (STALE, "whole")
