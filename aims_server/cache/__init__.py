"""Kept answers: per-worker store, single flight, freshness, and who may have them.

`AnswerCache` reads through `ReadThrough` (HIT, MISS, STALE, PENDING) over a `Store`.
"""

from .answer_cache import AnswerCache, Lifetimes
from .freshness import freshness_headers
from .readthrough import ReadThrough, Served
from .singleflight import FlightCancelled, SingleFlight
from .store import Entry, MemoryStore

__all__ = [
    "AnswerCache",
    "Entry",
    "FlightCancelled",
    "Lifetimes",
    "MemoryStore",
    "ReadThrough",
    "Served",
    "SingleFlight",
    "freshness_headers",
]
