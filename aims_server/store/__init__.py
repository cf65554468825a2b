"""A Valkey or Redis server that machines share: sealed pages, leases, invalidations and
limits. It can read none of it, and may fail or be gone at any time.

Imported only where STORE_URL is set: redis-py and cryptography cost a start 45 ms.
"""

from .connection import StoreError
from .inspection import inspect
from .store import MachineStore, Store

__all__ = ["MachineStore", "Store", "StoreError", "inspect"]
