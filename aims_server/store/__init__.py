"""A Valkey or Redis server that machines share: sealed pages, leases, invalidations and
limits. It can read none of it, and may be ill or gone at any time.

Imported only where STORE_URL is set: redis-py and cryptography cost a start 45 ms.
"""

from .client import StoreObserver
from .invalidation import SharedCursor
from .pages import StorePages
from .sealing import Secrets

__all__ = ["Secrets", "SharedCursor", "StoreObserver", "StorePages"]
