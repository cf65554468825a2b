"""A token-bucket rate limiter (GCRA), exact over all workers of a machine.

Knows keys and rates. `web.quotas` says what is limited and what a client is told.
"""

from .limiter import Decision, RateLimiter
from .pending import Pending
from .table import BucketTable

__all__ = [
    "BucketTable",
    "Decision",
    "Pending",
    "RateLimiter",
]
