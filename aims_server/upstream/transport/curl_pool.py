"""Owns when a call gets a curl handle, and how the call ends.

Built on Tornado's curl client, of which only the loop over ended transfers and `close`
are used. Tornado's serves every use of curl and takes 140 us of CPU a call; our calls
are all alike and take 34 (docs/speed.rst).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Hashable, Mapping
from math import inf
from typing import Any, Final, NoReturn

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient

from ...errors import FailureCause
from .causes import timings
from .curl_alarm import CurlAlarm
from .curl_options import LastingOptions, set_request
from .curl_sockets import CurlSockets
from .handle_state import HandleState
from .handles import Handles
from .kept_connections import KeptConnections
from .preconnections import Preconnections
from .transfer import Reply, Request, Transfer, header_lines

__all__ = ["CurlPool", "Reply", "Request"]

_log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS: Final = 0.1
_DEAD_SECONDS: Final = 10.0  # of silence, while a call waits for its answer


class CurlPool(CurlAsyncHTTPClient):
    """Makes calls over at most ``max_clients`` handles; more calls wait, without limit.

    >>> async def call():
    ...     pool = CurlPool(force_instance=True, max_clients=1, max_body_size=1000)
    ...     request = Request("http://127.0.0.1:1/", {}, None, 5.0, 5.0)
    ...     outcome = await pool.call(request)
    ...     pool.close()
    ...     return outcome
    >>> asyncio.run(call()).kind
    'refused'
    """

    def initialize(
        self,
        *args: Any,
        max_clients: int = 10,
        headers: Mapping[str, str] | None = None,
        proxy: str = "",
        ca_file: str = "",
        **options: Any,
    ) -> None:
        """Set up the pool (``AsyncHTTPClient`` calls this in place of a constructor).
        ``headers`` are sent with every request; ``ca_file`` replaces the system's
        certificate authorities.
        """
        self._lasting_lines = (
            *header_lines(headers or {}),
            b"Accept-Encoding: gzip",  # unpacked by us: see `gzip_body`
        )
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[pycurl.Curl, HandleState] = {}
        self._waiting: deque[Transfer] = deque()
        self._kept = KeptConnections()
        self._answered_at = -inf  # the last call that was; by the loop's clock
        self._alarm = CurlAlarm(self._loop, self._handle_timeout)
        self._sockets = CurlSockets(self._loop, self._on_ready, self._kept.forget)
        super().initialize(0, *args, **options)  # none of Tornado's own handles
        # By default curl keeps four for each handle that is busy when a call ends.
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_clients)
        self._handles = Handles(
            self._make_handle,
            max_clients,
            self.max_body_size,
            LastingOptions(proxy, ca_file),
            self._kept,
        )
        self.preconnections = Preconnections(
            self._handles, self._loop, self._multi, self._sockets
        )
        """Opens connections for calls that are expected."""

    def call(self, request: Request) -> "asyncio.Future[Reply | FailureCause]":
        """The reply, or why there is none. Cancelling the future ends the transfer, and
        with it a connection of HTTP/1.

        Raises ValueError for a header that cannot be sent as it is.
        """
        transfer = Transfer(request, self._lasting_lines, self._loop, self._give_up)
        self._waiting.append(transfer)
        self._process_queue()
        return transfer

    def abandon(self, connection: Hashable) -> None:
        """Stop using a connection that has carried a wrong answer. A call under way on
        it is made again, since it may get the answer to the call before.
        """
        self._kept.abandon(connection)
        for state in self._under_way.values():
            state.abandon(connection)

    def close(self) -> None:
        """Drop every connection; calls under way never end."""
        for state in self._under_way.values():
            state.stop_timer()
        self._under_way.clear()  # so that cancelling them does nothing
        self._waiting.clear()
        super().close()
        # Last: when handles in use are closed, curl reports sockets and times again.
        self.preconnections.close()
        self._alarm.cancel()
        self._sockets.close()

    def fetch_impl(self, *_: object) -> NoReturn:
        """Forbid Tornado's own way of making calls, which would bypass this pool."""
        raise TypeError("a CurlPool makes calls by call() alone")

    def _process_queue(self) -> None:
        """Give free handles to waiting transfers."""
        handles, preconnections = self._handles, self.preconnections
        while self._waiting and (handles.has_free or preconnections.unclaimed):
            transfer = self._waiting.popleft()
            if preconnections.unclaimed:
                if self._take_preconnection(transfer):
                    continue
                if not handles.has_free:
                    preconnections.discard_oldest()
            try:
                self._begin(transfer)
            except Exception as fault:  # noqa: BLE001 - its caller gets it
                transfer.set_exception(fault)

    def _make_handle(self) -> pycurl.Curl:
        curl: pycurl.Curl = self._curl_create()
        self._curls.append(curl)  # the list that close() closes
        return curl

    def _begin(self, transfer: Transfer) -> None:
        """Make a call on a free handle."""
        curl = self._handles.take(transfer.request.url)
        try:
            set_request(curl, transfer, self._loop.time())
            self._multi.add_handle(curl)
        except Exception:
            self._handles.release(curl)
            raise
        self._assign(curl, transfer)

    def _assign(self, curl: pycurl.Curl, transfer: Transfer) -> None:
        state = self._handles.state(curl)
        state.transfer = transfer
        self._under_way[curl] = state

    def _take_preconnection(self, transfer: Transfer) -> bool:
        """Make a call on a connection that is being opened, unless a kept one is idle;
        return whether it was made.
        """
        if transfer.fresh or self._handles.idle_connections > 0:
            return False
        curl, seconds = self.preconnections.claim(transfer.request.url)
        transfer.preconnected = True
        now = self._loop.time()
        set_request(curl, transfer, now, seconds)
        self._assign(curl, transfer)
        # Curl set its own timers when the handle had no request, for much later.
        self._set_timer(transfer.request.connect_seconds, curl, transfer)
        return True

    def _set_timer(self, seconds: float, curl: pycurl.Curl, transfer: Transfer) -> None:
        at = min(self._loop.time() + seconds, transfer.deadline)
        state = self._handles.state(curl)
        state.timer = self._loop.call_at(at, self._on_timer, curl, transfer)

    def _on_timer(self, curl: pycurl.Curl, transfer: Transfer) -> None:
        """End a call at its deadline. Until its request is sent, let curl check the
        limit on connecting, which it counts from a later moment than we do.
        """
        left = transfer.deadline - self._loop.time()
        if left <= 0:
            self._finish(curl, pycurl.E_OPERATION_TIMEDOUT)
            self._process_queue()
            return
        state = self._handles.state(curl)
        self._set_timer(left if state.is_sent else _LOOK_AGAIN_SECONDS, curl, transfer)
        if not state.is_sent:
            for fd in state.opened:
                self._multi.socket_action(fd, 0)
            self._finish_pending_requests()

    def _finish(
        self,
        curl: pycurl.Curl,
        curl_error: int | None = None,
        curl_message: str | None = None,
    ) -> None:
        """Settle a call that has ended, or make it again on a new connection. Only
        `cause_of` reads curl's message, which may quote URL and headers.
        """
        state = self._under_way.pop(curl, None)
        if state is None:  # a preconnection that found one to share, or failed
            self.preconnections.discard(curl)
            return
        transfer = state.transfer
        assert transfer is not None
        status = curl.getinfo(pycurl.HTTP_CODE)
        fd = curl.getinfo(pycurl.ACTIVESOCKET)  # -1 once the handle has been removed
        self._multi.remove_handle(curl)
        if state.must_restart(curl_error, status):
            self._kept.cut_off(state.connection)
            transfer.restart()
            self._waiting.appendleft(transfer)  # Tornado looks at the queue after this
        elif curl_error is not None:
            self._cut_off(state, _DEAD_SECONDS)
            transfer.set_result(state.failure(curl, curl_error, curl_message or ""))
        else:
            if fd < 0:  # curl has closed it
                self._kept.abandon(state.connection)
            self._answered_at = self._loop.time()
            transfer.set_result(state.reply(status))
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("Call %s: %s", "failed" if curl_error else status, timings(curl))
        self._handles.release(curl)

    def _cut_off(self, state: HandleState, patience: float) -> None:
        """Deal with the connection of a call that has ended early. Curl itself closes
        one of HTTP/1.1. One of HTTP/2 it would give to all further calls though it
        hangs; so it is closed if no other call is on it, or if it was silent while this
        call waited, for at least ``patience`` seconds.
        """
        self._kept.cut_off(state.connection)
        waited = state.seconds_under_way(self._loop.time())
        if not any(map(state.shares_connection, self._under_way.values())):
            self._kept.close_silent(state.connection, 0.0)
        elif waited >= patience:
            self._kept.close_silent(state.connection, waited)

    def _give_up(self, transfer: Transfer) -> None:
        """End a cancelled call; mostly, its hedge was answered first. If no call was
        since it began, all may be slow, and other calls on its connection go on.
        """
        if transfer in self._waiting:
            self._waiting.remove(transfer)
        for curl, state in self._under_way.items():
            if state.transfer is transfer:
                del self._under_way[curl]
                self._multi.remove_handle(curl)
                now = self._loop.time()
                began = now - state.seconds_under_way(now)
                self._cut_off(state, 0.0 if self._answered_at > began else inf)
                self._handles.release(curl)
                self._process_queue()
                break

    def _handle_socket(
        self, event: int, fd: int, multi: pycurl.CurlMulti, data: Any | None
    ) -> None:
        """Curl's callback: watch a socket for other events than before."""
        if event == pycurl.POLL_REMOVE:
            self.preconnections.forget(fd)
        self._sockets.watch(fd, event)

    def _on_ready(self) -> None:
        """Let curl read and write the sockets that are ready."""
        for some in self._sockets.ready():
            for fd, action in some:
                if action & pycurl.CSELECT_IN and self.preconnections.withhold(fd):
                    continue
                self._multi.socket_action(fd, action)
            self._finish_pending_requests()
        if self.preconnections.deferred:
            is_sent = any(state.is_sent for state in self._under_way.values())
            self.preconnections.on_event(is_sent=is_sent)

    def _set_timeout(self, msecs: int) -> None:
        """Curl's callback: call it in so many milliseconds, or with -1 not at all. The
        earlier moment is void.
        """
        self._alarm.set(msecs)
