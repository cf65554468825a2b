"""What one worker gathers, seen by another that is asked for it."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import msgspec
import pytest

from aims_server.cache import SharedLog, SharedMemoryCache
from aims_server.demo.college import College
from aims_server.domain.days import SubjectDays
from aims_server.primitives import Epochs
from aims_server.service.following import SharedGatherings
from aims_server.service.gathering import Gatherings
from aims_server.service.student_records import FetchedFiles
from aims_server.upstream import CourseFiles
from aims_server.web import SessionReader
from tests.virtual_time import Clock, virtual_loop

pytestmark = pytest.mark.gen_test

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)

KEY = b"every subject"
GATHER_SECONDS = 30.0


class Worker:
    """One worker's gatherings, and how it looks at the shared memory."""

    def __init__(self, memory, clock):
        self.log = CountedLog(memory, seconds=GATHER_SECONDS, clock=clock)
        self.gatherings = Gatherings()
        self.shared = SharedGatherings(self.gatherings, self.log)
        self.clock = clock

    def gather(self, stack, session, key=KEY):
        """Begin to gather, until the stack is closed."""
        gathering = stack.enter_context(self.gatherings.begin(key, self.clock.now))
        stack.enter_context(self.shared.published(session, key, gathering))
        return gathering


class CountedLog(SharedLog):
    """Counts what is asked of it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.uses: Counter[str] = Counter()
        self.dead = False  # then nothing more is written

    def is_followed(self, *args):
        """As it is."""
        self.uses["look"] += 1
        return not self.dead and super().is_followed(*args)

    def read(self, *args):
        """As it is."""
        self.uses["read"] += 1
        return super().read(*args)

    def write(self, *args):
        """As it is."""
        self.uses["write"] += 1
        super().write(*args)

    def follow(self, *args):
        """As it is."""
        self.uses["follow"] += 1
        super().follow(*args)


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="epochs")
def _epochs():
    return Epochs()


@pytest.fixture(name="workers")
def _workers(clock, epochs):
    memory = SharedMemoryCache(1_000_000, epochs, clock=clock)
    return [Worker(memory, clock) for _ in range(2)]


@pytest.fixture(name="sessions")
def _sessions(epochs):
    """Two invented students' sessions."""
    college = College(2)
    reader = SessionReader(b"secret" * 6, epochs)
    return [
        reader.caller(college.token(college.student(n)), "192.0.2.1").session
        for n in range(2)
    ]


def had_files(clock):
    """A head without courses."""
    return FetchedFiles(CourseFiles((), None, None, "", "", ""), clock.now, old=True)


def days(number):
    """Days that can be told from others."""
    return SubjectDays(number, 0, 0, number, msgspec.Raw(b"[]"))


async def test_what_arrives_is_seen_by_the_other(workers, sessions, clock):
    """Head and parts in their order, from when it began; what comes last as well."""
    first, second = workers
    session = sessions[0]
    following = second.shared.followed(session, KEY)  # kept, so as not to be collected
    with following:
        with ExitStack() as stack:
            gathering = first.gather(stack, session)
            began_at = clock.now
            gathering.begin(had_files(clock), clock.now - 200)
            gathering.add(7, days(1))
            gathering.add(8, days(3))
            await asyncio.sleep(1)
            seen = second.gatherings.get(KEY)
            assert (seen.began_at, seen.head) == (began_at, gathering.head)
            assert seen.oldest == gathering.oldest == began_at - 200
            assert seen.parts == {7: days(1), 8: days(3)}
            gathering.add(5, None)
            gathering.add(6, days(2))
        await asyncio.sleep(0.2)
        assert list(seen.parts.items()) == list(gathering.parts.items())
    assert seen.ended
    assert second.gatherings.get(KEY) is None


async def test_nothing_is_looked_at_afterwards(workers, sessions, clock):
    """Neither the gathering nor the following worker polls after the end."""
    first, second = workers
    session = sessions[0]
    with (
        ExitStack() as stack,
        second.shared.followed(session, KEY),
        second.shared.followed(session, b"gathered by nobody"),
    ):
        first.gather(stack, session).begin(had_files(clock), None)
        await asyncio.sleep(1)
    uses = first.log.uses.copy(), second.log.uses.copy()
    assert (uses[0]["look"], uses[1]["read"]) > (1, 1)
    await asyncio.sleep(1)
    assert (first.log.uses, second.log.uses) == uses


async def test_a_calm_page_writes_nothing(workers, sessions):
    """One that is not asked for elsewhere costs a look from time to time."""
    first, _ = workers
    with ExitStack() as stack, first.shared.followed(sessions[0], KEY):
        first.gather(stack, sessions[0])
        await asyncio.sleep(0.1)
    assert not first.log.uses
    with ExitStack() as stack, first.shared.followed(sessions[0], KEY):
        first.gather(stack, sessions[0])
        await asyncio.sleep(1)
    assert set(first.log.uses) == {"look"}


