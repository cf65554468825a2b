"""Log lines, JSON or text: unforgeable, bounded, and free of secrets."""

from .handlers import (
    AccessLog,
    configure_logging,
    current_request_id,
    discard_buffered,
    flush_log,
)

__all__ = [
    "AccessLog",
    "configure_logging",
    "current_request_id",
    "discard_buffered",
    "flush_log",
]
