"""What all workers of one machine share, in memory mapped before the fork."""

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..cache import SharedMemoryCache
from ..config import Settings
from ..deadline import Clock
from ..http_server import ConnectionCounts
from ..metrics import MetricsMemory
from ..primitives import Epochs
from ..ratelimit import BucketTable
from ..upstream import SlotPools

if TYPE_CHECKING:
    from ..store import MachineStore

__all__ = ["MEGABYTE", "Machine"]

MEGABYTE: Final = 1024 * 1024
# Four for each student whose pages have room, so that a set of them rarely overflows.
_EPOCHS_A_MEGABYTE: Final = 512


class Machine:
    """What all workers of one machine share; made once, before any fork.

    It outlives the workers and a reload: ``settings`` are those of the start. ``clock``
    gives monotonic seconds, ``clock_ns`` monotonic nanoseconds for the limits.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = time.monotonic,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.store = _machine_store(settings)
        # Machines that share a store agree on the keys of sessions and limits.
        self.secret = (
            self.store.secrets.session if self.store else secrets.token_bytes(32)
        )
        self.buckets = BucketTable(clock_ns=clock_ns)
        kept_megabytes = (
            settings.cache_shared_mb
            or settings.cache_max_mb * settings.effective_workers
        )
        self.epochs = Epochs(_EPOCHS_A_MEGABYTE * kept_megabytes)
        self.pages = (
            SharedMemoryCache(
                settings.cache_shared_mb * MEGABYTE, self.epochs, clock=clock
            )
            if settings.cache_shared_mb
            else None
        )
        self.connections = ConnectionCounts()
        self.slots = SlotPools()
        self.metrics = MetricsMemory()


def _machine_store(settings: Settings) -> "MachineStore | None":
    if settings.store_url is None or settings.store_secret is None:
        return None
    from ..store import MachineStore  # late: without a store a start need not pay 45 ms

    file = settings.store_ca_file
    ca_file = None if file is None else file.path
    return MachineStore(settings.store_url, settings.store_secret, ca_file=ca_file)
