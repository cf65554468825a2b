"""One task per key: who shares it, how long, and what nobody can do to the others."""

import asyncio
import contextvars
import gc
import traceback
import weakref

import pytest

from aims_server.cache.singleflight import FlightCancelled, SingleFlight
from aims_server.deadline import Deadline
from tests.virtual_time import settle, virtual_loop

pytestmark = pytest.mark.gen_test


class Broken(Exception):
    """What the work of these tests fails with."""


class Work:
    """Work that ends when the test says so, and counts its starts."""

    def __init__(self):
        self.held: list[asyncio.Future] = []
        self.deadlines: list[Deadline] = []

    async def __call__(self, deadline):
        """Start it: wait for the test's word."""
        held = asyncio.get_running_loop().create_future()
        self.held.append(held)
        self.deadlines.append(deadline)
        return await held

    @property
    def starts(self):
        """How often it was started."""
        return len(self.held)


class Failing:
    """Work that fails at once, each time with an error of its own."""

    def __init__(self):
        self.starts = 0

    async def __call__(self, deadline):
        """Fail."""
        self.starts += 1
        raise Broken(self.starts)


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


@pytest.fixture(name="flights")
def _flights(clock) -> SingleFlight:
    return SingleFlight(clock=clock)


@pytest.fixture(name="ask")
def _ask(clock, flights):
    def ask(start, *, key=b"k", seconds=10.0):
        """One asker: a task that waits for the shared value."""

        async def wait():
            waiting, _ = flights.join(key, start, Deadline(seconds, clock))
            return await waiting

        return asyncio.create_task(wait())

    return ask


@pytest.fixture(name="work")
def _work():
    return Work()


async def test_all_askers_share_one_start(flights, ask, work):
    """One call is made for a key, and all who ask get its value."""
    askers = [ask(work) for _ in range(200)]
    await settle()
    assert (work.starts, len(flights)) == (1, 1)
    page = object()
    work.held[0].set_result(page)
    assert all(got is page for got in await asyncio.gather(*askers))
    assert len(flights) == 0


async def test_says_who_joined(clock, flights, work):
    """The one who started is told apart from those who joined."""
    joined = [flights.join(b"k", work, Deadline(1, clock))[1] for _ in range(3)]
    other = flights.join(b"other", work, Deadline(1, clock))[1]
    assert (joined, other) == ([False, True, True], False)
    await flights.close()


async def test_success_is_not_kept(ask, work):
    """The flight that has landed is forgotten: keeping values is the store's task."""
    for value in ("first", "second"):
        asker = ask(work)
        await settle()
        work.held[-1].set_result(value)
        assert await asker == value


async def test_goes_on_when_all_have_left(flights, ask, work):
    """A task left by everybody ends on its own, and newcomers share it still."""
    first = ask(work)
    await settle()
    first.cancel()
    await settle()
    assert len(flights) == 1
    late = ask(work)
    await settle()
    work.held[0].set_result("page")
    assert await late == "page"
    assert work.starts == 1


async def test_hanging_up_as_the_value_arrives_hurts_nobody(ask, work):
    """A cancellation in the very step of the landing ends that one asker only."""
    askers = [ask(work) for _ in range(3)]
    await settle()
    work.held[0].set_result("page")
    await asyncio.sleep(0)  # the task has its value; its waiters are not yet awake
    askers[0].cancel()
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["page", "page"]


async def test_joining_between_the_end_and_the_landing_gets_the_value(
    clock, flights, ask, work
):
    """A newcomer in the loop step between task end and bookkeeping starts nothing."""
    first = ask(work)
    await settle()
    work.held[0].set_result("page")
    late: list[asyncio.Future] = []

    def join():
        assert len(flights) == 1
        waiting, _ = flights.join(b"k", work, Deadline(1, clock))
        late.append(asyncio.ensure_future(waiting))

    asyncio.get_running_loop().call_soon(join)  # after the task's own last step
    assert await first == "page"
    assert await late[0] == "page"
    assert work.starts == 1


