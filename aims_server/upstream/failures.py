"""Which of our errors a call is that curl could not make."""

from typing import Final

import pycurl

from ..errors import (
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from .causes import E_TOO_LARGE
from .transfer import CurlFailure

__all__ = ["error_of"]

_UNUSABLE: Final = frozenset(
    {
        pycurl.E_WRITE_ERROR,  # our own refusal: oversized body, malformed header
        pycurl.E_FTP_WEIRD_SERVER_REPLY,  # of old for any server that makes no sense
        pycurl.E_BAD_CONTENT_ENCODING,
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_HTTP2,
        E_TOO_LARGE,
    }
)
_NO_CONNECTION: Final = frozenset(
    {
        "name_not_found",
        "proxy_name_not_found",
        "proxy",
        "refused",
        "unreachable",
        "certificate",
        "certificate_authorities",
        "tls",
        "dropped_while_connecting",
    }
)
_NO_CONNECTION_IN_TIME: Final = frozenset(
    {"timeout_name", "timeout_connect", "timeout_tls"}
)


def error_of(
    failure: CurlFailure, seconds: float, *, connect_seconds: float
) -> UpstreamError:
    """Our error for a call that had so many seconds, with its cause; no call has more
    than ``connect_seconds`` for its connection.
    """
    kind = failure.cause.kind
    error: UpstreamError
    if kind in _NO_CONNECTION:
        error = UpstreamUnreachable()
    elif failure.error == pycurl.E_OPERATION_TIMEDOUT:
        # In less time than we give to connecting, a far side that is there may be late.
        waited = kind in _NO_CONNECTION_IN_TIME and seconds > connect_seconds
        error = UpstreamUnreachable() if waited else UpstreamTimeout()
    elif failure.error in _UNUSABLE:
        error = UpstreamError()
    else:
        error = UpstreamDropped()
    error.cause = failure.cause
    return error
