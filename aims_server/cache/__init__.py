"""Kept answers: per-worker store, single flight, freshness, owners.

`AnswerCache` reads through `ReadThrough` (HIT, MISS, STALE, PENDING) over a
`MemoryStore`.
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
