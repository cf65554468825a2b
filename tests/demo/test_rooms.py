"""A platform that answers a few calls at a time."""

import asyncio

import pytest

from aims_server.demo.faults import Faults
from aims_server.demo.moods import MOODS
from aims_server.demo.rooms import Rooms
from tests.virtual_time import Clock, virtual_loop

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="io_loop")
def _io_loop():
    yield from virtual_loop(Clock())


async def times(rooms, number):
    """When each of so many calls of a second has been answered."""

    async def call():
        async with rooms.place("cards"):
            await asyncio.sleep(1)
        return clock() - began

    clock = asyncio.get_running_loop().time
    began = clock()
    return await asyncio.gather(*(call() for _ in range(number)))


@pytest.mark.parametrize(("room", "last"), [(None, 1), (5, 1), (2, 3), (1, 5)])
async def test_the_others_wait(room, last):
    """In the order of their coming."""
    faults = Faults()
    faults.set("cards", room=room)
    answered = await times(Rooms(faults), 5)
    assert answered == sorted(answered)
    assert answered[-1] == pytest.approx(last)


def test_every_mood_is_a_set_of_knobs():
    """That can be turned."""
    assert {"calm", "slow", "tail", "hanging", "flaky", "crowded"} <= set(MOODS)
    for mood in MOODS.values():
        Faults().set(**mood.knobs)
