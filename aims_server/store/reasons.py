"""Says in words for an operator why the store did not answer."""

import os
import re
import socket
import ssl
from typing import Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

__all__ = ["reason_in", "reason_of"]

_FORBIDDEN: Final = "its user may not do this (conf/valkey-users.acl has its rights)"
_READ_ONLY: Final = "it is a replica and takes no writes"
_FULL: Final = "it is full and may forget nothing (maxmemory-policy)"
_CLUSTER: Final = "it is part of a cluster, which is not supported"
_REASONS: Final[dict[type[Exception], str]] = {
    AuthenticationError: "its user or password is not accepted",
    MasterNotFoundError: "no sentinel answers that knows the primary",
    InvalidResponse: "what answers there is no store",
    NoPermissionError: _FORBIDDEN,
    ReadOnlyError: _READ_ONLY,
    OutOfMemoryError: _FULL,
    BusyLoadingError: "it is reading its data",
    MasterDownError: "it is a replica that has lost its primary",
    ClusterDownError: _CLUSTER,
    MovedError: _CLUSTER,
    TimeoutError: "no answer in time",
}
# The first words of errors for which redis-py has no class, or which a script gives.
_BEGINNINGS: Final = {
    "(ERR )?(ACL failure in script|The user executing the script can't)": _FORBIDDEN,
    "(?i)(ERR )?unknown command .?sentinel": "what answers there is no sentinel",
    "(?i)(ERR )?unknown (Redis )?command": (
        "it has no command of a name that is needed (conf/valkey-users.acl has them)"
    ),
    "max number of clients reached": "it takes no more clients (maxclients)",
}
_WORDS: Final = {
    "DB": "it has no database of that number",
    "READONLY": _READ_ONLY,
    "OOM": _FULL,
}


def reason_of(error: Exception) -> str:
    """The reason of an error: for the server's word, or the system's name of its cause;
    never the server's text, which may hold keys.

    >>> reason_of(ResponseError("READONLY You can't write against a read only replica"))
    'it is a replica and takes no writes'
    >>> reason_of(ResponseError("unknown command 'EVAL', with args beginning with"))
    'it has no command of a name that is needed (conf/valkey-users.acl has them)'
    """
    word = str(error).partition(" ")[0]
    for beginning, reason in _BEGINNINGS.items():
        if re.match(beginning, str(error)):
            return reason
    if isinstance(error, ResponseError) and word.isalpha() and word.isupper():
        return _WORDS.get(word, word)
    cause = error.__context__ or error  # redis-py's own hides the system's
    for kind, reason in _REASONS.items():
        if isinstance(error, kind) or isinstance(cause, kind):
            return reason
    if isinstance(cause, OSError):
        return _words_of(cause)
    if isinstance(error, ConnectionError):
        return "it closed the connection"
    return type(cause).__name__


def reason_in(text: bytes) -> str:
    """The same for an error's text that a script passes on."""
    return reason_of(ResponseError(text.decode(errors="replace")))


def _words_of(cause: OSError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS ({cause.reason})"
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror)
    return os.strerror(cause.errno) if cause.errno else type(cause).__name__
