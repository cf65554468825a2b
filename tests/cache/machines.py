"""Workers that share pages, and machines that share a level, on one clock."""

import asyncio

from aims_server.cache.levels import Level
from aims_server.cache.readthrough import ReadThrough
from aims_server.cache.shared_memory import SharedMemoryCache
from aims_server.cache.sharing import MachinePages, Sharing
from aims_server.cache.singleflight import SingleFlight
from aims_server.cache.store import MemoryStore
from aims_server.deadline import Deadline
from aims_server.primitives.epochs import Epochs
from tests.virtual_time import settle

from .reading import TEXT, Observer, Refused

WORK_SECONDS = 10
ANN, BEN = b"a" * 32, b"b" * 32


class Machine:
    """Workers that share memory, and perhaps a further level with other machines."""

    def __init__(self, clock, *further):
        self.clock = clock
        self.epochs = Epochs()
        self.memory = SharedMemoryCache(1_000_000, self.epochs, clock=clock)
        self.levels = [level("machine", self.memory), *further]

    def worker(self, copied_bytes=0):
        """A worker of this machine, with so much room for copies of what that has; in
        none they are kept like any other entry.
        """
        return Worker(self, copied_bytes)


def level(name, memory, seconds=Deadline.remaining):
    """A level over this memory."""
    pages = MachinePages(memory)
    return Level(name, pages, seconds, 0.005, 0.05, memory.find, memory.keep)


class Worker:
    """A read-through with a store and flights of its own."""

    def __init__(self, machine, copied_bytes):
        self.machine = machine
        self.clock = machine.clock
        self.observer = Observer()
        self.refused: list = []
        self.store: MemoryStore = MemoryStore(
            1 << 20, copied_bytes, epochs=machine.epochs, clock=self.clock
        )
        self.flights: SingleFlight = SingleFlight(
            work_seconds=WORK_SECONDS, clock=self.clock, failure_memory=0.01
        )
        self.through: ReadThrough = ReadThrough(
            self.store,
            self.flights,
            loader=Sharing(machine.levels, TEXT, self.observer, clock=self.clock),
            is_refusal=lambda error: isinstance(error, Refused),
            on_refusal=lambda owner, kept: self.refused.append((owner, kept)),
            clock=self.clock,
        )

    def ask(self, platform, key=b"k", owner=ANN, *, seconds=10.0, max_age=None, **made):
        """One asker, as a task."""
        return asyncio.create_task(
            self.through.get(
                key,
                owner,
                platform.fill(owner, **made),
                Deadline(seconds, self.clock),
                max_age=max_age,
            )
        )


async def shown(task):
    """How an asker came by what."""
    served = await task
    return served.outcome, served.entry.value


async def answered(platform, task, value):
    """Have the platform answer the only call, and give what the asker is given."""
    await settle()
    platform.answer(value)
    return await shown(task)
