"""The resilience policy on a loop whose time is moved."""

import pytest

from tests.virtual_time import virtual_loop

from ..bench import Bench

_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


@pytest.fixture(name="bench")
def _bench(clock):
    return Bench(clock)


@pytest.fixture(name="narrow")
def _narrow(clock):
    """A bench with a single slot."""
    return Bench(clock, size=1)
