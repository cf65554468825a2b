"""Processes: the start, the supervising parent, and one worker.

`serve` binds the sockets and runs the supervisor; a worker builds its objects (`app`)
and drains on request. Only this package forks, receives signals or speaks to systemd.
"""

from .server import ServerError, serve

__all__ = [
    "ServerError",
    "serve",
]
