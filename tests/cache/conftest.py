"""Mechanisms that are tested alone: their time, and who shares pages in it."""

import pytest

from tests.virtual_time import Clock

from .machines import Machine
from .reading import Bench, Platform


@pytest.fixture(name="clock")
def _clock():
    """It passes only when a test says so, instead of the running service's."""
    return Clock()


@pytest.fixture(name="platform")
def _platform(clock):
    return Platform(clock)


@pytest.fixture(name="bench")
def _bench(clock):
    return Bench(clock)


@pytest.fixture(name="machine")
def _machine(clock):
    return Machine(clock)


@pytest.fixture(name="workers")
def _workers(machine):
    return [machine.worker() for _ in range(3)]
