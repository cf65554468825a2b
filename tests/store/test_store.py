"""One worker's side of the store as a whole."""

import asyncio

import pytest

from aims_server.primitives import CircuitState, Epochs, StoreAddress
from aims_server.ratelimit import BucketTable, RateLimiter
from aims_server.store import MachineStore, Store

from ..waiting import eventually
from .conftest import Observer
from .test_pages import ANN

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="machine")
def _machine(server):
    """What the workers of a machine share."""
    return MachineStore(StoreAddress.parse(server.url), bytes(32))


async def test_a_worker_that_ends_tells_what_it_knows(machine, server):
    """The platform refuses a token in its last moment. To tell it twice is no harm."""
    store = Store(machine, Epochs(), Observer(), patience=20.0, lifetime=2100.0)
    store.start([])
    store.invalidations.add(ANN, kept=True)
    await store.close()
    told = server.ask("XLEN", machine.secrets.stream_key)
    assert told in (b":1\r\n", b":2\r\n")


async def test_what_a_worker_admits_is_added_up_as_long_as_it_runs(machine):
    """It is added to other machines' sums; no task outlives the worker."""
    before, observer = asyncio.all_tasks(), Observer()
    store = Store(machine, Epochs(), observer, patience=20.0, lifetime=2100.0)
    limiter = RateLimiter(
        BucketTable(8), name="student", per_minute=1, secret=b"s", shared=True
    )
    store.start([limiter])
    limiter.take("ann")
    await eventually(lambda: observer.synced)
    assert store.state is CircuitState.CLOSED
    await store.close()
    assert asyncio.all_tasks() == before


async def test_a_worker_ends_without_the_store(tmp_path):
    """What it cannot tell holds it up no longer than a call."""
    nowhere = StoreAddress.parse(f"unix://{tmp_path}/none.sock")
    machine = MachineStore(nowhere, bytes(32))
    store = Store(machine, Epochs(), Observer(), patience=20.0, lifetime=2100.0)
    store.start([])
    store.invalidations.add(ANN, kept=True)
    await store.close()
    assert machine.cursor.is_pending(ANN, 0.0)
