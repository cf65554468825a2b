"""How long a connection that ends waits for its client."""

import pytest

from aims_server.http_server.closing import LINGER_SECONDS, Timeouts

from ..virtual_time import Clock


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="timeouts")
def _timeouts(clock):
    """Of a connection whose last answer was just sent."""
    timeouts = Timeouts(10.0, clock)
    clock.now += 60.0
    timeouts.request_answered()
    assert not timeouts.linger_over(clock.now)
    return timeouts


def test_a_silent_client_has_a_second_to_close(clock, timeouts):
    """By then it has read the answer."""
    clock.now += LINGER_SECONDS
    assert not timeouts.linger_over(clock.now)
    clock.now += 0.2
    assert timeouts.linger_over(clock.now)


def test_a_client_that_sends_on_has_the_time_of_a_request(clock, timeouts):
    """It reads the answer once it has sent all; a drain waits a second for that."""
    for _ in range(9):
        clock.now += 1.1
        timeouts.more_expected()
        assert not timeouts.linger_over(clock.now)
        assert not timeouts.active()
    clock.now += 0.2
    assert timeouts.linger_over(clock.now)
