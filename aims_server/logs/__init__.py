"""Log lines, JSON or text: unforgeable, bounded, and free of secrets."""

from .access_line import AccessKind
from .access_log import AccessLog
from .handlers import (
    configure_logging,
    current_request_id,
    discard_buffered,
    flush_log,
)
from .incidents import IncidentLog
from .rate_limited import RateLimitedLog

__all__ = [
    "AccessKind",
    "AccessLog",
    "IncidentLog",
    "RateLimitedLog",
    "configure_logging",
    "current_request_id",
    "discard_buffered",
    "flush_log",
]
