"""`Retry-After` as seconds (RFC 9110 10.2.3): a number, or a date."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ...deadline import Clock

__all__ = ["retry_after_seconds"]


def retry_after_seconds(
    value: bytes, date: bytes | None = None, *, clock: Clock = time.time
) -> float | None:
    """Seconds from now, at least 0; None for what is neither number nor date.

    A date is compared with the answer's own ``Date``, if it has one, so that no clock
    need be right.

    >>> retry_after_seconds(b"120")
    120.0
    >>> ten = b"Wed, 25 Nov 2026 10:00:00 GMT"
    >>> retry_after_seconds(b"Wed, 25 Nov 2026 10:01:00 GMT", ten)
    60.0
    """
    text = value.strip()
    if text.isdigit():  # of ASCII: these are bytes
        return float(text)
    moment = _moment(text)
    if moment is None:
        return None
    now = _moment(date or b"")
    return max(0.0, moment - (clock() if now is None else now))


def _moment(text: bytes) -> float | None:
    """The Unix time of a date in any of HTTP's three forms."""
    try:
        moment: datetime = parsedate_to_datetime(text.decode("ascii"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
