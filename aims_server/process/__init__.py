"""Processes: the start, the supervising parent, and the workers.

`serve` binds the sockets and runs the supervisor. A worker builds its objects (`app`)
and drains on request. Only this package forks, receives signals or talks to systemd.
"""

from .server import ServerError, serve

__all__ = [
    "ServerError",
    "serve",
]
