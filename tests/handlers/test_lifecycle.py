"""A worker's state as /health tells it."""

from aims_server.handlers.lifecycle import Lifecycle

from ..virtual_time import Clock


def test_uptime_counts_from_the_start():
    """It is the time since the worker was made."""
    clock = Clock()
    lifecycle = Lifecycle(clock)
    clock.now += 12.5
    assert lifecycle.uptime_seconds == 12.5


def test_draining_is_for_good():
    """It starts undrained, and never comes back."""
    lifecycle = Lifecycle()
    assert not lifecycle.draining
    lifecycle.start_draining()
    lifecycle.start_draining()
    assert lifecycle.draining
