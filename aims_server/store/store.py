"""Builds one worker's use of the store, and what its machine's workers share of it."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial

from ..deadline import Clock
from ..logs import RateLimitedLog
from ..primitives import CircuitState, Epochs, StoreAddress
from ..ratelimit import RateLimiter
from .client import StoreClient, StoreObserver, StoreUnavailable
from .connection import Connection
from .cursor import SharedCursor
from .invalidation import Invalidations
from .limits import SharedLimits
from .pages import StorePages
from .redis_clients import open_client, tls_context
from .sealing import Secrets

__all__ = ["MachineStore", "Store"]


class MachineStore:
    """What a machine's workers share; made before the fork, opens no connection."""

    def __init__(
        self, address: StoreAddress, secret: bytes, *, ca_file: str | None = None
    ) -> None:
        self.address = address
        self.tls = tls_context(address, ca_file)
        self.secrets = Secrets(secret)
        self.cursor = SharedCursor()


class Store:
    """The pages, limits and invalidations that a worker shares with other machines.

    A call waits ``patience`` seconds at most; a page lives ``lifetime`` seconds at
    most. Make it inside the event loop, after the fork.
    """

    def __init__(
        self,
        machine: MachineStore,
        epochs: Epochs,
        observer: StoreObserver,
        *,
        patience: float,
        lifetime: float,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        log: RateLimitedLog | None = None,
    ) -> None:
        self._patience = patience
        secrets = machine.secrets
        self._open_client = partial(open_client, machine.address, tls=machine.tls)
        self.invalidations = Invalidations(
            secrets, epochs, machine.cursor, observer, lifetime=lifetime, clock=clock
        )
        self._client = StoreClient(
            Connection(self._open_client()),
            observer,
            where=str(machine.address),
            patience=patience,
            catch_up=lambda: self.invalidations.catch_up(self._client),
            log=log,
        )
        self.pages = StorePages(
            self._client,
            secrets,
            self.invalidations,
            epochs,
            observer,
            clock=clock,
            wall=wall,
        )
        self.limits = SharedLimits(self._client, secrets, observer)

    @property
    def state(self) -> CircuitState:
        """Whether the store is called."""
        return self._client.state

    def start(self, limiters: Sequence[RateLimiter]) -> None:
        """Begin to follow other machines, and to sum these limits with theirs."""
        self.invalidations.start(self._client, self._open_client)
        self.limits.start(limiters)

    async def close(self) -> None:
        """Send the last refusals, then end all tasks and connections. If the store does
        not answer in time, other machines do not learn of these refusals.
        """
        await self.limits.close()
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._patience):
                await self.invalidations.send(self._client)
        await self.invalidations.close()
        await self._client.close()
