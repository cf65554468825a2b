"""Logs failed calls: endpoint, cause, duration, host and proxy."""

import logging
from urllib.parse import urlsplit

from ...errors import FailureCause, UpstreamError
from ...logs import RateLimitedLog

__all__ = ["FailureLog"]


class FailureLog:
    """Logs why calls fail: the first failure of each endpoint and cause, then counts.

    >>> import sys
    >>> from ...errors import UpstreamDropped
    >>> logger = logging.Logger("doctest")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> log = FailureLog("https://platform.example/api", RateLimitedLog(logger))
    >>> fault = UpstreamDropped()
    >>> fault.cause = FailureCause("refused", "Connection refused")
    >>> log.record("quizzes", fault, 0.002)
    quizzes failed on platform.example after 0.002 s: refused (Connection refused)
    """

    def __init__(self, base_url: str, log: RateLimitedLog, *, proxy: str = "") -> None:
        self._host = urlsplit(base_url).hostname or ""
        by = urlsplit(proxy).hostname
        self._where = f"{self._host} through the proxy {by}" if by else self._host
        self._log = log

    def record(self, endpoint: str, fault: UpstreamError, seconds: float) -> None:
        """Log a call that failed after ``seconds``."""
        # A whole answer may have arrived: the text of a `BadShape` quotes no value.
        unusable = FailureCause("unusable_answer", str(fault.__cause__ or ""))
        cause = fault.cause or unusable
        detail = f" ({cause.detail})" if cause.detail else ""
        self._log.event(
            (endpoint, cause.kind),
            logging.WARNING,
            f"{endpoint} failed on {self._where} after {seconds:.3f} s:"
            f" {cause.kind}{detail}",
            endpoint=endpoint,
            cause=cause.kind,
            detail=cause.detail,
            host=self._host,
            seconds=round(seconds, 3),
        )
