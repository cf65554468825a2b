"""The fast path: answers simple requests for pages, logins and /health without Tornado,
with the same policies, headers and access line as a handler.
"""

import time
from collections.abc import Awaitable, Callable
from functools import cache, partial

import msgspec
from tornado.http1connection import HTTP1ConnectionParameters

from ..cache import Entry, freshness_lines
from ..errors import ApiError
from ..logs import AccessKind
from ..pages import HEALTH, LOGIN, PAGES, Endpoint, Page
from ..web import (
    Answer,
    AnswerParts,
    Caller,
    Quota,
    SimpleRequest,
    common_lines,
    preferred_media,
    request_id,
    server_timing,
    wants_fresh,
)
from .context import HandlerContext
from .exchange import Exchange
from .health import READY_ONLY, health_response
from .login import Login
from .raw_answer import RawAnswers
from .raw_request import RawRequest

__all__ = ["FastPath"]


class _Pending(msgspec.Struct, frozen=True):
    """An answer that has to be waited for: ``make`` makes it, ``client_left`` is called
    if the client leaves. A page is gathered all the same, for the next request.
    """

    make: Callable[[], Awaitable[AnswerParts]]
    client_left: Callable[[], object] = lambda: None


_Answer = AnswerParts | _Pending | None


class FastPath:
    """Answers simple requests for pages, logins and /health. A page at hand and every
    refusal are ready at once; a login and other pages have to be waited for.

    It declines other addresses and other media types. A declined request goes to a
    Tornado handler, which judges it from the beginning.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._answers = RawAnswers()
        # There are few pages, methods and statuses.
        self._records_of = cache(self._make_records)
        # By method and path.
        self._routes: dict[tuple[str, str], Callable[[RawRequest], _Answer]] = {
            ("POST", LOGIN.path): self._login,
            **{
                (method, page.path): partial(self._page, page)
                for page in PAGES
                if not page.parameters
                for method in page.allowed
            },
            **{
                (method, path): partial(self._health, ready_only)
                for path, ready_only in READY_ONLY.items()
                for method in HEALTH.methods
            },
        }

    def answer(
        self, request: SimpleRequest, peer: str, *, params: HTTP1ConnectionParameters
    ) -> _Answer:
        """The answer to a request, or what makes it; None if it is declined.

        ``peer`` is the address of the socket's other end. ``params`` are read only when
        the head is made, since they may change: they say whether the connection stays.
        """
        began = time.perf_counter()
        method, path, headers, body = request
        route = self._routes.get((method, path))
        if route is None:
            return None
        forwarded = headers.get("x-forwarded-for")
        raw = RawRequest(
            began,
            method,
            path,
            headers,
            body,
            self._context.address_of(peer, [forwarded] if forwarded else ()),
            request_id(headers.get("x-request-id")),
            params,
        )
        return route(raw)

    def _health(self, ready_only: bool, raw: RawRequest) -> AnswerParts:
        response = health_response(self._context, ready_only=ready_only)
        return self._answers.whole(raw, self._exchange(HEALTH, raw), response)

    def _login(self, raw: RawRequest) -> _Pending:
        exchange = self._exchange(LOGIN, raw)
        login = Login(self._context, exchange)
        return _Pending(
            partial(self._logged_in, raw, exchange, login), login.client_left
        )

    async def _logged_in(
        self, raw: RawRequest, exchange: Exchange, login: Login
    ) -> AnswerParts:
        """The platform's answer to a login, or why the login was not made."""
        exchange.enter()
        try:
            exchange.admit_address()
            content_type = raw.headers.get("content-type")
            response = await login.answer(raw.body, content_type)
        except Exception as fault:  # noqa: BLE001 - logged if ours; told as a 500
            exchange.log_fault(fault)
            response = exchange.failed(fault)
        return self._answers.whole(raw, exchange, response)

    def _page(self, page: Page, raw: RawRequest) -> _Answer:
        """A page, or why it is refused: the address's limit is judged first, then the
        token, then the limit of its session.
        """
        headers = raw.headers
        if preferred_media(headers.get("accept"), page.other_media) is not None:
            return None
        context = self._context
        try:
            token = raw.token()
        except ApiError as failure:
            return self._refused(page, raw, failure)
        now = context.clock()
        session = context.sessions.read(token)
        fresh = wants_fresh(headers.get("cache-control"))
        entry = context.service.answer_cache.get_fresh(
            page.resource, session, now, fresh=fresh
        )
        if entry is not None and not entry.value.is_large:
            quota = context.limits.by_both(raw.address, session)
            if quota is not None:
                return self._kept(page, raw, entry, quota, now)
        exchange = self._exchange(page, raw)
        try:
            exchange.admit_address()
            caller = exchange.admit(token, session)
        except ApiError as failure:
            return self._answers.whole(raw, exchange, exchange.failed(failure))
        return _Pending(partial(self._gathered, page, raw, exchange, caller, fresh))

    def _kept(
        self,
        page: Page,
        raw: RawRequest,
        entry: Entry[Answer],
        quota: Quota,
        now: float,
    ) -> AnswerParts:
        """A page at hand. Does what `Exchange` does for others, in half the time."""
        context = self._context
        status, variant = raw.negotiated(entry.value)
        seconds = time.perf_counter() - raw.began
        varying = freshness_lines(entry, "HIT", now) + common_lines(
            raw.request_id,
            context.cors.lines(raw.headers.get("origin")),
            quota,
            server_timing(seconds, "HIT"),
        )
        parts = self._answers.variant(raw, status, variant, varying)
        count, kind = self._records_of(page.name, page.path, raw.method, status)
        count(seconds)  # before the client can know of it (see `Exchange.answering`)
        context.access_log.write_of(kind, seconds, raw.request_id, raw.address)
        return parts

    def _make_records(
        self, route: str, path: str, method: str, status: int
    ) -> tuple[Callable[[float], None], AccessKind | None]:
        """The counter of kept pages so answered, and what their access lines share."""
        log = self._context.access_log
        return (
            self._context.metrics.kept_answered(route, method, status),
            log.kind(route=route, method=method, path=path, status=status, cache="HIT"),
        )

    async def _gathered(
        self,
        page: Page,
        raw: RawRequest,
        exchange: Exchange,
        caller: Caller,
        fresh: bool,
    ) -> AnswerParts:
        """A page that is not at hand, or why it cannot be had."""
        exchange.enter()
        context = self._context
        try:
            served = await context.service.page(
                page, caller, exchange.deadline, fresh=fresh
            )
            exchange.note_served(served)
            answer = await served.entry.value.at_hand(raw.accept_encoding)
            status, variant = raw.negotiated(answer)
        except Exception as fault:  # noqa: BLE001 - logged if ours; told as a 500
            exchange.log_fault(fault)
            return self._answers.whole(raw, exchange, exchange.failed(fault))
        freshness = freshness_lines(served.entry, served.outcome.value, context.clock())
        varying = freshness + exchange.header_lines(raw.headers.get("origin"))
        parts = self._answers.variant(raw, status, variant, varying)
        exchange.answering(raw.method, status)
        exchange.answered(raw.method, raw.path, status)
        return parts

    def _refused(self, page: Page, raw: RawRequest, failure: ApiError) -> AnswerParts:
        """A refusal, or that of the address's limit if this refuses too."""
        exchange = self._exchange(page, raw)
        try:
            exchange.admit_address()
        except ApiError as earlier:
            failure = earlier
        return self._answers.whole(raw, exchange, exchange.failed(failure))

    def _exchange(self, endpoint: Endpoint, raw: RawRequest) -> Exchange:
        return Exchange(
            self._context, endpoint, raw.request_id, raw.address, raw.seconds
        )
