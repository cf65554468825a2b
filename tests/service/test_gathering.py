"""What has arrived of an answer, and those who watch it arrive."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.service.gathering import Gathering, Gatherings
from aims_server.service.student_records import FetchedFiles
from aims_server.upstream import CourseFiles
from tests.virtual_time import Clock, VirtualLoop, settle, virtual_loop

FILES = FetchedFiles(CourseFiles((), None, None, "", "", ""), 0.0, old=False)

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="clock")
def _clock():
    return Clock()


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


async def test_a_watcher_waits_for_news(clock):
    """It gets each part that it has not seen at once, and waits for others."""
    gathering = Gathering(clock.now)
    seen = asyncio.create_task(gathering.changed(0))
    await settle()
    assert not seen.done()
    gathering.begin(FILES, None)
    assert await seen == 1
    assert await gathering.changed(0) == 1
    gathering.add(1, None)
    assert await gathering.changed(1) == 2


async def test_a_watcher_that_leaves_hurts_nobody(clock):
    """The others go on watching."""
    gathering = Gathering(clock.now)
    leaves, stays = (asyncio.create_task(gathering.changed(0)) for _ in range(2))
    await settle()
    leaves.cancel()
    await settle()
    gathering.end()
    assert await stays == 1


async def test_one_is_under_way_for_as_long_as_its_block(clock):
    """A gathering ends with its block, also by an exception."""
    gatherings = Gatherings()
    with contextlib.suppress(KeyError), gatherings.begin(b"key", clock.now) as begun:
        assert gatherings.get(b"key") is begun
        raise KeyError
    assert begun.ended
    assert gatherings.get(b"key") is None
    assert len(gatherings) == 0


async def test_an_older_one_does_not_end_a_younger(clock):
    """A gathering that ends late does not end the one that overtook it."""
    gatherings = Gatherings()
    with gatherings.begin(b"key", clock.now) as younger:
        with gatherings.begin(b"key", clock.now):
            pass
        assert not younger.ended
    with gatherings.begin(b"key", clock.now) as older:
        inner = gatherings.begin(b"key", clock.now)
        younger = inner.__enter__()
    assert older.ended
    assert gatherings.get(b"key") is younger
    inner.__exit__(None, None, None)


def test_the_estimate_is_of_both_trips():
    """Ten seconds into the first, that is thought to take twelve."""
    assert Gathering(100.0).seconds_left(110.0) == pytest.approx(14.0, abs=1e-9)


@given(st.lists(st.floats(0, 2), max_size=20), st.lists(st.floats(0, 5), max_size=5))
def test_every_watcher_sees_all_at_its_own_pace(arrivals, paces):
    """A slow one holds up neither the parts nor other watchers."""
    clock = Clock()
    loop = VirtualLoop(clock)
    gathering = Gathering(clock.now)

    async def watch(pace):
        seen = 0
        while not gathering.ended:
            seen = await gathering.changed(seen)
            await asyncio.sleep(pace)
        return dict(gathering.parts)

    async def play():
        watchers = [asyncio.create_task(watch(pace)) for pace in paces]
        began = clock.now
        for number, silence in enumerate(arrivals):
            await asyncio.sleep(silence)
            gathering.add(number, None)
        gathering.end()
        assert clock.now - began == pytest.approx(sum(arrivals), abs=1e-9)
        return await asyncio.gather(*watchers)

    for seen in loop.run_until_complete(play()):
        assert seen == dict.fromkeys(range(len(arrivals)))
    loop.close()
