"""Curl's sockets in one epoll that the loop watches."""

import asyncio
import contextlib
import select
from collections.abc import Callable, Iterator
from typing import Final

import pycurl

__all__ = ["CurlSockets"]

# An event takes 15 us, and 150 of what its answer leads to in the next turn; of a long
# answer it takes 300 us, as curl reads up to 160 kB at a time.
_EVENTS_A_TURN: Final = 16
_EVENTS_AT_ONCE: Final = 4
_SECONDS_A_TURN: Final = 0.001
_INTEREST: Final = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class CurlSockets:
    """Calls ``on_ready`` when sockets of curl's are ready; ``on_idle`` is given one on
    which something came, or that ended, while curl had no use for it.

    Curl wants a socket watched and unwatched for every call, which takes a loop ten
    times as long. One that it needs no more stays where it is, as most are needed again
    by the next page; a closed one leaves by itself.
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
        """Watch a socket for one of ``pycurl.POLL_IN``, ``_OUT``, ``_INOUT``, or, with
        any other, no more.
        """
        interest = _INTEREST.get(event, 0)
        before, self._interests[fd] = self._interests.get(fd, 0), interest
        if not interest and before & select.EPOLLOUT:
            # An idle one can be written to at any time: that is no event of its own.
            interest = select.EPOLLIN
        if interest:
            try:
                self._epoll.modify(fd, interest)
            except FileNotFoundError:  # a new one, of a number that may be an old one's
                self._epoll.register(fd, interest)

    def ready(self) -> Iterator[Iterator[tuple[int, int]]]:
        """The sockets that are ready, a few at a time, and for what:
        ``pycurl.CSELECT_IN``, ``_OUT`` or both. Curl may be told of each before the
        next is looked at. Those that are left after sixteen, or after a millisecond,
        come first in the next turn of the loop.
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
                # What has come stays unread, which `KeptConnections` will see; an end
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
        """Keep from curl what has come on a socket."""
        self._epoll.unregister(fd)

    def resume(self, fd: int) -> None:
        """Have curl read a socket again, unless it has asked for that by itself."""
        with contextlib.suppress(FileExistsError):
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
