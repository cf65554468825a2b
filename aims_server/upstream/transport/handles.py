"""The curl handles of a pool: which are free, and what each keeps for its calls."""

from collections.abc import Callable

import pycurl

from .curl_options import LastingOptions
from .handle_state import HandleState
from .kept_connections import KeptConnections

__all__ = ["Handles"]


class Handles:
    """At most so many handles, made by ``create`` when calls need them: each is 4 kB
    and 10 us. ``max_body`` is the largest body, in bytes, that a call may have.

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
        """Kept connections that no call is using."""
        busy = sum(state.takes_kept for state in self._states.values())
        return len(self._kept) - busy

    @property
    def multiplexed(self) -> bool | None:
        """Whether the server speaks HTTP/2; None before its first answer."""
        return self._kept.multiplexed

    def state(self, curl: pycurl.Curl) -> HandleState:
        """What has come of the call that a taken handle makes."""
        return self._states[curl]

    def take(self, url: str) -> pycurl.Curl:
        """A free handle, which there must be, told where its connection leads and, the
        first time, all else that calls have in common.
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
        """Set again what all calls have in common, after a preconnection's callbacks
        have taken its place.
        """
        self._options.set(curl, self._states[curl])

    def release(self, curl: pycurl.Curl) -> None:
        """Take back a handle that no multi handle has any more: no header, body or
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
