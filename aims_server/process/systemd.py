"""Speaks systemd's protocols: inherited sockets (sd_listen_fds(3)) and notifications
(sd_notify(3)). Does nothing without systemd.
"""

import contextlib
import errno
import os
import socket
import time
import weakref
from collections.abc import Mapping
from typing import Final

__all__ = ["Notifier", "inherited_sockets"]

_FIRST_FD: Final = 3
_PATIENCE_SECONDS: Final = 5.0


def inherited_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets passed by systemd; empty without socket activation.

    Raises OSError if something else was passed.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "")
    sockets = [
        socket.socket(fileno=fd)
        for fd in range(_FIRST_FD, _FIRST_FD + (int(count) if count.isdigit() else 0))
    ]
    for inherited in sockets:
        if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        inherited.setblocking(False)
    return sockets


class Notifier:
    """Tells systemd the state of the service, on the socket that systemd names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading "@" is systemd's spelling of the abstract namespace's NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watched = ours and usec.isdigit()
        self._socket: socket.socket | None = None
        if address:
            # Made now: later no open file may be left for it.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            weakref.finalize(self, self._socket.close)

    def ready(self, status: str) -> None:
        """Requests are served."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The workers are being replaced; ends with :meth:`ready`."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=Replacing workers")

    def stopping(self) -> None:
        """No new work is taken."""
        self._send("STOPPING=1\nSTATUS=Draining")

    def alive(self) -> None:
        """Feed the watchdog, if there is one."""
        if self._watched:
            self._send("WATCHDOG=1", seconds=0)  # another one follows

    def _send(self, message: str, *, seconds: float = _PATIENCE_SECONDS) -> None:
        if self._socket is None:
            return
        self._socket.settimeout(seconds)
        # If systemd does not listen, or hangs, the service goes on.
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(), self._address)
