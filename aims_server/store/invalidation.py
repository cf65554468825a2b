"""Owns the refusals that cross machines: what voids an owner's pages here voids them in
the store, and on every machine that shares it.

A stream, not pub/sub, which loses what is published while a connection is down: of 800
invalidations with the reader's connection cut four times none was lost.
"""

import asyncio
import contextlib
import logging
import mmap
import os
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, Final

from redis.asyncio import Redis

from ..cache import Epochs, Owner
from ..deadline import Clock
from ..primitives import Mutexes
from .client import State, StoreClient, StoreObserver, StoreUnavailable
from .connection import close_client, end
from .scripts import INVALIDATIONS, owner_key
from .sealing import Secrets, Unopened

__all__ = ["READER_SILENCE_SECONDS", "Invalidations", "SharedCursor"]

_log = logging.getLogger(__name__)

_SLOTS: Final = 65536
_LIMITED: Final = ("MAXLEN", "~", 4096)
_AT_ONCE: Final = 100
_MOST_PENDING: Final = 10_000
_BLOCK_MS: Final = 2000
# A server that is well answers within the time it was asked to block.
READER_SILENCE_SECONDS: Final = 3.0
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

StreamId = tuple[int, int]


class SharedCursor:
    """What the workers of a machine know together about invalidations: how far the
    stream has been applied, and whose invalidation the store has not been told yet.

    Make it before the fork.
    """

    def __init__(self) -> None:
        self.machine = os.urandom(8)
        self._memory = mmap.mmap(-1, _SLOTS * 8 + mmap.PAGESIZE)
        self._pending_until = memoryview(self._memory)[: _SLOTS * 8].cast("d")
        self._cursor = memoryview(self._memory)[_SLOTS * 8 :].cast("Q")
        self._lock = Mutexes(1)

    def set_pending(self, owner: Owner, until: float) -> None:
        """The store may hold pages of this owner that it ought not to, until then; 0
        once it has been told.
        """
        self._pending_until[hash(owner) % _SLOTS] = until

    def is_pending(self, owner: Owner, now: float) -> bool:
        """Whether the store's pages of this owner must not be used."""
        return now < self._pending_until[hash(owner) % _SLOTS]

    @property
    def known(self) -> bool:
        """Whether this machine follows the stream at all yet."""
        return bool(self._cursor[2])

    @property
    def position(self) -> StreamId:
        """The id that was applied last."""
        with self._locked():
            return self._cursor[0], self._cursor[1]

    def begin_at(self, newest: StreamId) -> None:
        """Begin there if this machine has not begun; begin anew at the start if the
        stream ends before what was applied already: it is another one, of a server
        that was emptied, or of a new primary whose clock is behind.
        """
        with self._locked():
            if not self._cursor[2]:
                self._cursor[0], self._cursor[1] = newest
                self._cursor[2] = 1
            elif newest < (self._cursor[0], self._cursor[1]):
                self._cursor[0], self._cursor[1] = 0, 0

    def advance(self, to: StreamId, apply: Callable[[], object]) -> None:
        """Apply an entry and move on to it, unless another worker has."""
        with self._locked():
            if (self._cursor[0], self._cursor[1]) < to:
                apply()
                self._cursor[0], self._cursor[1] = to

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire(0)
        try:
            yield
        finally:
            self._lock.release(0)


