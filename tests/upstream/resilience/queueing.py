"""A queue for slots, whose callers have names of a letter."""

import asyncio
from string import ascii_uppercase

import pytest

from aims_server.deadline import Deadline
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.bulkhead import BulkheadFull
from tests.virtual_time import settle


def caller(name):
    """A verified student, or an address for a name in capitals."""
    return CallerKey(name not in list(ascii_uppercase), name)


async def acquire(slots, who, deadline):
    """Take a slot, waiting for it if none is free."""
    if deadline.expired or not slots.try_acquire(who):
        await slots.wait_for_turn(who, deadline)


class Queue:
    """Callers of some slots, and the order in which they were served."""

    def __init__(self, slots, clock, patience=1000.0):
        self.slots = slots
        self.clock = clock
        self.patience = patience
        self.served: list[str] = []
        self.holding: list[CallerKey] = []

    async def call(self, name):
        """Wait as the caller that is the name's first letter."""
        await acquire(self.slots, caller(name[0]), Deadline(self.patience, self.clock))
        self.served.append(name)
        self.holding.append(caller(name[0]))

    async def join(self, *names):
        """Let callers wait one after the other."""
        tasks = []
        for name in names:
            tasks.append(asyncio.ensure_future(self.call(name)))
            await settle()
        return tasks

    async def release(self, times=1, seconds=None):
        """Give slots back one after the other, those had first first."""
        for _ in range(times):
            self.slots.release(self.holding.pop(0), seconds)
            await settle()


async def refused(slots, flow, deadline):
    """The wait named when a call is refused."""
    with pytest.raises(BulkheadFull) as refusal:
        await acquire(slots, caller(flow), deadline)
    return refusal.value.wait
