"""Who waits for the ends of others, and is woken."""

import asyncio

import pytest

from aims_server.ratelimit import Pending

from ..virtual_time import Clock, settle, virtual_loop

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="pending")
def _pending():
    """Two are pending here."""
    pending = Pending()
    pending.begin(HERE)
    pending.begin(HERE)
    return pending


async def waiting(pending, seconds=60.0, number=3):
    """Tasks that wait here by now."""
    tasks = [asyncio.create_task(pending.ended(HERE, seconds)) for _ in range(number)]
    await settle()
    return tasks


def done(tasks):
    """Whether each is done."""
    return [task.done() for task in tasks]


@pytest.mark.gen_test
async def test_with_nothing_pending_nobody_waits(pending):
    """Nor for what is pending elsewhere."""
    assert not await pending.ended(ELSEWHERE, 60.0)
    pending.end(HERE)
    pending.end(HERE)
    assert not await pending.ended(HERE, 60.0)


@pytest.mark.gen_test
async def test_each_end_wakes_the_next_and_the_last_end_all(pending):
    """In the order of their coming."""
    tasks = await waiting(pending)
    pending.end(HERE)
    await settle()
    assert done(tasks) == [True, False, False]
    pending.end(HERE)
    assert await asyncio.gather(*tasks) == [True] * 3
    assert not pending._keys


@pytest.mark.gen_test
async def test_who_has_left_is_not_woken_in_place_of_another(pending):
    """Neither one that was cancelled nor one whose time is over."""
    left, late = await waiting(pending, 1.0, number=2)
    left.cancel()
    assert not await late
    (task,) = await waiting(pending, number=1)
    pending.end(HERE)
    assert await task
