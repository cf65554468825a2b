"""How many files a worker may have open, and what that is enough for."""

import contextlib
import resource
from typing import Final

__all__ = ["lack_of_files", "max_connections", "raise_file_limit", "warning_of_files"]

# A call to the platform has its connection, and while it is hedged a second one.
_FILES_PER_CALL: Final = 2
# A worker at rest has 15, with a store 18; the others are for DNS and what is closing.
_SPARE_FILES: Final = 64
_FEWEST_CONNECTIONS: Final = 16
_FEW_CONNECTIONS: Final = 1000
_MOST_CONNECTIONS: Final = 10_000
_REMEDY: Final = "raise LimitNOFILE= or `ulimit -n`, or lower MAX_CONCURRENT_REQUESTS"


def raise_file_limit() -> None:
    """Take all that the system allows, as each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_connections(calls: int) -> int:
    """How many clients a worker has files for, beside ``calls`` to the platform: it
    makes all of the machine's calls while the other workers make none.
    """
    return min(_MOST_CONNECTIONS, _files() - _files_beside_clients(calls))


def lack_of_files(calls: int) -> str | None:
    """Why so many calls cannot be made under the limit, or None.

    Without files a call fails as if the platform could not be reached, and opens every
    circuit: it is better not to start.
    """
    needed = _files_beside_clients(calls) + _FEWEST_CONNECTIONS
    if _files() >= needed:
        return None
    return (
        f"open files are limited to {_files()}, and {needed} are needed for"
        f" MAX_CONCURRENT_REQUESTS={calls} ({_REMEDY})"
    )


def warning_of_files(calls: int) -> str | None:
    """What a limit means that leaves few connections, or None."""
    connections = max_connections(calls)
    if connections >= _FEW_CONNECTIONS:
        return None
    return (
        f"Open files are limited to {_files()}: each worker serves at most"
        f" {connections} connections at once, and refuses others with 503 ({_REMEDY})"
    )


def _files() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files


def _files_beside_clients(calls: int) -> int:
    return _FILES_PER_CALL * calls + _SPARE_FILES
