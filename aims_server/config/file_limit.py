"""Checks the limit of open files, and how many connections it allows."""

import contextlib
import resource
from typing import Final

from .faults import SettingsError

__all__ = ["check_file_limit", "max_connections"]

# A call to the platform has its connection, and while it is hedged a second one.
_FILES_PER_CALL: Final = 2
# An idle worker has 15, with a store 18; the others are for DNS and closing
# connections.
_SPARE_FILES: Final = 64
_FEWEST_CONNECTIONS: Final = 16
_FEW_CONNECTIONS: Final = 1000
_MOST_CONNECTIONS: Final = 10_000
_REMEDY: Final = "raise LimitNOFILE= or `ulimit -n`, or lower MAX_CONCURRENT_REQUESTS"


def check_file_limit(calls: int) -> tuple[str, ...]:
    """Raise the limit as far as the system allows, since each connection is an open
    file. Returns a warning if few connections are possible beside so many ``calls``.

    Raises SettingsError if so many calls cannot be made: without files calls would fail
    as if the platform were unreachable, and open every breaker.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files, needed = _files(), _files_beside_clients(calls) + _FEWEST_CONNECTIONS
    if files < needed:
        fault = (
            f"open files are limited to {files}, and {needed} are needed for"
            f" MAX_CONCURRENT_REQUESTS={calls} ({_REMEDY})"
        )
        raise SettingsError((fault,))
    connections = max_connections(calls)
    if connections >= _FEW_CONNECTIONS:
        return ()
    return (
        f"Open files are limited to {files}: each worker serves at most"
        f" {connections} connections at once, and refuses others with 503 ({_REMEDY})",
    )


def max_connections(calls: int) -> int:
    """The clients for whom a worker has files, beside ``calls`` to the platform: it may
    make all of the machine's calls while the other workers make none.
    """
    return min(_MOST_CONNECTIONS, _files() - _files_beside_clients(calls))


def _files() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files


def _files_beside_clients(calls: int) -> int:
    return _FILES_PER_CALL * calls + _SPARE_FILES
