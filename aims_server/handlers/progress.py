"""The all-attendance page as an event stream (WHATWG HTML 9.2): first the progress of
its gathering, then the page.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from tornado.iostream import StreamClosedError

from ..cache import Served
from ..pages import Page
from ..service import AimsService, Gathering
from ..web import CLIENT_CLOSED, Answer, Caller, preferred_media
from .api import PageHandler, SubjectHandler

__all__ = ["ProgressHandler", "page_handler"]

EVENT_STREAM: Final = "text/event-stream"
# Keeps proxies from closing a stream that has nothing to say.
_COMMENT: Final = b":\n\n"
_COMMENT_SECONDS: Final = 5.0


class ProgressHandler(PageHandler):
    """A page, or the events of its gathering if ``Accept`` prefers them.

    The events: ``started`` once the subjects are known, ``subject`` for each of them,
    then ``page`` with the whole answer, or ``error`` with the error body. The stream
    joins a gathering that is under way; closing the stream does not end it. A slow
    client gets the events when it has read the earlier ones.
    """

    async def get(self) -> None:
        """The page, or the events."""
        accept = self.request.headers.get("Accept")
        if preferred_media(accept, [EVENT_STREAM]) is None:
            await super().get()
        else:
            await self._stream(self.bearer())

    async def _stream(self, caller: Caller) -> None:
        self.set_header("Content-Type", f"{EVENT_STREAM}; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx: pass each event on at once
        self.set_header("Vary", "Authorization, Origin, Accept")
        self.add_common_headers()
        if self.request.method == "HEAD":
            await self.flush()  # that is all, and the next request need not wait
            return
        page = asyncio.ensure_future(
            self.service.page(
                self.endpoint, caller, self.exchange.deadline, fresh=self.fresh
            )
        )
        try:
            await self.flush()
            await self._stream_progress(_Events(self.service, caller), page)
            self.write(await self._last_event(page))
        except StreamClosedError:
            self.set_status(CLIENT_CLOSED)  # for the log only
        finally:
            page.cancel()
            del page  # from Python 3.13 on a fault holds this frame too

    async def _stream_progress(
        self, events: "_Events", page: "asyncio.Future[Served[Answer]]"
    ) -> None:
        """Send events and comments until the page is there or has failed."""
        quiet_until = time.monotonic() + _COMMENT_SECONDS
        while not page.done():
            news = asyncio.ensure_future(events.come())
            either: list[asyncio.Future[Any]] = [page, news]
            try:
                await asyncio.wait(
                    either,
                    timeout=max(0.0, quiet_until - time.monotonic()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                news.cancel()
            sent = b"".join(events.take())
            if not sent and time.monotonic() >= quiet_until:
                sent = _COMMENT
            if sent:
                self.write(sent)
                await self.flush()  # until the client's connection has taken it
                quiet_until = time.monotonic() + _COMMENT_SECONDS

    async def _last_event(self, page: "asyncio.Future[Served[Answer]]") -> bytes:
        try:
            served = page.result()
        except Exception as fault:  # noqa: BLE001 - logged if ours; told as an event
            self.exchange.log_fault(fault)
            return _event("error", self.exchange.failed(fault).body)
        finally:
            # The fault's traceback holds this frame: a cycle that would keep the whole
            # request, 30 kB, until the garbage collector runs.
            del page
        self.exchange.note_served(served)
        answer = await served.entry.value.at_hand(None)
        return _event("page", answer.plain.body)


class _Events:
    """A gathering's events for one client; remembers which ones were sent."""

    def __init__(self, service: AimsService, caller: Caller) -> None:
        self._service = service
        self._caller = caller
        self._gathering: Gathering | None = None
        self._begin()

    def _begin(self) -> None:
        """Note that no event of this gathering was sent yet."""
        self._seen = 0
        self._started = False
        self._sent = 0

    async def come(self) -> None:
        """Wait until there is more to send. If the gathering has ended without the
        page that was asked for, or its worker is gone, go on with the next gathering.
        """
        gathering = self._gathering
        if gathering is None or (gathering.ended and gathering.version == self._seen):
            gathering = self._gathering = await self._service.gathering(self._caller)
            self._begin()
        await gathering.changed(self._seen)

    def take(self) -> Iterator[bytes]:
        """Yield the events that were not sent yet."""
        gathering = self._gathering
        if gathering is None:
            return
        self._seen = gathering.version
        if gathering.head is None:
            return
        names = gathering.head.names()
        of = len(names)
        if not self._started:
            self._started = True
            yield _event("started", msgspec.json.encode({"subjects": of}))
        for cf_id in list(gathering.parts)[self._sent :]:
            self._sent += 1
            progress = {"name": names[cf_id], "done": self._sent, "of": of}
            yield _event("subject", msgspec.json.encode(progress))


def _event(kind: str, data: bytes) -> bytes:
    """One event; ``data`` is JSON and so has no line break."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def page_handler(page: Page) -> type[PageHandler] | type[SubjectHandler]:
    """The handler class of a page."""
    if page.parameters:
        return SubjectHandler
    return ProgressHandler if EVENT_STREAM in page.other_media else PageHandler
