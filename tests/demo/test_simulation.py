"""How many calls the platform answers at a time, and the sets of its knobs."""

import asyncio

import pytest

from aims_server.demo.college import College
from aims_server.demo.faults import Faults
from aims_server.demo.scenarios import SCENARIOS
from aims_server.demo.simulation import Simulation
from tests.virtual_time import Clock, virtual_loop

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="io_loop")
def _io_loop():
    yield from virtual_loop(Clock())


async def times(simulation, number):
    """When each of so many calls of a second has been answered."""

    async def call():
        async with simulation.answering("cards"):
            await asyncio.sleep(1)
        return clock() - began

    clock = asyncio.get_running_loop().time
    began = clock()
    return await asyncio.gather(*(call() for _ in range(number)))


@pytest.mark.parametrize(("number", "last"), [(None, 1), (5, 1), (2, 3), (1, 5)])
async def test_the_others_wait(number, last):
    """Calls above the capacity are answered in the order in which they came."""
    simulation = Simulation(College(students=1), seed=1)
    simulation.faults.set("cards", capacity=number)
    answered = await times(simulation, 5)
    assert answered == sorted(answered)
    assert answered[-1] == pytest.approx(last)


def test_every_scenario_is_a_set_of_knobs():
    """Every scenario's knobs exist and can be set."""
    assert {"calm", "slow", "tail", "hanging", "flaky", "crowded"} <= set(SCENARIOS)
    for scenario in SCENARIOS.values():
        Faults().set(**scenario.knobs)
