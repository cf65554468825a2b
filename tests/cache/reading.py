"""A read-through with all its parts, and a platform whose answers are held."""

import asyncio

from msgspec.structs import replace

from aims_server.cache.loading import Outcome
from aims_server.cache.readthrough import ReadThrough
from aims_server.cache.sharing import Codec, Sharing
from aims_server.cache.singleflight import SingleFlight
from aims_server.cache.store import Entry, MemoryStore
from aims_server.deadline import Deadline
from tests.virtual_time import settle

FRESH, SERVABLE, MEMORY = 300, 2100, 1
HIT, MISS, STALE, PENDING = Outcome
TEXT = Codec[str](str.encode, bytes.decode, len)


class Observer:
    """Remembers what it is told."""

    def __init__(self):
        self.found = []
        self.waits = []
        self.ends = []
        self.put = []

    def shared_lookup(self, level, found):
        """Note what was found."""
        self.found.append((level, str(found)))

    def shared_wait(self, seconds):
        """Note a wait."""
        self.waits.append(seconds)

    def lease_ended(self, level, end):
        """Note the end of a lease."""
        self.ends.append((level, end))

    def page_put(self, level, size):
        """Note a page."""
        self.put.append((level, size))


def unshared(clock):
    """Where the entries of a worker come from that shares none: from its fills."""
    return Sharing((), TEXT, Observer(), clock=clock)


class Broken(Exception):
    """The platform fails."""


class Refused(Exception):
    """The platform refuses this owner."""


class Platform:
    """Where fills get their values: holds every answer until told."""

    def __init__(self, clock):
        self.clock = clock
        self.held: list[asyncio.Future] = []
        self.calls = 0

    def fill(self, owner, *, size=1000, fresh=FRESH, servable=SERVABLE):
        """A fill that makes an entry of this owner out of what is answered."""

        async def fill(deadline):
            self.calls += 1
            answer = asyncio.get_running_loop().create_future()
            self.held.append(answer)
            value = await answer
            now = self.clock.now
            return Entry(value, size, owner, now, now + fresh, now + servable)

        return fill

    def answer(self, value):
        """Answer the oldest call that is held, with a value or an error."""
        held = self.held.pop(0)
        if isinstance(value, Exception):
            held.set_exception(value)
        else:
            held.set_result(value)


async def made_of(entry):
    """An entry that is made of another."""
    return replace(entry, value=f"made of {entry.value}")


class Bench:
    """A read-through with all its parts, and a tally of what it reports."""

    def __init__(self, clock, max_bytes=1 << 20, work_seconds=10):
        self.clock = clock
        self.platform = Platform(clock)
        self.store: MemoryStore = MemoryStore(max_bytes, clock=clock)
        self.flights: SingleFlight = SingleFlight(
            work_seconds=work_seconds, clock=clock, failure_memory=MEMORY
        )
        self.refresh_errors: list[Exception] = []
        self.foreign: list[None] = []
        self.through: ReadThrough = ReadThrough(
            self.store,
            self.flights,
            loader=unshared(clock),
            is_refusal=lambda error: isinstance(error, Refused),
            on_foreign=lambda: self.foreign.append(None),
            on_refresh_error=self.refresh_errors.append,
            clock=clock,
        )

    def ask(
        self, key=b"k", owner=b"ann", *, seconds=10.0, max_age=None, fill=None, **entry
    ):
        """One asker, as a task."""
        fill = fill or self.platform.fill(owner, **entry)
        deadline = Deadline(seconds, self.clock)
        return asyncio.create_task(
            self.through.get(key, owner, fill, deadline, max_age=max_age)
        )

    async def fetch(self, value, key=b"k", owner=b"ann", **options):
        """Ask, and have the platform answer this at once."""
        asker = self.ask(key, owner, **options)
        await settle()
        self.platform.answer(value)
        await settle()
        return await asker

    async def seen(self, **options):
        """What an asker is given: outcome and value, or the type of the error."""
        try:
            served = await self.ask(**options)
        except Exception as error:  # noqa: BLE001  the test asks which one
            return type(error)
        return served.outcome, served.entry.value