class Invalidations:
    """Sends this worker's invalidations and applies those of other machines.

    What cannot be told to the store waits, at most 10 000 owners, and is told before
    the store is used again. Until then, and until the stream has been found at the
    start, this machine takes no page of that owner from the store; ``lifetime`` is how
    many seconds a page can live there.

    Make it inside the event loop; `start` before the first page is taken.
    """

    def __init__(
        self,
        secrets: Secrets,
        epochs: Epochs,
        shared: SharedCursor,
        observer: StoreObserver,
        *,
        lifetime: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._epochs = epochs
        self._shared = shared
        self._observer = observer
        self._lifetime = lifetime
        self._clock = clock
        self._pending: dict[Owner, tuple[int, bool]] = {}
        self._numbers = count()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, client: StoreClient, open_reader: Callable[[], Redis]) -> None:
        """Begin to send and to read."""
        self._tasks = [
            asyncio.create_task(self._send_for_ever(client)),
            asyncio.create_task(self._read_for_ever(open_reader)),
        ]

    async def close(self) -> None:
        """Stop sending and reading."""
        await end(*self._tasks)

    def is_pending(self, owner: Owner) -> bool:
        """Whether the store's pages of this owner must not be used now."""
        return not self._shared.known or self._shared.is_pending(owner, self._clock())

    def add(self, owner: Owner, kept_here: int) -> None:
        """Have everything of this owner voided in the store and elsewhere soon.

        Elsewhere only if this process has ``kept_here`` any of its pages, or the store
        has: a made-up token that the platform refuses concerns nobody.
        """
        self._shared.set_pending(owner, self._clock() + self._lifetime)
        self._pending[owner] = next(self._numbers), bool(kept_here)
        if len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self._observer.drops_waiting(len(self._pending))
        self._wake.set()

    async def send(self, client: StoreClient) -> None:
        """Tell the store all that is pending; raises `StoreUnavailable`."""
        while self._pending:
            some = dict(islice(self._pending.items(), _AT_ONCE))
            keys = [owner_key(self._secrets.owner_tag(owner)) for owner in some]
            had = await _together(client, [("UNLINK", key) for key in keys])
            told = [
                self._secrets.seal_owner(self._shared.machine, owner)
                for (owner, (_, kept)), removed in zip(some.items(), had, strict=True)
                if kept or removed
            ]
            await _together(
                client,
                [("XADD", INVALIDATIONS, *_LIMITED, "*", "o", owner) for owner in told],
            )
            for _ in told:
                self._observer.dropped("here")
            for owner, refusal in some.items():
                if self._pending.get(owner) == refusal:  # not refused again meanwhile
                    del self._pending[owner]
                    self._shared.set_pending(owner, 0.0)
            self._observer.drops_waiting(len(self._pending))

    async def _send_for_ever(self, client: StoreClient) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if client.state is not State.CLOSED:
                continue  # it is told before it is used again
            try:
                await self.send(client)
            except StoreUnavailable as error:
                client.open(f"an invalidation could not be told ({error})")

    async def _read_for_ever(self, open_reader: Callable[[], Redis]) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            reader = open_reader()
            try:
                self._shared.begin_at(await _newest(reader))
                while True:
                    await self._read(reader)
                    pause = _SHORTEST_PAUSE
            except Exception as error:  # noqa: BLE001 - a broken answer raises anything
                _log.debug(
                    "The stream of invalidations broke: %s", type(error).__name__
                )
            finally:
                await close_client(reader)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _read(self, reader: Redis) -> None:
        time_, number = self._shared.position
        answer: Any = await reader.xread(
            {INVALIDATIONS: f"{time_}-{number}"}, count=_AT_ONCE, block=_BLOCK_MS
        )
        for _, entries in answer or ():
            for entry_id, fields in entries:
                self._apply(_stream_id(entry_id), fields.get(b"o", b""))

    def _apply(self, entry_id: StreamId, sealed: bytes) -> None:
        def apply() -> None:
            try:
                sender, owner = self._secrets.open_owner(sealed)
            except Unopened:
                self._observer.store_unopened()
                return
            if sender != self._shared.machine:
                self._epochs.advance(owner)
                self._observer.dropped("elsewhere")

        self._shared.advance(entry_id, apply)


async def _together(client: StoreClient, commands: list[tuple[Any, ...]]) -> list[Any]:
    """The answers; begun in one turn of the loop, the calls go as one pipeline."""
    answers = await asyncio.gather(
        *(client.call_always(*command) for command in commands),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


async def _newest(reader: Redis) -> StreamId:
    entries: Any = await reader.xrevrange(INVALIDATIONS, count=1)
    return _stream_id(entries[0][0]) if entries else (0, 0)


def _stream_id(text: bytes) -> StreamId:
    time_, _, number = text.partition(b"-")
    return int(time_), int(number)
