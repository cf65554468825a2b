"""The curl handles of a pool: which ones are free, and the state of each."""

from collections.abc import Callable

import pycurl

from .curl_options import LastingOptions
from .handle_state import HandleState
from .kept_connections import KeptConnections

__all__ = ["Handles"]


class Handles:
    """At most ``most`` handles, made by ``create`` when calls need them; each takes 4
    kB and 10 us. ``max_body`` is the largest body of an answer, in bytes.

    >>> handles = Handles(pycurl.Curl, 1, 1000, LastingOptions(), KeptConnections())
    >>> curl = handles.take("http://127.0.0.1:1/")
    >>> handles.has_free
    False
    >>> handles.release(curl)
    >>> handles.take("http://127.0.0.1:2/") is curl
    True
    """

    def __init__(
        self,
        create: Callable[[], pycurl.Curl],
        most: int,
        max_body: int,
        options: LastingOptions,
        kept: KeptConnections,
    ) -> None:
        self._create = create
        self._still_to_make = most
        self._max_body = max_body
        self._options = options
        self._kept = kept
        self._free: list[pycurl.Curl] = []
        self._states: dict[pycurl.Curl, HandleState] = {}  # of handles that are set

    @property
    def has_free(self) -> bool:
        """Whether a handle is free, or can be made."""
        return bool(self._free or self._still_to_make)

    @property
    def idle_connections(self) -> int:
        """The number of kept connections that no call is using."""
        busy = sum(state.takes_kept for state in self._states.values())
        return len(self._kept) - busy

    @property
    def multiplexed(self) -> bool | None:
        """Whether the server speaks HTTP/2; None before its first answer."""
        return self._kept.multiplexed

    def state(self, curl: pycurl.Curl) -> HandleState:
        """The state of a taken handle's call."""
        return self._states[curl]

    def take(self, url: str) -> pycurl.Curl:
        """Take a free handle, of which there must be one, and set the URL on it; the
        first time also the options that all calls have in common.
        """
        if not self._free:
            self._free.append(self._create())
            self._still_to_make -= 1
        curl = self._free[-1]
        if curl not in self._states:
            state = HandleState(self._max_body, self._kept)
            self._options.set(curl, state)
            self._states[curl] = state
        curl.setopt(pycurl.URL, url)
        return self._free.pop()

    def restore(self, curl: pycurl.Curl) -> None:
        """Set the common options again, which a preconnection's callbacks replaced."""
        self._options.set(curl, self._states[curl])

    def release(self, curl: pycurl.Curl) -> None:
        """Take back a handle that has left curl's multi handle. No header, body or
        answer of one student stays for the next.
        """
        state = self._states[curl]
        if state.is_plain:
            curl.unsetopt(pycurl.HTTPHEADER)
            state.clear()
        else:
            state.stop_timer()
            curl.reset()
            del self._states[curl]
        self._free.append(curl)