async def test_another_student_sees_nothing(workers, sessions, clock):
    """Another student cannot open sealed steps."""
    first, second = workers
    mine, other = sessions
    with (
        ExitStack() as stack,
        second.shared.followed(mine, KEY),
        second.shared.followed(other, b"other"),
    ):
        first.gather(stack, mine).begin(had_files(clock), None)
        await asyncio.sleep(1)
        assert second.gatherings.get(KEY) is not None
        assert second.gatherings.get(b"other") is None
        assert second.log.read(KEY, other.owner, 0) is None


async def test_a_made_up_token_that_is_followed_is_none_that_was_good(
    workers, sessions, clock, epochs
):
    """What workers tell each other of it is nothing that is kept for it: its refusal is
    not told to other machines.
    """
    first, second = workers
    with ExitStack() as stack, second.shared.followed(sessions[0], KEY):
        first.gather(stack, sessions[0])
        await asyncio.sleep(1)
        assert second.gatherings.get(KEY) is not None
    assert not epochs.end(sessions[0].owner)


async def test_a_refused_token_ends_what_is_told(workers, sessions, clock, epochs):
    """Its steps are void as its pages are."""
    first, second = workers
    session = sessions[0]
    with ExitStack() as stack, second.shared.followed(session, KEY):
        gathering = first.gather(stack, session)
        gathering.begin(had_files(clock), None)
        await asyncio.sleep(1)
        epochs.end(session.owner)
        assert second.log.read(KEY, session.owner, 0) is None


async def test_what_came_before_a_refusal_is_not_told_after_it(
    workers, sessions, clock, epochs
):
    """A worker that follows later, in a new epoch, is not given it."""
    first, second = workers
    session = sessions[0]
    with ExitStack() as stack:
        gathering = first.gather(stack, session)
        gathering.begin(had_files(clock), None)
        gathering.add(1, days(1))
        epochs.end(session.owner)
        with second.shared.followed(session, KEY):
            await asyncio.sleep(1)
            assert second.gatherings.get(KEY) is None


async def test_one_that_is_over_is_not_taken_for_the_next(workers, sessions, clock):
    """A later asker sees the gathering that is under way then."""
    first, second = workers
    session = sessions[0]
    with ExitStack() as stack, second.shared.followed(session, KEY):
        gathering = first.gather(stack, session)
        gathering.begin(had_files(clock), None)
        gathering.add(1, days(1))
        await asyncio.sleep(1)
    with second.shared.followed(session, KEY):
        await asyncio.sleep(1)
        assert second.gatherings.get(KEY) is None
        with ExitStack() as stack:
            began_at = clock.now
            gathering = first.gather(stack, session)
            await asyncio.sleep(1)
            seen = second.gatherings.get(KEY)
            assert (seen.began_at, seen.head) == (began_at, None)
            gathering.begin(had_files(clock), None)
            await asyncio.sleep(1)
            assert seen.head == gathering.head
            assert not seen.parts


async def test_ones_own_comes_first(workers, sessions, clock):
    """A worker that gathers itself, as the other has died, reads its steps no more; who
    watches these learns that nothing more comes.
    """
    first, second = workers
    session = sessions[0]
    with ExitStack() as dead, second.shared.followed(session, KEY):
        first.gather(dead, session).begin(had_files(clock), None)
        await asyncio.sleep(1)
        seen = second.gatherings.get(KEY)
        assert not seen.ended
        with ExitStack() as stack:
            own = second.gather(stack, session)
            await asyncio.sleep(1)
            assert second.gatherings.get(KEY) is own
            assert own.head is None
            assert (seen.ended, own.ended) == (True, False)


async def test_who_followed_a_dead_worker_follows_the_one_that_begins_anew(
    sessions, clock, epochs
):
    """A follower of a dead worker follows the next one that gathers the page."""
    memory = SharedMemoryCache(1_000_000, epochs, clock=clock)
    first, second, third = (Worker(memory, clock) for _ in range(3))
    session = sessions[0]
    with ExitStack() as stack, third.shared.followed(session, KEY):
        dead = ExitStack()
        gathering = first.gather(dead, session)
        gathering.begin(had_files(clock), None)
        gathering.add(7, days(1))
        await asyncio.sleep(1)
        seen = third.gatherings.get(KEY)
        assert seen is not None
        assert seen.parts == gathering.parts
        first.log.dead = True
        anew = second.gather(stack, session)
        anew.begin(had_files(clock), None)
        anew.add(8, days(2))
        anew.add(7, days(1))
        await asyncio.sleep(1)
        seen = third.gatherings.get(KEY)
        assert seen is not None
        assert (seen.began_at, seen.head) == (anew.began_at, anew.head)
        assert seen.parts == anew.parts
        dead.close()


async def test_two_askers_follow_once(workers, sessions, clock):
    """One subscription serves both, also after the first has left."""
    first, second = workers
    session = sessions[0]
    with ExitStack() as stack:
        first.gather(stack, session).begin(had_files(clock), None)
        with second.shared.followed(session, KEY):
            with second.shared.followed(session, KEY):
                await asyncio.sleep(1)
            assert second.gatherings.get(KEY) is not None
            assert second.log.uses["follow"] == 1
    assert second.gatherings.get(KEY) is None
