"""Builds a worker's cache: its own memory, the machine's memory, and the store that
machines share.
"""

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..cache import (
    AnswerCache,
    Codec,
    FlightCancelled,
    Level,
    Lifetimes,
    MachinePages,
    MemoryStore,
    ReadThrough,
    Served,
    SharedLog,
    Sharing,
    SingleFlight,
)
from ..config import Settings
from ..deadline import Clock, Deadline
from ..errors import ApiError, TokenRefused
from ..logs import RateLimitedLog
from ..metrics import Metrics, SharingMetrics
from ..primitives import Owner
from ..web import pack_answer, unpack_answer
from .machine import MEGABYTE, Machine

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["KeptPages", "open_store"]

_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")

_ANSWERS: Final = Codec(pack_answer, unpack_answer, lambda answer: answer.size)
_PARTS: Final = Codec[bytes](bytes, bytes, sys.getsizeof)
# The part of CACHE_MAX_MB for copies of what the machine's memory has (docs/speed.rst).
_COPIED_BYTES: Final = 2 * MEGABYTE


class KeptPages:
    """One worker's kept answers and parts: their memory, and the flights that fill it.

    ``shared`` is the store of all machines, if there is one. In the ``shared_log`` the
    workers of this machine tell each other what they gather; None if none waits for
    another's page.
    """

    def __init__(
        self,
        settings: Settings,
        machine: Machine,
        shared: "Store | None",
        metrics: Metrics,
        clock: Clock,
        wall: Clock,
    ) -> None:
        max_bytes = settings.cache_max_mb * MEGABYTE
        copied_bytes = min(_COPIED_BYTES, max_bytes // 2)
        self.memory: MemoryStore[Any] = MemoryStore(
            max_bytes - copied_bytes, copied_bytes, epochs=machine.epochs, clock=clock
        )
        # An asker leaves at its own deadline; the flight goes on until this one.
        self._work_seconds = settings.gather_timeout_seconds
        self._levels = _levels_of(settings, machine, shared)
        self.shared_log = _shared_log_of(settings, machine, clock)
        self._sharing = metrics.sharing
        self._on_refusal = shared.invalidations.add if shared else _ignore_refusal
        self._clock = clock
        self.flights: list[SingleFlight[Any]] = []
        # Other machines, and the workers before a reload, may have made their pages
        # with other settings.
        platform = settings.external_api_base
        target = settings.attendance_target_percent
        self.answer_cache = AnswerCache(
            self._read_through(_ANSWERS, f"{platform} {target} "),
            self._read_through(_PARTS, f"{platform} "),
            Lifetimes(
                fresh=settings.cache_ttl_seconds,
                stale=settings.cache_stale_seconds,
                floor=settings.cache_refresh_floor_seconds,
            ),
            metrics.lookup,
            clock=clock,
            wall=wall,
        )

    async def close(self) -> None:
        """Cancel all fills, so that other workers wait for none of them."""
        for flights in self.flights:
            await flights.close()

    def _read_through(self, codec: Codec[Kept], made_with: str) -> ReadThrough[Kept]:
        clock = self._clock
        flights: SingleFlight[Served[Kept]] = SingleFlight(
            work_seconds=self._work_seconds, clock=clock
        )
        self.flights.append(flights)
        return ReadThrough(
            self.memory,
            flights,
            loader=Sharing(
                self._levels, codec, self._sharing, made_with=made_with, clock=clock
            ),
            is_refusal=lambda error: isinstance(error, TokenRefused),
            on_refusal=self._on_refusal,
            on_foreign=_log_foreign_entry,
            on_refresh_error=_log_refresh_error,
            clock=clock,
        )


def open_store(
    settings: Settings,
    machine: Machine,
    observer: SharingMetrics,
    log: RateLimitedLog,
    clock: Clock,
    wall: Clock,
) -> "Store | None":
    """The store that machines share, if the settings name one."""
    if machine.store is None:
        return None
    from ..store import Store

    return Store(
        machine.store,
        machine.epochs,
        observer,
        patience=settings.store_timeout_ms / 1000,
        lifetime=_lifetime(settings),
        clock=clock,
        wall=wall,
        log=log,
    )


def _levels_of(
    settings: Settings, machine: Machine, shared: "Store | None"
) -> list[Level]:
    """The places beyond this worker where pages are looked for, in this order."""
    levels: list[Level] = []
    if not _lifetime(settings):
        return levels  # nothing is kept: who waited for a page would have to fetch it
    if machine.pages is not None:
        levels.append(
            Level(
                "machine",
                MachinePages(machine.pages),
                # As long as the flight may take: a worker's death ends its leases.
                lease_seconds=Deadline.remaining,
                first_pause=0.005,
                longest_pause=0.05,
                find=machine.pages.find,
                keep=machine.pages.keep,
            )
        )
    if shared is not None:
        # If the machine with the lease dies or loses the store, others wait for this
        # long. With a lease as long as a request they would miss their deadlines.
        lease_seconds = settings.request_timeout_seconds / 4
        levels.append(
            Level(
                "store",
                shared.pages,
                lease_seconds=lambda _: lease_seconds,
                first_pause=0.01,
                longest_pause=0.08,
            )
        )
    return levels


def _shared_log_of(
    settings: Settings, machine: Machine, clock: Clock
) -> SharedLog | None:
    if machine.pages is None or not _lifetime(settings):
        return None
    # A gathering of that age has ended.
    seconds = settings.gather_timeout_seconds
    return SharedLog(machine.pages, seconds=seconds, clock=clock)


def _lifetime(settings: Settings) -> float:
    """The seconds for which a page may be kept."""
    return settings.cache_ttl_seconds + settings.cache_stale_seconds


def _ignore_refusal(owner: Owner, kept: bool) -> None:
    """Without a store no other machine has to know of a refusal."""


def _log_foreign_entry() -> None:
    _log.error("A kept answer did not belong to its asker; it was not served")


def _log_refresh_error(error: Exception) -> None:
    """Log a fault of ours; expected failures show in the metrics of calls."""
    if not isinstance(error, ApiError | TimeoutError | FlightCancelled):
        _log.error("Unexpected failure behind a kept answer", exc_info=error)
