"""A token-bucket rate limiter (GCRA) exact over all workers of a machine.

Knows keys and rates; what is limited and what a client is told stands in `web.quotas`.
"""

from .limiter import Decision, RateLimiter
from .table import BucketTable

__all__ = [
    "BucketTable",
    "Decision",
    "RateLimiter",
]
