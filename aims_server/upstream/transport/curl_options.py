"""The options set on a curl handle: everything that is not curl's default."""

from typing import Final

import msgspec
import pycurl

from .handle_state import HandleState
from .kept_connections import CONNECTION_SECONDS
from .transfer import Transfer

__all__ = ["LastingOptions", "set_request"]

_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS


class LastingOptions(msgspec.Struct, frozen=True):
    """The options of every call. ``ca_file`` replaces the system's authorities."""

    proxy: str = ""
    ca_file: str = ""

    def set(self, curl: pycurl.Curl, state: HandleState) -> None:
        """Set a handle's connection options and callbacks."""
        setopt = curl.setopt
        setopt(pycurl.SOCKOPTFUNCTION, state.on_socket)
        setopt(pycurl.PREREQFUNCTION, state.on_connection)
        setopt(pycurl.HEADERFUNCTION, state.on_header)
        setopt(pycurl.WRITEFUNCTION, state.on_body)
        setopt(pycurl.PROTOCOLS, _PROTOCOLS)
        # Set even if empty: otherwise curl reads the environment.
        setopt(pycurl.PROXY, self.proxy)
        setopt(pycurl.NOPROXY, "")
        if self.ca_file:
            setopt(pycurl.CAINFO, self.ca_file)
        # There are other threads (gzip of large answers), so curl must not use signals.
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.MAXLIFETIME_CONN, CONNECTION_SECONDS)
        # No PIPEWAIT, though HTTP/2 is offered: if the server does not take it, all
        # first calls would wait until the very first one is answered, or hangs.


def set_request(
    curl: pycurl.Curl, transfer: Transfer, now: float, under_way: float = 0.0
) -> None:
    """Set a handle's request. It may have been ``under_way`` for some seconds."""
    request = transfer.request
    if not transfer.deadline:
        transfer.deadline = now + request.seconds
    seconds = under_way + transfer.deadline - now
    connect_seconds = under_way + request.connect_seconds
    setopt = curl.setopt
    setopt(pycurl.TIMEOUT_MS, max(1, int(1000 * seconds)))  # 0 would be no limit
    setopt(pycurl.CONNECTTIMEOUT_MS, int(1000 * connect_seconds))
    setopt(pycurl.HTTPHEADER, transfer.header_lines)
    if transfer.fresh:
        # On a kept connection that breaks, curl would repeat the call by itself. The
        # new connection is kept then: it serves the calls that follow a login.
        setopt(pycurl.FRESH_CONNECT, 1)
    if request.body is not None:
        setopt(pycurl.POSTFIELDS, request.body)
