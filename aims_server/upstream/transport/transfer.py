"""One call that a pool of curl handles is to make, and its outcome."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from ...errors import FailureCause

__all__ = ["Reply", "Request", "Transfer", "header_lines"]


class Request(msgspec.Struct, frozen=True):
    """One call: a POST if there is a body. ``seconds`` count from when it gets a
    handle, ``connect_seconds`` are those of them until a connection must be there. It
    shares none that carries another call if it is to be ``apart``, and uses none that
    was there before if it is to be ``fresh``.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    connect_seconds: float
    apart: bool = False
    fresh: bool = False

    def __repr__(self) -> str:
        return "<Request>"  # url, headers and body are a student's, or secret


class Reply(msgspec.Struct, frozen=True):
    """What the platform answered, whatever its status. ``retry_after`` (seconds) and
    ``location`` are those of an answer that is no 2xx.

    ``connection`` is the one of HTTP/1.1 that had served another call before, if it
    came on such a one: only then may it be the answer to another request.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    location: str | None = None
    connection: Hashable = None


class Transfer(asyncio.Future[Reply | FailureCause]):
    """A request, and the future of its outcome. ``lasting_lines`` are the headers of
    all requests; ``on_cancel`` is told when nobody waits any more.

    A GET may be made twice: on a kept connection, and, if that turns out to be broken
    or has something on it that nobody asked for, on a new one. A POST is made once, on
    a new one: a login may have been counted by the time that its connection breaks.
    """

    __slots__ = (
        "_on_cancel",
        "deadline",
        "fresh",
        "header_lines",
        "preconnected",
        "request",
    )

    def __init__(
        self,
        request: Request,
        lasting_lines: Sequence[bytes],
        loop: asyncio.AbstractEventLoop,
        on_cancel: "Callable[[Transfer], object]",
    ) -> None:
        super().__init__(loop=loop)
        self.request = request
        self.header_lines = [*lasting_lines, *header_lines(request.headers)]
        if request.body is not None:
            # No asking whether a large body may be sent.
            self.header_lines.append(b"Expect:")
        self.fresh = request.fresh or request.body is not None
        self.deadline = 0.0  # of the loop's clock, once it has a handle
        self.preconnected = False
        self._on_cancel = on_cancel

    def cancel(self, msg: object = None) -> bool:
        """End the call: no done callback, which takes 3 us of each call for this."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._on_cancel(self)
        return cancelled

    def restart(self) -> None:
        """Begin anew, on a new connection."""
        self.fresh = True
        self.preconnected = False


def header_lines(headers: Mapping[str, str]) -> list[bytes]:
    """Headers as curl takes them; raises ValueError for what is none."""
    lines: list[bytes] = []
    for name, value in headers.items():
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line break in the header {name!r}")
        lines.append(line.encode("latin-1"))
    return lines
