"""Curl's sockets in one epoll that the loop watches."""

import asyncio
import contextlib
import select
from collections.abc import Callable, Iterator
from typing import Final

import pycurl

__all__ = ["CurlSockets"]

# An event takes 15 us, and its answer leads to 150 us of work in the next turn. With a
# long answer an event takes 300 us, since curl reads up to 160 kB at a time.
_EVENTS_A_TURN: Final = 16
_EVENTS_AT_ONCE: Final = 4
_SECONDS_A_TURN: Final = 0.001
_INTEREST: Final = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class CurlSockets:
    """Calls ``on_ready`` when curl's sockets are ready. ``on_idle`` gets a socket on
    which something arrived, or which ended, while curl did not use it.

    Curl watches and unwatches a socket for every call, which takes an event loop ten
    times as long. Here an unwatched socket stays in the epoll, since the next page
    mostly needs it again; a closed one leaves by itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_ready: Callable[[], object],
        on_idle: Callable[[int], object],
    ) -> None:
        self._loop = loop
        self._on_idle = on_idle
        self._epoll = select.epoll()
        self._interests: dict[int, int] = {}
        loop.add_reader(self._epoll.fileno(), on_ready)

    def watch(self, fd: int, event: int) -> None:
        """Watch a socket for ``pycurl.POLL_IN``, ``_OUT`` or ``_INOUT``; any other
        event unwatches it.
        """
        interest = _INTEREST.get(event, 0)
        before, self._interests[fd] = self._interests.get(fd, 0), interest
        if not interest and before & select.EPOLLOUT:
            # An idle socket is always writable: that is no event.
            interest = select.EPOLLIN
        if interest:
            try:
                self._epoll.modify(fd, interest)
            except FileNotFoundError:  # a new socket with the number of a closed one
                self._epoll.register(fd, interest)

    def ready(self) -> Iterator[Iterator[tuple[int, int]]]:
        """The ready sockets, a few at a time, each with ``pycurl.CSELECT_IN``, ``_OUT``
        or both. Tell curl of each before asking for the next. Sockets left after
        sixteen, or after a millisecond, come first in the loop's next turn.
        """
        end = self._loop.time() + _SECONDS_A_TURN
        for _ in range(0, _EVENTS_A_TURN, _EVENTS_AT_ONCE):
            events = self._epoll.poll(0, _EVENTS_AT_ONCE)
            yield self._wanted(events)
            if len(events) < _EVENTS_AT_ONCE or self._loop.time() >= end:
                break

    def _wanted(self, ready: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for fd, events in ready:
            if not self._interests[fd]:
                # The bytes stay unread, which `KeptConnections` will see, and an end
                # curl finds by itself. Neither may wake the loop in every turn.
                with contextlib.suppress(OSError):
                    self._epoll.unregister(fd)
                self._on_idle(fd)
                continue
            action = pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0
            if events & ~select.EPOLLIN:
                action |= pycurl.CSELECT_OUT
            yield fd, action

    def pause(self, fd: int) -> None:
        """Keep what arrives on a socket from curl."""
        self._epoll.unregister(fd)

    def resume(self, fd: int) -> None:
        """Let curl read a paused socket again, unless it has asked for that itself."""
        with contextlib.suppress(FileExistsError):
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Stop watching all sockets."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
