"""Ends connections: by time-outs, and without a reset that would lose an answer."""

import asyncio
import math
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["LINGER_SECONDS", "Timeouts", "close_lingering", "has_unread"]

# For so long a connection is not idle: a client connects because it has a request, and
# may send the next one a round trip after an answer. Without the latter, stopping under
# twenty such clients lost a request one time in four.
_FIRST_REQUEST_SECONDS: Final = 1.0
_ROUND_TRIP_SECONDS: Final = 0.1
# After such a silence a client is assumed to have read the answer.
LINGER_SECONDS: Final = 1.0


class Timeouts:
    """The time-outs of one client: to send a request, to read an answer, and to close
    after the server has. ``clock`` gives monotonic seconds.

    >>> timeouts = Timeouts(10.0, clock=lambda: 5.0)
    >>> timeouts.request_overdue(14.9), timeouts.request_overdue(15.0)
    (False, True)
    """

    def __init__(self, arrival_seconds: float, clock: Callable[[], float]) -> None:
        """``arrival_seconds`` bounds the arrival of a whole request, and the time in
        which the kernel takes no byte of an answer.
        """
        self._arrival_seconds = arrival_seconds
        self._clock = clock
        now = clock()
        self._active_until = now + _FIRST_REQUEST_SECONDS
        self._request_due = now + arrival_seconds
        self._sent = -1  # the bytes that the kernel had taken at the last count
        self._stalled_at = now
        self._lingering_since = math.inf

    def await_request(self) -> None:
        """Begin the time of the next request."""
        self._request_due = self._clock() + self._arrival_seconds

    def request_answered(self) -> None:
        """The client has got its answer: begin the time of the next request."""
        self.await_request()
        self.more_expected()

    def more_expected(self) -> None:
        """The client may send more within a round trip."""
        self._active_until = self._clock() + _ROUND_TRIP_SECONDS

    def active(self) -> bool:
        """Whether the connection, or the last answer on it, is so new that a request
        may be on its way.
        """
        return self._clock() <= self._active_until and not self.lingered()

    def lingered(self) -> bool:
        """Whether a second has passed since the last answer of a closing connection.
        Then a drain or a new connection waits for its client no more, even if that goes
        on sending.
        """
        return self._clock() > self._lingering_since + LINGER_SECONDS

    def request_overdue(self, now: float) -> bool:
        """Whether the request should have arrived by ``now``."""
        return now >= self._request_due

    def answer_stalled(self, now: float, sent: int) -> bool:
        """Whether the kernel, which has taken ``sent`` bytes so far, has taken none of
        an unsent answer for too long. The time of the next request begins when all is
        sent.
        """
        self.await_request()
        if sent != self._sent:
            self._sent, self._stalled_at = sent, now
        return now - self._stalled_at >= self._arrival_seconds

    def linger_over(self, now: float) -> bool:
        """Whether the client's time to close is over: a second after it last sent
        something, or `arrival_seconds` after the first call of this method.
        """
        self._lingering_since = min(self._lingering_since, now)
        return now >= min(
            self._lingering_since + self._arrival_seconds,
            self._active_until + LINGER_SECONDS,
        )


def close_lingering(transport: asyncio.Transport) -> None:
    """Send FIN after the unsent bytes, and read on until the client closes (nginx calls
    this a lingering close). The caller must end the connection at
    `Timeouts.linger_over`.

    Closing a socket with unread bytes resets the connection, and the client loses the
    part of the answer that it has not read.
    """
    if transport.is_closing():
        return
    transport.resume_reading()
    try:
        transport.write_eof()
    except OSError:  # the client has reset the connection already
        transport.abort()


def has_unread(connected: socket.socket) -> bool:
    """Whether the kernel holds bytes that the event loop has not read yet."""
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except OSError:
        return False  # nothing to read, or a reset
