"""How a connection ends: after which time-outs, and without a reset that would lose
what was written.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["LINGER_SECONDS", "Timeouts", "close_lingering", "has_unread"]

# A client connects because it has a request, and one that reads page after page sends
# the next a round trip after an answer: so long a connection is not idle. Without the
# second, stopping under twenty such clients lost a request every four times.
_FIRST_REQUEST_SECONDS: Final = 1.0
_ROUND_TRIP_SECONDS: Final = 0.1
# Without a byte of the client's, after which it is thought to have read the answer.
LINGER_SECONDS: Final = 1.0


class Timeouts:
    """What one client may take its time for: to send a request, to read an answer, and
    to close after the server has. ``clock`` gives monotonic seconds.

    >>> timeouts = Timeouts(10.0, clock=lambda: 5.0)
    >>> timeouts.request_overdue(14.9), timeouts.request_overdue(15.0)
    (False, True)
    """

    def __init__(self, arrival_seconds: float, clock: Callable[[], float]) -> None:
        """``arrival_seconds`` bounds the arrival of a whole request, and the time for
        which the kernel need not take a byte of an answer.
        """
        self._arrival_seconds = arrival_seconds
        self._clock = clock
        now = clock()
        self._active_until = now + _FIRST_REQUEST_SECONDS
        self._request_due = now + arrival_seconds
        self._sent = -1  # bytes that the kernel had taken when they were last counted
        self._stalled_at = now
        self._lingering_since = math.inf

    def await_request(self) -> None:
        """The next request may take its whole time from now on."""
        self._request_due = self._clock() + self._arrival_seconds

    def request_answered(self) -> None:
        """The client has had its answer: await the next request."""
        self.await_request()
        self.more_expected()

    def more_expected(self) -> None:
        """The client may send more within a round trip."""
        self._active_until = self._clock() + _ROUND_TRIP_SECONDS

    def active(self) -> bool:
        """Whether the connection, or the last that was sent on it, is so new that more
        may be on its way.
        """
        return self._clock() <= self._active_until and not self.lingered()

    def lingered(self) -> bool:
        """Whether a second has passed since the last answer of a closing connection.
        From then on a drain and a new connection no longer wait for its client, even if
        that goes on sending.
        """
        return self._clock() > self._lingering_since + LINGER_SECONDS

    def request_overdue(self, now: float) -> bool:
        """Whether the request should have arrived by ``now``."""
        return now >= self._request_due

    def answer_stalled(self, now: float, sent: int) -> bool:
        """Whether the kernel, which has taken ``sent`` bytes so far, took none of what
        is owed to the client for too long. The time of the next request begins when
        nothing is owed.
        """
        self.await_request()
        if sent != self._sent:
            self._sent, self._stalled_at = sent, now
        return now - self._stalled_at >= self._arrival_seconds

    def linger_over(self, now: float) -> bool:
        """Whether the client has had its time to close: a second since it last sent
        something, or the time of a whole request (`arrival_seconds`) since the first
        call of this method.
        """
        self._lingering_since = min(self._lingering_since, now)
        return now >= min(
            self._lingering_since + self._arrival_seconds,
            self._active_until + LINGER_SECONDS,
        )


def close_lingering(transport: asyncio.Transport) -> None:
    """Send FIN after what is unsent, and read on until the client closes.

    To close a socket with unread bytes resets the connection, and the client loses what
    it had not read of the answer (nginx calls this a lingering close). Whoever calls
    this has to end the connection when `Timeouts.linger_over`.
    """
    if transport.is_closing():
        return
    transport.resume_reading()
    try:
        transport.write_eof()
    except OSError:  # the client has gone, and reset the connection already
        transport.abort()


def has_unread(connected: socket.socket) -> bool:
    """Whether the kernel holds bytes that the event loop has not read yet."""
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except OSError:
        return False  # nothing there, or a reset
