"""Owns invalidations: a refusal that voids an owner's pages here also voids them in the
store and on every machine that shares it.

Uses a stream, since pub/sub loses what is published while a connection is down. Of 800
invalidations with the reader's connection cut four times none was lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from ..deadline import Clock
from ..primitives import CircuitState, Epochs, Owner, watched_task
from .client import StoreClient, StoreObserver, StoreUnavailable
from .connection import end
from .cursor import SharedCursor, StreamId
from .reasons import reason_of
from .redis_clients import close_client
from .scripts import VOID
from .sealing import Secrets, Unopened

__all__ = ["Invalidations"]

_log = logging.getLogger(__name__)

_LIMITED: Final = ("MAXLEN", "~", 4096)
_AT_ONCE: Final = 100
_MOST_PENDING: Final = 10_000
_BLOCK_MS: Final = 2000
# A healthy server answers within the time for which it was asked to block.
_SILENCE_SECONDS: Final = 3.0
_SHORTEST_PAUSE: Final = 0.1
_WARNED_PAUSE: Final = 0.8  # once, after 0.7 s of pauses
_LONGEST_PAUSE: Final = 2.0


class _Refusal(msgspec.Struct, eq=False):
    """A refusal that the store has not been told of; another one of the same owner is
    another object.
    """

    concerns_others: bool


class Invalidations:
    """Sends this worker's invalidations and applies those of other machines.

    Invalidations that cannot be sent wait, for at most 10 000 owners, and are sent
    before the store is used again. Until then this machine takes no page of these
    owners from the store, and none at all until the stream was found at the start.
    ``lifetime`` is the longest time that a page lives there, in seconds.

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
        self.machine = shared.machine.hex()
        self._secrets = secrets
        self._stream = secrets.stream_key
        self._epochs = epochs
        self._shared = shared
        self._observer = observer
        self._lifetime = lifetime
        self._clock = clock
        self._pending: dict[Owner, _Refusal] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, client: StoreClient, open_reader: Callable[..., Redis]) -> None:
        """Begin to send and to read. ``open_reader`` gets the ``silence`` in seconds
        after which it has to give its connection up.
        """
        self._tasks = [
            watched_task(self._send_for_ever(client)),
            watched_task(self._read_for_ever(client, open_reader)),
        ]

    async def close(self) -> None:
        """Stop sending and reading."""
        await end(*self._tasks)

    def is_pending(self, owner: Owner) -> bool:
        """Whether the store's pages of this owner must not be used now."""
        return not self._shared.known or self._shared.is_pending(owner, self._clock())

    def add(self, owner: Owner, kept: bool) -> None:
        """Void everything of this owner in the store soon, and on other machines.

        Other machines are told only if this machine has ``kept`` a page of the owner,
        the store has one, or another machine is filling one: an invented token concerns
        nobody. Invented tokens fill at most half of the places, so that they displace
        no token that was accepted once.
        """
        now = self._clock()
        before = self._pending.get(owner)
        if before is None:
            self._shared.add_pending(owner, now, until=now + self._lifetime)
            if not kept and len(self._pending) >= _MOST_PENDING // 2:
                return
        kept = kept or (before is not None and before.concerns_others)
        self._pending[owner] = _Refusal(kept)
        if len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self._observer.drops_waiting(len(self._pending))
        self._wake.set()

    async def catch_up(self, client: StoreClient) -> None:
        """Send everything pending, before the store is used again. Raises
        `StoreUnavailable`, also if the stream was never found.
        """
        if not self._shared.known:
            raise StoreUnavailable
        await self.send(client)

    async def send(self, client: StoreClient) -> None:
        """Send everything pending; raises `StoreUnavailable`."""
        while self._pending:
            some = dict(islice(self._pending.items(), _AT_ONCE))
            keys = [self._secrets.owner_key(owner) for owner in some]
            concerned = await _together(
                client, [("EVAL", VOID, 1, key, self.machine) for key in keys]
            )
            for refusal, others in zip(some.values(), concerned, strict=True):
                # Noted at once: if this is cut short, the pages are deleted already.
                refusal.concerns_others |= bool(others)
            sealed = [
                self._secrets.seal_owner(self._shared.machine, owner)
                for owner, refusal in some.items()
                if refusal.concerns_others
            ]
            await _together(
                client,
                [
                    ("XADD", self._stream, *_LIMITED, "*", "o", entry)
                    for entry in sealed
                ],
            )
            for _ in sealed:
                self._observer.dropped("here")
            for owner, refusal in some.items():
                if self._pending.get(owner) is refusal:  # not refused again meanwhile
                    del self._pending[owner]
                    self._shared.remove_pending(owner)
            self._observer.drops_waiting(len(self._pending))

    async def _send_for_ever(self, client: StoreClient) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if client.state is not CircuitState.CLOSED:
                continue  # it is told before it is used again
            try:
                await self.send(client)
            except StoreUnavailable as error:
                client.open_circuit(f"an invalidation could not be sent ({error})")

    async def _read_for_ever(
        self, client: StoreClient, open_reader: Callable[..., Redis]
    ) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            reader = open_reader(silence=_SILENCE_SECONDS)
            try:
                before = self._shared.position  # other workers move on meanwhile
                self._shared.begin_at(await self._newest(reader), before)
                while True:
                    await self._read(reader)
                    if pause > _WARNED_PAUSE:
                        _log.info("Tokens refused on other machines are known again")
                    pause = _SHORTEST_PAUSE
            except Exception as error:  # noqa: BLE001 - a broken answer raises anything
                if not self._shared.known:
                    client.open_circuit(
                        f"its stream cannot be read: {reason_of(error)}"
                    )
                if pause == _WARNED_PAUSE:
                    _log.warning(
                        "Tokens refused on other machines are not known here: the"
                        " store at %s cannot be read: %s. They open what is kept here"
                        " until it expires; tried again every %.0f s",
                        client.where,
                        reason_of(error),
                        _LONGEST_PAUSE,
                    )
            finally:
                await close_client(reader)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _newest(self, reader: Redis) -> StreamId:
        entries: Any = await reader.xrevrange(self._stream, count=1)
        return _stream_id(entries[0][0]) if entries else (0, 0)

    async def _read(self, reader: Redis) -> None:
        time_, number = self._shared.position
        answer: Any = await reader.xread(
            {self._stream: f"{time_}-{number}"}, count=_AT_ONCE, block=_BLOCK_MS
        )
        for _, entries in answer:
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
                self._epochs.end(owner)
                self._observer.dropped("elsewhere")

        self._shared.advance(entry_id, apply)


async def _together(client: StoreClient, commands: list[tuple[Any, ...]]) -> list[Any]:
    """The answers to all commands, which go as one pipeline."""
    answers = await asyncio.gather(
        *(client.call_always(*command) for command in commands),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _stream_id(text: bytes) -> StreamId:
    time_, _, number = text.partition(b"-")
    return int(time_), int(number)
