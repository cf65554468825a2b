"""A breaker that nobody's calls close: our own probe does."""

import asyncio

import pytest

from aims_server.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from aims_server.primitives import CircuitState
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience.recovery_probe import RecoveryProbe
from tests.virtual_time import virtual_loop

pytestmark = pytest.mark.gen_test

student = CallerKey.student


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


class Idle:
    """Breakers of endpoints that no student asks, and the probe."""

    def __init__(self, clock):
        self.clock = clock
        self.asked: list[tuple[float, str]] = []
        self.fault: type[Exception] | None = None
        self.sound: set[str] = set()  # endpoints that answer all the same
        self.breakers = EndpointBreakers(
            ["login", "cards"], clock=clock, random=lambda: 1.0
        )
        self.probe = RecoveryProbe(self.breakers, self.ask)

    async def ask(self, endpoint):
        """The platform answers, or fails as it was told."""
        self.asked.append((self.clock.now, endpoint))
        if self.fault is not None and endpoint not in self.sound:
            raise self.fault

    def fail(self, endpoint):
        """Open an endpoint."""
        for number in range(3):
            self.breakers.admit(endpoint, student(number)).failure()

    def lose_way(self):
        """Open all."""
        for number in range(3):
            self.breakers.admit("cards", student(number)).unreachable()

    async def end(self):
        """Wait until the probe has nothing left to do."""
        assert self.probe._task is not None
        await self.probe._task


@pytest.fixture(name="idle")
def _idle(clock):
    return Idle(clock)


async def test_one_answer_is_enough(idle, clock):
    """Half a minute after it opened, without any traffic; the second time, too."""
    for _ in range(2):
        began = clock.now
        idle.fail("cards")
        await idle.end()
        assert idle.asked.pop() == (began + 30, "cards")
        assert idle.breakers.worst is CircuitState.CLOSED
    assert not idle.asked


async def test_while_students_probe_it_waits_for_its_next_turn(idle, clock):
    """Their calls may hang, and have all the places."""
    began = clock.now
    idle.fail("cards")
    await asyncio.sleep(29)
    probes = [idle.breakers.admit("cards", student(number)) for number in range(3)]
    await asyncio.sleep(2)
    for probe in probes:
        probe.discard()
    await idle.end()
    assert idle.asked == [(began + 60, "cards")]


async def test_one_probe_in_half_a_minute_for_all(idle, clock):
    """Probes of two endpoints come half a minute apart."""
    began = clock.now
    idle.fail("cards")
    idle.fail("login")
    await idle.end()
    assert idle.asked == [(began + 30, "login"), (began + 60, "cards")]


async def test_it_goes_on_until_the_platform_is_back(idle, clock):
    """It probes for as long as that takes, whatever the answers are meanwhile."""
    began = clock.now
    idle.lose_way()
    for fault in (UpstreamUnreachable, UpstreamTimeout):
        idle.fault = fault
        seen = len(idle.asked)
        while len(idle.asked) < seen + 2:  # noqa: ASYNC110 - virtual time: none passes
            await asyncio.sleep(1)
        assert idle.breakers.worst is CircuitState.HALF_OPEN
    idle.fault = None
    await idle.end()
    times = [at for at, _ in idle.asked]
    assert times == [began + 30 * n for n in range(1, len(times) + 1)]
    assert idle.breakers.worst is CircuitState.CLOSED


async def test_any_answer_shows_that_the_way_is_open(idle):
    """A fault of the platform closes what connections opened, and nothing else."""
    idle.lose_way()
    idle.fault = UpstreamFault
    await idle.end()
    assert len(idle.asked) == 1
    assert idle.breakers.worst is CircuitState.CLOSED


async def test_an_endpoint_that_fails_is_not_closed(idle):
    """A probe that fails as students' calls did leaves the breaker open."""
    idle.fail("cards")
    idle.fault = UpstreamFault
    await asyncio.sleep(100)
    assert len(idle.asked) == 3
    assert idle.breakers.states() == {"login": "closed", "cards": "half-open"}
    await idle.probe.close()


async def test_an_endpoint_that_fails_keeps_no_other_waiting(idle):
    """They are asked in turn: one may answer every call without a token with a 500."""
    idle.fail("login")
    idle.fail("cards")
    idle.fault, idle.sound = UpstreamFault, {"cards"}
    await asyncio.sleep(61)
    assert idle.breakers.states() == {"login": "half-open", "cards": "closed"}
    idle.fail("cards")
    await asyncio.sleep(61)
    assert idle.breakers.states() == {"login": "half-open", "cards": "closed"}
    await idle.probe.close()


async def test_it_keeps_nobody_waiting(idle):
    """It is no student, before whom logins would have to stand back for half a
    minute.
    """
    idle.fail("login")
    idle.fault = UpstreamFault
    await asyncio.sleep(31)
    assert len(idle.asked) == 1
    idle.breakers.admit("login", CallerKey.address("192.0.2.7")).success()
    await idle.end()
    assert idle.breakers.worst is CircuitState.CLOSED


async def test_what_students_closed_is_not_asked(idle):
    """A breaker that students' calls have closed is not probed."""
    idle.fail("cards")
    await asyncio.sleep(6)
    idle.breakers.admit("cards", student(1)).success()
    await idle.end()
    assert idle.asked == []


async def test_a_closed_probe_asks_no_more(idle):
    """It makes no call, whether it was closed before or after its first one."""
    await idle.probe.close()
    idle.fail("cards")
    await asyncio.sleep(1)
    await idle.probe.close()
    await asyncio.sleep(60)
    assert idle.asked == []


async def test_who_closes_it_waits_for_the_end_of_its_call(idle):
    """The client that the call uses is closed after that."""
    ended = []

    async def hang(_):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended.append(True)

    idle.probe._ask = hang
    idle.fail("cards")
    await asyncio.sleep(31)
    await idle.probe.close()
    assert ended
