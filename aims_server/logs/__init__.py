"""Log lines, JSON or text: unforgeable, bounded, and free of secrets."""

from .handlers import AccessLog, configure_logging, current_request_id

__all__ = [
    "AccessLog",
    "configure_logging",
    "current_request_id",
]
