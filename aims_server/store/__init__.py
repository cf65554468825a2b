"""A Valkey or Redis server that machines share: sealed pages, leases, invalidations and
limits. The server cannot read the pages, and may fail at any time.

Imported only if STORE_URL is set: redis-py and cryptography cost a start 45 ms.
"""

from .connection import StoreError
from .inspection import inspect
from .store import MachineStore, Store

__all__ = ["MachineStore", "Store", "StoreError", "inspect"]
