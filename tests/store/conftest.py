"""Fixtures for the store: a server for all tests of a run, emptied for each."""

import asyncio
import time
from functools import partial

import pytest

from aims_server.primitives import Epochs
from aims_server.primitives.store_url import StoreAddress
from aims_server.store.client import StoreClient
from aims_server.store.connection import Connection
from aims_server.store.cursor import SharedCursor
from aims_server.store.invalidation import Invalidations
from aims_server.store.pages import StorePages
from aims_server.store.redis_clients import open_client
from aims_server.store.sealing import Secrets

from ..waiting import PATIENCE_SECONDS
from .server import StoreServer


@pytest.fixture(scope="session")
def running_server(tmp_path_factory):
    """A valkey-server on a Unix socket."""
    server = StoreServer(tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.kill()


@pytest.fixture(name="server")
def _server(running_server):
    running_server.ask("FLUSHALL")
    return running_server


class Observer:
    """Remembers what it is told."""

    def __init__(self):
        self.calls = []
        self.seconds = []
        self.states = []
        self.unopened = 0
        self.drops = []
        self.waiting = 0
        self.synced = 0

    def store_called(self, outcome, seconds):
        """Note a call."""
        self.calls.append(outcome)
        self.seconds.append(seconds)

    def store_changed(self, state):
        """Note a state."""
        self.states.append(str(state))

    def store_unopened(self):
        """Count an entry that does not open."""
        self.unopened += 1

    def dropped(self, source):
        """Note an invalidation."""
        self.drops.append(source)

    def drops_waiting(self, number):
        """Note how many wait."""
        self.waiting = number

    def limits_synced(self, keys):
        """Count limits."""
        self.synced += keys


class Machine:
    """What one worker of one machine has to do with the store; `beside` is another
    worker of the same machine.
    """

    def __init__(self, url, *, secret=bytes(32), patience=20.0, beside=None):
        self.address = StoreAddress.parse(url)
        self.observer = Observer()
        self.epochs = beside.epochs if beside else Epochs()
        self.shared = beside.shared if beside else SharedCursor()
        self.secrets = Secrets(secret)
        self.invalidations = Invalidations(
            self.secrets, self.epochs, self.shared, self.observer, lifetime=2100
        )
        self.client = StoreClient(
            # On a busy machine a server that is well may be silent for a second.
            Connection(open_client(self.address, silence=PATIENCE_SECONDS)),
            self.observer,
            where=str(self.address),
            patience=patience,
            catch_up=lambda: self.invalidations.catch_up(self.client),
            random=lambda: 0.0,
        )
        self.ahead = 0.0
        self.pages = StorePages(
            self.client,
            self.secrets,
            self.invalidations,
            self.epochs,
            self.observer,
            wall=lambda: time.time() + self.ahead,
        )

    def follow(self):
        """Begin to send and to read invalidations."""
        self.invalidations.start(self.client, partial(open_client, self.address))

    def know(self):
        """Take the stream's place as known, without reading it."""
        self.shared.begin_at((0, 0), (0, 0))

    def refuse(self, owner):
        """Do what follows a refusal of the platform."""
        self.epochs.end(owner)
        self.invalidations.add(owner, kept=True)

    async def close(self):
        """End its connections."""
        await self.invalidations.close()
        await self.client.close()


@pytest.fixture
def make_machine(io_loop, server):
    """Makes machines that share the server, and closes them."""
    made = []

    def make(url=None, *, follow=False, **options):
        async def begin():
            machine = Machine(url or server.url, **options)
            if follow:
                machine.follow()
            else:
                machine.know()
            return machine

        made.append(io_loop.run_sync(begin))
        return made[-1]

    yield make
    for machine in made:
        io_loop.run_sync(machine.close)


@pytest.fixture(name="odd")
def _odd(io_loop, tmp_path, make_machine):
    """A machine whose store gives one answer to all; the function returned sets it."""
    path = tmp_path / "odd.sock"
    answers: list[bytes] = []

    async def talk(reader, writer):
        while await reader.read(1 << 16):
            writer.write(answers[-1])
        writer.close()

    server = io_loop.run_sync(lambda: asyncio.start_unix_server(talk, path))
    yield make_machine(f"unix://{path}"), answers.append
    server.close()
