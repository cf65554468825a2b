"""What is kept for a session, through the read-throughs of several workers."""

import asyncio

import pytest

from aims_server.cache import AnswerCache, Entry, Lifetimes
from aims_server.deadline import Deadline
from aims_server.web import SessionReader

from .reading import FRESH, HIT, MISS, PENDING, SERVABLE, STALE

FLOOR = 30
STUDENT = 5900001
RESOURCE = "quiz"


@pytest.fixture(name="cache")
def _cache(workers, clock):
    """The first worker's."""
    return cache_of(workers[0], clock)


def cache_of(worker, clock):
    """What this worker keeps, parts beside answers."""
    lifetimes = Lifetimes(fresh=FRESH, stale=SERVABLE - FRESH, floor=FLOOR)
    through = worker.through
    return AnswerCache(through, through, lifetimes, lambda *_: None, clock=clock)


def entry(session, value, clock, *, complete=True):
    """An entry that is made now, of a student whom the platform has named."""
    times = clock.now, clock.now + FRESH, clock.now + SERVABLE
    owner = session.owner
    return Entry(
        value, len(value), owner, *times, complete=complete, student_id=STUDENT
    )


async def shown(cache, session, fill, clock, *, fresh=True):
    """How an asker came by what."""
    deadline = Deadline(10, clock)
    served = await cache.answer(RESOURCE, session, fill, deadline, fresh=fresh)
    return served.outcome, served.entry.value


@pytest.mark.gen_test
async def test_no_incomplete_answer_of_another_worker_is_shown_for_a_whole_one(
    workers, clock
):
    """This worker has a whole one that the machine has lost. An asker for a fresh one
    gets that, marked as old; other workers, which have none, give the incomplete one.
    """
    session = SessionReader(b"secret").read("token")
    workers[0].store.put(session.resource_key(RESOURCE), entry(session, "whole", clock))
    clock.now += FLOOR + 1

    async def fill(deadline):
        return entry(session, "part", clock, complete=False)

    one, *others = (cache_of(worker, clock) for worker in workers)
    for other, outcome in zip(others, (MISS, HIT), strict=True):
        assert await shown(other, session, fill, clock) == (outcome, "part")
    assert await shown(one, session, fill, clock) == (STALE, "whole")


@pytest.mark.gen_test
@pytest.mark.parametrize("asked_again", [True, False])
async def test_what_was_asked_for_before_a_refusal_gives_no_standing(
    machine, workers, cache, clock, asked_again
):
    """It also gives none to a request of a new token that waits for it."""
    reader = SessionReader(b"secret", epochs=machine.epochs)
    asking, waiting = reader.read("token"), reader.read("token")

    async def fill(deadline):
        made = entry(asking, "page", clock)
        workers[0].store.drop_owner(asking.owner)
        if asked_again:
            machine.epochs.begin(asking.owner)
        return made

    tasks = [shown(cache, session, fill, clock) for session in (asking, waiting)]
    assert await asyncio.gather(*tasks) == [(MISS, "page"), (PENDING, "page")]
    assert not asking.verified
    assert not waiting.verified
    assert not reader.read("token").verified
