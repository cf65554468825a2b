"""A call for the pool of curl handles, and its outcome."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from ...errors import FailureCause

__all__ = ["Reply", "Request", "Transfer", "header_lines"]


class Request(msgspec.Struct, frozen=True):
    """One call: a POST if there is a body. It may take ``seconds`` from when it gets a
    handle, and ``connect_seconds`` of them to connect. With ``fresh`` it uses a new
    connection.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    connect_seconds: float
    fresh: bool = False

    def __repr__(self) -> str:
        return "<Request>"  # url, headers and body are a student's, or secret


class Reply(msgspec.Struct, frozen=True):
    """The platform's answer with any status. ``retry_after`` (seconds) and ``location``
    are set only if it is no 2xx.

    ``connection`` is set if the answer came on an HTTP/1.1 connection that had served a
    call before: only then may it be the answer to another request.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    location: str | None = None
    connection: Hashable = None


class Transfer(asyncio.Future[Reply | FailureCause]):
    """A request, and the future of its outcome. ``lasting_lines`` are the headers of
    all requests; ``on_cancel`` is called when nobody waits any more.

    A GET may be made twice: on a kept connection, and on a new one if the first is
    broken or has unexpected bytes on it. A POST is made once, on a new connection: when
    a connection breaks, the platform may have counted the login already.
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
        self.fresh = request.fresh or request.body is not None
        self.deadline = 0.0  # of the loop's clock, once it has a handle
        self.preconnected = False
        self._on_cancel = on_cancel

    def cancel(self, msg: object = None) -> bool:
        """End the call. A done callback would take 3 us of each call for this."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._on_cancel(self)
        return cancelled

    def restart(self) -> None:
        """Begin again, on a new connection."""
        self.fresh = True
        self.preconnected = False


def header_lines(headers: Mapping[str, str]) -> list[bytes]:
    """Headers as curl takes them; raises ValueError for an invalid one."""
    lines: list[bytes] = []
    for name, value in headers.items():
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line break in the header {name!r}")
        lines.append(line.encode("latin-1"))
    return lines
