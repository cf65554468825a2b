"""The other end of a client's connection."""

import socket
from typing import Any

from ..primitives import UNIX_PEER

__all__ = ["Peer"]


class Peer:
    """An address, in the form that Tornado expects of a connection's context.

    >>> str(Peer("203.0.113.7", same_machine=False))
    '203.0.113.7'
    """

    protocol = "http"

    def __init__(self, remote_ip: str, *, same_machine: bool) -> None:
        self.remote_ip = remote_ip
        self.same_machine = same_machine

    @classmethod
    def of(cls, connected: socket.socket, address: Any) -> "Peer":
        """The peer of an accepted socket, with the address that came with it."""
        if connected.family == socket.AF_UNIX:
            return cls(UNIX_PEER, same_machine=True)
        remote_ip, own = str(address[0]), connected.getsockname()[0]
        return cls(
            remote_ip, same_machine=remote_ip == own or remote_ip.startswith("127.")
        )

    def __str__(self) -> str:
        return self.remote_ip