async def test_waits_until_its_own_deadline(clock, ask, work):
    """Each asker leaves at its own time, with TimeoutError; the others stay."""
    start = clock.now
    hasty, patient = ask(work, seconds=2), ask(work, seconds=5)
    with pytest.raises(TimeoutError):
        await hasty
    assert clock.now - start == pytest.approx(2.0)
    work.held[0].set_result("page")
    assert await patient == "page"
    assert clock.now - start == pytest.approx(2.0)


async def test_a_patient_joiner_extends_the_works_deadline(clock, flights, work):
    """The task may run for as long as its most patient asker waits."""
    first, later = Deadline(2, clock), Deadline(7, clock)
    for deadline in (first, later, Deadline(3, clock)):
        flights.join(b"k", work, deadline)
    await settle()
    assert work.deadlines[0].at == later.at
    assert first.remaining() == 2
    await flights.close()


async def test_a_stuck_flight_costs_one_more_call_per_window(clock, ask, work):
    """Work that never ends stalls nobody beyond its deadline, nor the key for good."""
    askers = []
    for _ in range(30):
        askers.append((clock.now, ask(work, seconds=2)))
        await asyncio.sleep(1)
    for asked_at, asker in askers[:27]:
        assert asker.done(), asked_at
        assert isinstance(asker.exception(), TimeoutError)
    assert work.starts == 15
    work.held[-1].set_result("page")
    assert await askers[-1][1] == "page"
    for held in work.held[:-1]:
        held.set_result(None)
    await asyncio.gather(*(asker for _, asker in askers), return_exceptions=True)


@pytest.mark.parametrize("seconds", [(1, 10), (10, 1)])
async def test_a_short_deadline_does_not_close_the_flight(ask, work, seconds):
    """A flight stays open to newcomers as long as its most patient asker had time."""
    asked = {each: ask(work, seconds=each) for each in seconds}
    await asyncio.sleep(5)
    late = ask(work, seconds=10)
    await settle()
    work.held[0].set_result("page")
    assert [*await asyncio.gather(asked[10], late)] == ["page", "page"]
    assert work.starts == 1
    assert isinstance(asked[1].exception(), TimeoutError)


async def test_an_overtaken_flight_cannot_undo_its_successor(clock, flights, ask, work):
    """When a stuck flight ends late, the younger one goes on being shared."""
    old = ask(work, seconds=2)
    await asyncio.sleep(3)
    young = ask(work)
    await settle()
    work.held[0].set_exception(Broken())
    await settle()
    joined = ask(work)
    await settle()
    work.held[1].set_result("page")
    assert [*await asyncio.gather(young, joined)] == ["page", "page"]
    assert work.starts == 2
    assert isinstance(old.exception(), TimeoutError)


async def test_all_share_the_error_without_feeding_on_each_other(ask, work):
    """The same exception reaches all, and its traceback does not grow with them."""
    askers = [ask(work) for _ in range(300)]
    await settle()
    error = Broken()
    work.held[0].set_exception(error)
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert all(result is error for result in results)
    assert len(traceback.extract_tb(error.__traceback__)) < 10


async def test_the_first_reader_of_an_error_sees_where_it_arose(ask):
    """The traceback leads into the work, for the log of an unexpected error."""
    with pytest.raises(Broken) as caught:
        await ask(Failing())
    assert "__call__" in [frame.name for frame in caught.traceback]


async def test_a_failure_is_remembered_for_its_time_exactly(clock, ask):
    """Within the memory the same error comes without a start, then work is tried."""
    failing = Failing()
    with pytest.raises(Broken) as first:
        await ask(failing)
    clock.now += 0.999
    for _ in range(50):
        with pytest.raises(Broken) as again:
            await ask(failing)
        assert again.value is first.value
    assert len(traceback.extract_tb(first.value.__traceback__)) < 10
    assert failing.starts == 1
    clock.now += 0.001
    with pytest.raises(Broken):
        await ask(failing)
    assert failing.starts == 2


async def test_remembered_failures_are_bounded(clock):
    """With the table full, the key that failed longest ago is forgotten."""
    flights: SingleFlight = SingleFlight(max_failures=2, clock=clock)
    failing = Failing()
    for key in (b"a", b"b", b"c", b"b", b"c", b"a"):
        waiting, _ = flights.join(key, failing, Deadline(1, clock))
        with pytest.raises(Broken):
            await waiting
    assert failing.starts == 4


