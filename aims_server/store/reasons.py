"""Says in an operator's words why the store did not answer."""

import os
import socket
import ssl
from typing import Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
)

__all__ = ["reason_of"]

_REASONS: Final[dict[type[Exception], str]] = {
    AuthenticationError: "its user or password is not accepted",
    MasterNotFoundError: "no sentinel answers that knows the primary",
    InvalidResponse: "what answers there is no store",
    NoPermissionError: "its user may not do this (ACL)",
    TimeoutError: "no answer in time",
}


def reason_of(error: Exception) -> str:
    """What to tell of an error: the server's word for it, or its cause as the system
    names it; no text of the server's, which may hold keys.

    >>> reason_of(ResponseError("OOM command not allowed when used memory > maxmemory"))
    'OOM'
    """
    word = str(error).partition(" ")[0]
    if isinstance(error, ResponseError) and word.isalpha() and word.isupper():
        return "it has no database of that number" if word == "DB" else word
    cause = error.__context__ or error  # redis-py's own hides the system's
    for kind, reason in _REASONS.items():
        if isinstance(error, kind) or isinstance(cause, kind):
            return reason
    if isinstance(cause, OSError):
        return _words_of(cause)
    if isinstance(error, ConnectionError):
        return "it closed the connection"
    return type(cause).__name__


def _words_of(cause: OSError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS ({cause.reason})"
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror)
    return os.strerror(cause.errno) if cause.errno else type(cause).__name__
