"""Tornado's pool of curl handles, with a smaller way of making a call: what is set on
a handle, what is read of its answer, and how curl is told of time and sockets.

Tornado's client serves every use of curl, at some 140 us of CPU a call. Ours are all
alike, and take 40. Its handles, its loop over what has ended and its end are kept.
"""

import asyncio
import contextlib
import re
import select
from collections import deque
from io import BytesIO
from math import inf
from typing import Any, Final, NoReturn

import msgspec
import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient

__all__ = ["CurlPool", "Reply", "Request"]

_EVENTS_AT_ONCE: Final = 16  # some 15 us each; what is left comes in the next turn
_EARLY_SECONDS: Final = 0.001  # curl and uvloop count in milliseconds
_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_INTEREST: Final = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
# A line of an answer's head or trailer (RFC 9110 5.5, 9112 4), or the empty one. Curl
# itself takes control characters and any name.
_LINE: Final = re.compile(
    rb"(?P<status>HTTP/.*)"
    rb"|(?i:Retry-After):(?P<pause>[\t -~\x80-\xff]*)"
    rb"|[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*"
    rb"|",
    re.DOTALL,
)


class Request(msgspec.Struct, frozen=True):
    """One call: a POST if there is a body. ``seconds`` count from when it gets a
    handle, ``connect_seconds`` are those of them until a connection must be there.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    connect_seconds: float

    def __repr__(self) -> str:
        return "<Request>"  # url, headers and body are a student's, or secret


class Reply(msgspec.Struct, frozen=True):
    """What the platform answered, whatever its status."""

    status: int
    body: bytes
    retry_after: str | None


class _Call:
    """A call on its way, and what has come of its answer."""

    __slots__ = ("_body", "_most", "_retry_after", "outcome", "request")

    def __init__(
        self, request: Request, outcome: "asyncio.Future[Reply | int]", most: int
    ) -> None:
        self.request = request
        self.outcome = outcome
        self._most = most
        self._body = BytesIO()
        self._retry_after: str | None = None

    # Curl's callbacks. An exception in one would be printed to stderr by pycurl, past
    # any logging; taking less than what was offered fails the call as cleanly.

    def take_line(self, line: bytes) -> int | None:
        """Look at one line of the head: none of it is taken if it is malformed."""
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            return 0
        if match.lastgroup == "status":  # the one before was of an interim answer
            self._retry_after = None
        elif match.lastgroup == "pause":
            self._retry_after = match["pause"].decode("latin-1").strip()
        return None

    def take_body(self, chunk: bytes) -> int:
        """Keep a part of the body, as unpacked; none of it if it becomes too large."""
        if self._body.tell() + len(chunk) > self._most:
            return 0
        return self._body.write(chunk)

    def end(self, status: int) -> None:
        """The answer is whole."""
        reply = Reply(status, self._body.getvalue(), self._retry_after)
        self.settle(reply)

    def settle(self, outcome: Reply | int) -> None:
        """Tell who waits, if he still does."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class CurlPool(CurlAsyncHTTPClient):
    """Calls over at most ``max_clients`` handles; the others wait without a limit.

    Make it where the loop runs, with ``force_instance=True``.
    """

    def initialize(self, *args: Any, **options: Any) -> None:
        """What ``AsyncHTTPClient`` has instead of a constructor."""
        self._loop = asyncio.get_running_loop()
        self._calls: dict[pycurl.Curl, _Call] = {}
        self._line: deque[_Call] = deque()
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._due = inf
        # All sockets of curl's in one that the loop looks at: curl wants each watched
        # and unwatched for every call, which a loop takes ten times as long for.
        self._sockets = select.epoll()
        self._loop.add_reader(self._sockets.fileno(), self._act)
        super().initialize(*args, **options)

    def call(self, request: Request) -> "asyncio.Future[Reply | int]":
        """The reply, or the number of curl's error (libcurl-errors(3)).

        Raises ValueError for a header that cannot be sent as it is.
        """
        for name, value in request.headers.items():
            if "\r" in name + value or "\n" in name + value:
                raise ValueError(f"a line break in the header {name!r}")
        call = _Call(request, self._loop.create_future(), self.max_body_size)
        self._line.append(call)
        self._process_queue()
        return call.outcome

    def close(self) -> None:
        """Drop every connection; outcomes that are waited for never come."""
        super().close()
        # Not before: closing handles in use, curl tells of sockets and time once more.
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sockets.fileno())
        self._sockets.close()

    def fetch_impl(self, *_: object) -> NoReturn:
        """Tornado's own way in, which would pass by what `_prepare` sees to."""
        raise TypeError("a CurlPool makes calls by call() alone")

    def _process_queue(self) -> None:
        """Give free handles to those who wait."""
        while self._line and self._free_list:
            call = self._line.popleft()
            curl = self._free_list.pop()
            try:
                self._prepare(curl, call)
                self._multi.add_handle(curl)
            except Exception as fault:  # noqa: BLE001 - it is for who called
                self._give_back(curl)
                if not call.outcome.done():
                    call.outcome.set_exception(fault)
            else:
                self._calls[curl] = call

    def _prepare(self, curl: pycurl.Curl, call: _Call) -> None:
        """All that is not curl's default, on a handle that has been reset."""
        request = call.request
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        setopt = curl.setopt
        setopt(pycurl.URL, request.url)
        setopt(pycurl.PROTOCOLS, _PROTOCOLS)
        setopt(pycurl.FOLLOWLOCATION, 0)
        setopt(pycurl.SSL_VERIFYPEER, 1)
        setopt(pycurl.SSL_VERIFYHOST, 2)
        setopt(pycurl.ENCODING, "gzip,deflate")
        setopt(pycurl.TIMEOUT_MS, int(1000 * request.seconds))
        setopt(pycurl.CONNECTTIMEOUT_MS, int(1000 * request.connect_seconds))
        setopt(pycurl.HEADERFUNCTION, call.take_line)
        setopt(pycurl.WRITEFUNCTION, call.take_body)
        # Threads come and go (gzip of large answers); never let curl use signals.
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.TCP_KEEPALIVE, 1)
        # No PIPEWAIT, though HTTP/2 is offered: where it is not taken, all first calls
        # would wait for the one that was made first to be answered, or to hang.
        if request.body is not None:
            setopt(pycurl.POSTFIELDS, request.body)
            # When a kept connection turns out to be broken, curl makes the call again
            # on its own: a login too, which may have been counted by then. On a new
            # connection it does not; that one serves the calls which follow the login.
            setopt(pycurl.FRESH_CONNECT, 1)
            headers.append("Expect:")  # no asking whether a large body may be sent
        setopt(pycurl.HTTPHEADER, [line.encode("latin-1") for line in headers])

    def _finish(
        self,
        curl: pycurl.Curl,
        curl_error: int | None = None,
        curl_message: str | None = None,
    ) -> None:
        """A call has ended. Curl's message may quote URL and headers: it goes no
        further.
        """
        call = self._calls.pop(curl)
        self._multi.remove_handle(curl)
        if curl_error is None:
            call.end(curl.getinfo(pycurl.HTTP_CODE))
        elif curl_error == pycurl.E_OPERATION_TIMEDOUT and _never_connected(curl, call):
            call.settle(pycurl.E_COULDNT_CONNECT)
        else:
            call.settle(curl_error)
        self._give_back(curl)

    def _give_back(self, curl: pycurl.Curl) -> None:
        curl.reset()  # no header, body or answer of one student stays for the next
        self._free_list.append(curl)

    def _handle_socket(
        self, event: int, fd: int, multi: pycurl.CurlMulti, data: Any | None
    ) -> None:
        """Curl wants a socket watched otherwise than before.

        It does so twice a call. One that it needs no more stays where it is, as most
        are needed again by the next page; a closed one leaves by itself.
        """
        interest = _INTEREST.get(event, 0)
        self._fds[fd] = interest
        if interest:
            try:
                self._sockets.modify(fd, interest)
            except FileNotFoundError:  # a new one, of a number that may be an old one's
                self._sockets.register(fd, interest)

    def _act(self) -> None:
        """Some sockets are ready: let curl read and write."""
        for fd, events in self._sockets.poll(0, _EVENTS_AT_ONCE):
            if not self._fds[fd]:  # hung up while idle: curl finds that out in its time
                with contextlib.suppress(OSError):
                    self._sockets.unregister(fd)
                continue
            action = pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0
            if events & ~select.EPOLLIN:
                action |= pycurl.CSELECT_OUT
            self._multi.socket_action(fd, action)
        self._finish_pending_requests()

    def _set_timeout(self, msecs: int) -> None:
        """Curl wants to be called in this time, if not -1, and no more at any other.

        It says so about twice a call, and means later each time. So a timer is not made
        anew for a later moment: when it rings, it is set to the latest one told.
        """
        if msecs < 0:
            self._due = inf
            return
        self._due = self._loop.time() + msecs / 1000
        if self._timer is not None and self._timer_at > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer_at = self._due
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() + _EARLY_SECONDS >= self._due:
            self._handle_timeout()
        elif self._due < inf:
            self._set_timer()


def _never_connected(curl: pycurl.Curl, call: _Call) -> bool:
    """Whether a time-out was that of connecting, and not the call's own."""
    connected = curl.getinfo(pycurl.PRETRANSFER_TIME) > 0
    return not connected and call.request.connect_seconds < call.request.seconds
