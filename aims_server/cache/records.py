"""Owns the layout of the directory of shared pages: sets of sixteen records, with the
keys of a set together in front of them.
"""

import struct
from typing import Final, NamedTuple

__all__ = [
    "KEYS",
    "KEY_BYTES",
    "LEASE",
    "LEASE_AT",
    "PAGE",
    "RECORD",
    "SET_BYTES",
    "WAYS",
    "Record",
    "record_at",
]

WAYS: Final = 16
KEY_BYTES: Final = 16
KEYS: Final = struct.Struct(f"{KEY_BYTES}s" * WAYS)
# Native and aligned: each number is stored by one instruction, which no death can cut.
RECORD: Final = struct.Struct("@QQddd16sQdQ")
PAGE: Final = struct.Struct("@QQddd16s")
"""The fields of a record up to its digest."""
LEASE: Final = struct.Struct("@QdQ")
LEASE_AT: Final = RECORD.size - LEASE.size
SET_BYTES: Final = WAYS * (KEY_BYTES + RECORD.size)


class Record(NamedTuple):
    """Where a page is and how long it lives; who fills it. Moments are seconds of the
    machine's monotonic clock.
    """

    position: int
    length: int
    made_at: float
    fresh_until: float
    servable_until: float
    digest: bytes
    lease_number: int
    lease_end: float
    lease_epoch: int


def record_at(first: int, way: int) -> int:
    """Where a record of the set that begins at ``first`` is."""
    return first + WAYS * KEY_BYTES + way * RECORD.size
