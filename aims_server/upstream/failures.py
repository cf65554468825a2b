"""Which of our errors a call is that curl could not make, by the kind of its cause."""

from typing import Final

from ..errors import (
    FailureCause,
    UpstreamDropped,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)

__all__ = ["error_of"]

# Every other kind is an answer that cannot be used.
_ERRORS: Final[dict[str, type[UpstreamError]]] = {
    "name_not_found": UpstreamUnreachable,
    "proxy_name_not_found": UpstreamUnreachable,
    "proxy": UpstreamUnreachable,
    "refused": UpstreamUnreachable,
    "unreachable": UpstreamUnreachable,
    "certificate": UpstreamUnreachable,
    "certificate_authorities": UpstreamUnreachable,
    "tls": UpstreamUnreachable,
    "dropped_while_connecting": UpstreamUnreachable,
    "timeout_name": UpstreamUnreachable,
    "timeout_connect": UpstreamUnreachable,
    "timeout_tls": UpstreamUnreachable,
    "timeout_first_byte": UpstreamTimeout,
    "timeout_in_body": UpstreamTimeout,
    "dropped_before_answer": UpstreamDropped,
    "dropped_in_body": UpstreamDropped,
    "http2_stream": UpstreamDropped,
}


def error_of(
    cause: FailureCause, seconds: float, *, connect_seconds: float
) -> UpstreamError:
    """Our error for a call that had so many seconds, with its cause; no call has more
    than ``connect_seconds`` for its connection.
    """
    kind = _ERRORS.get(cause.kind, UpstreamError)
    if cause.kind.startswith("timeout_") and seconds <= connect_seconds:
        # In less time than we give to connecting, a server that is up may be late.
        kind = UpstreamTimeout
    error = kind()
    error.cause = cause
    return error
