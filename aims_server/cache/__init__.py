"""Kept answers: memory of each worker and the machine, single flight, freshness.

`AnswerCache` is what the service uses. It reads through `ReadThrough` (HIT, MISS,
STALE, PENDING), which keeps entries in a `MemoryStore` and, by `Sharing`, beyond this
process.
"""

from .answer_cache import AnswerCache
from .levels import Found, Lease, Level, Page, Taken, Want
from .lifetimes import Lifetimes, freshness_lines
from .loading import Outcome, Served
from .readthrough import ReadThrough
from .shared_log import SharedLog
from .shared_memory import SharedMemoryCache
from .sharing import Codec, MachinePages, Sharing
from .singleflight import FlightCancelled, SingleFlight
from .store import Entry, MemoryStore

__all__ = [
    "AnswerCache",
    "Codec",
    "Entry",
    "FlightCancelled",
    "Found",
    "Lease",
    "Level",
    "Lifetimes",
    "MachinePages",
    "MemoryStore",
    "Outcome",
    "Page",
    "ReadThrough",
    "Served",
    "SharedLog",
    "SharedMemoryCache",
    "Sharing",
    "SingleFlight",
    "Taken",
    "Want",
    "freshness_lines",
]