async def test_a_failure_that_made_room_is_not_forgotten_again(clock):
    """The end of its time finds another key's failure, or nothing."""
    flights: SingleFlight = SingleFlight(
        failure_memory=0.01, max_failures=1, clock=clock
    )
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    for key in (b"a", b"b"):
        waiting, _ = flights.join(key, Failing(), Deadline(1, clock))
        with pytest.raises(Broken):
            await waiting
    await asyncio.sleep(0.1)
    assert complaints == []


async def test_running_out_of_time_is_not_remembered(clock, ask):
    """That the first asker had little time decides nothing for the next one."""

    async def slow(deadline):
        if deadline.remaining() < 3:
            await asyncio.sleep(deadline.remaining())
            raise Broken("out of time")
        return "page"

    with pytest.raises(TimeoutError):
        await ask(slow, seconds=1)
    await settle()
    assert await ask(slow, seconds=10) == "page"


async def test_an_error_and_what_it_holds_go_without_traffic(ask):
    """When the memory ends, the error and its frames are freed, by counting alone."""

    class Body:
        """Something large in a frame that failed."""

    bodies: list[weakref.ref] = []

    async def fail(deadline):
        body = Body()
        bodies.append(weakref.ref(body))
        raise Broken

    gc.disable()
    try:
        with pytest.raises(Broken):
            await ask(fail)
        await asyncio.sleep(1.5)
        await settle()
        assert bodies[0]() is None
    finally:
        gc.enable()


async def test_an_error_that_nobody_waits_for_is_no_complaint(flights, clock):
    """A failed flight whose waiter was never awaited passes in silence."""
    flights.join(b"k", Failing(), Deadline(1, clock))
    await settle()  # the loop's fixture fails the test on any complaint


async def test_work_that_is_cancelled_does_not_cancel_its_waiters(ask, work):
    """A cancelled task is an error for those who wait, not their own cancellation."""
    askers = [ask(work) for _ in range(2)]
    await settle()
    work.held[0].cancel()
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [type(result) for result in results] == [FlightCancelled] * 2


async def test_after_a_cancelled_flight_the_key_is_worked_for_again(ask, work):
    """A cancellation is no failure of the key and is not remembered."""
    first = ask(work)
    await settle()
    work.held[0].cancel()
    with pytest.raises(FlightCancelled):
        await first
    second = ask(work)
    await settle()
    work.held[1].set_result("page")
    assert await second == "page"


async def test_close_ends_all_that_runs(flights, ask, work):
    """Closing cancels every task, waits for its end, and tells the waiters."""
    askers = [ask(work, key=key) for key in (b"a", b"b")]
    await settle()
    await flights.close()
    assert len(flights) == 0
    assert all(held.cancelled() for held in work.held)
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [type(result) for result in results] == [FlightCancelled] * 2


async def test_close_before_the_first_step_leaves_nothing(flights, clock, work):
    """A task cancelled before it ran a line is forgotten like any other."""
    waiting, _ = flights.join(b"k", work, Deadline(1, clock))
    await flights.close()
    with pytest.raises(FlightCancelled):
        await waiting
    assert (work.starts, len(flights)) == (0, 0)


async def test_close_of_nothing_returns():
    """Closing with nothing in flight is allowed, twice too."""
    flights: SingleFlight = SingleFlight()
    await flights.close()
    await flights.close()


async def test_flights_survive_the_collector(flights, clock, work):
    """A task that nobody else holds is not collected while it works."""
    flights.join(b"k", work, Deadline(10, clock))
    await settle()
    gc.collect()
    waiting, joined = flights.join(b"k", work, Deadline(10, clock))
    work.held[0].set_result("page")
    assert (await waiting, joined) == ("page", True)


async def test_runs_in_the_context_of_its_starter(clock, ask):
    """What the work logs bears the request that caused it."""
    request = contextvars.ContextVar("request", default="none")

    async def tell(deadline):
        return request.get()

    request.set("r-1")
    assert await ask(tell) == "r-1"
