"""The fast path: kept pages, plain refusals and /health go out past the web framework,
with the policies, the headers and the line in the log of a handler's answer.
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..cache import Entry, freshness_headers
from ..errors import ApiError, RateLimited, Unauthorized
from ..pages import HEALTH, PAGES, Endpoint, Page
from ..web import (
    Answer,
    Quota,
    Response,
    Session,
    SimpleRequest,
    TokenRequest,
    bearer_token,
    check_body,
    checked_body_token,
    client_address,
    common_headers,
    error_response,
    header_lines,
    json_object,
    negotiate,
    preferred_media,
    request_id,
    server_timing,
    wants_fresh,
)
from .base import HandlerContext
from .health import health_response
from .raw_head import RawHeads

__all__ = ["FastPath"]

# Found by method and path.
_PAGES: Final = {
    (method, page.path): page for page in PAGES if page.fast for method in page.allowed
}
_READY_ONLY: Final = {"/health": True, "/health/ready": True, "/health/live": False}
_VARY: Final = ("Vary", "Origin")

_Parts = tuple[Sequence[bytes], bool]


class FastPath:
    """Serves what can be served without waiting: pages at hand, refusals of tokens that
    cannot be any or that ask too often, and /health. It declines all else.

    What it declines takes the usual way and is judged there from the beginning: a page
    not at hand or not fresh, a faulty body, any request not of the simplest form.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._heads = RawHeads()

    def answer(self, request: SimpleRequest, peer: str, *, last: bool) -> _Parts | None:
        """Head and body for a request, and whether its connection ends with them; or
        None if it is declined.

        ``peer`` is the address of the socket's other end; ``last`` says that the
        connection is to end, whatever the client would like.
        """
        began = time.perf_counter()
        method, path, headers, _ = request
        page = _PAGES.get((method, path))
        ready_only = None if page is not None else _READY_ONLY.get(path)
        if page is None and (ready_only is None or method == "POST"):
            return None
        asked = _Asked(
            began,
            request,
            _address(peer, headers, self._context),
            request_id(headers.get("x-request-id")),
            last or headers.get("connection") == "close",
        )
        if page is not None:
            return self._page(page, asked)
        return self._whole(
            HEALTH, asked, health_response(self._context, ready_only=bool(ready_only))
        )

    def _page(self, page: Page, asked: "_Asked") -> _Parts | None:
        """A kept page, or why it is not given."""
        method, _, headers, body = asked.plain
        if preferred_media(headers.get("accept"), page.other_media) is not None:
            return None
        context = self._context
        try:
            token = (
                _body_token(headers, body)
                if method == "POST"
                else bearer_token(headers.get("authorization"))
            )
        except Unauthorized as failure:
            return self._refusal(page, asked, failure)
        except ApiError:
            return None
        now = context.clock()
        session = context.sessions.read(token)
        fresh = wants_fresh(headers.get("cache-control"))
        entry = context.service.answer_cache.get_fresh(
            page.resource, session, now, fresh=fresh
        )
        if entry is None:
            return None
        quota = context.limits.by_both(asked.address, session)
        if quota is None:
            return self._refusal(page, asked, None, session)
        return self._kept(page, asked, entry, quota, now)

    def _kept(
        self,
        page: Page,
        asked: "_Asked",
        entry: Entry[Answer],
        quota: Quota,
        now: float,
    ) -> _Parts:
        context = self._context
        method, path, headers, _ = asked.plain
        status, variant = negotiate(
            entry.value,
            method,
            headers.get("accept-encoding"),
            headers.get("if-none-match"),
        )
        seconds = time.perf_counter() - asked.began
        varying = header_lines(
            (
                *freshness_headers(entry, "HIT", now),
                *common_headers(
                    asked.request_id,
                    context.cors.headers(headers.get("origin")),
                    quota,
                    server_timing(seconds, "HIT"),
                ),
            )
        )
        lasting = (
            variant.block if status == 200 else header_lines(variant.unchanged_headers)
        )
        head = self._heads.make(status, lasting + varying, last=asked.last)
        # Before the client can know of it (see BaseHandler.finish).
        context.metrics.kept_answered(page.name, method, status, seconds)
        context.access_log.write(
            route=page.name,
            method=method,
            path=path,
            status=status,
            seconds=seconds,
            request_id=asked.request_id,
            address=asked.address,
            cache="HIT",
        )
        if method == "HEAD" or status == 304:
            return (head,), asked.last
        return (head, variant.body), asked.last

    def _refusal(
        self,
        page: Page,
        asked: "_Asked",
        failure: ApiError | None,
        session: Session | None = None,
    ) -> _Parts | None:
        """What a handler says: of the address's limit first, then of the token, then of
        the limit of its ``session``.
        """
        limits = self._context.limits
        quota = limits.by_address(asked.address)
        if session is not None and quota.decision.allowed:
            quota = limits.by_session(session, asked.address)
        try:
            quota.check()
        except RateLimited as refusal:
            failure = refusal
            self._context.refused_by_limit(refusal.kind, asked.address)
        if failure is None:
            return None  # the bucket was refilled meanwhile
        response = error_response(failure, asked.request_id)
        return self._whole(page, asked, response, quota, failure.code)

    def _whole(
        self,
        endpoint: Endpoint,
        asked: "_Asked",
        response: Response,
        quota: Quota | None = None,
        code: str | None = None,
    ) -> _Parts:
        """An answer that is composed for this request alone."""
        context = self._context
        method, path, headers, _ = asked.plain
        seconds = time.perf_counter() - asked.began
        lines = header_lines(
            (
                *response.headers,
                ("Content-Length", str(len(response.body))),
                _VARY,
                *common_headers(
                    asked.request_id,
                    context.cors.headers(headers.get("origin")),
                    quota,
                    server_timing(seconds, None) if endpoint.limited else None,
                ),
            )
        )
        head = self._heads.make(response.status, lines, last=asked.last)
        context.metrics.request_started()
        context.metrics.request_finished(
            endpoint.name, method, response.status, seconds
        )
        context.access_log.write(
            route=endpoint.name,
            method=method,
            path=path,
            status=response.status,
            seconds=seconds,
            request_id=asked.request_id,
            address=asked.address,
            code=code,
            quiet=endpoint.quiet,
        )
        parts = (head,) if method == "HEAD" else (head, response.body)
        return parts, asked.last


class _Asked(NamedTuple):
    """A request of the simplest form, with what every answer to it needs."""

    began: float
    plain: SimpleRequest
    address: str
    request_id: str
    last: bool


def _address(peer: str, headers: dict[str, str], context: HandlerContext) -> str:
    forwarded = headers.get("x-forwarded-for")
    return client_address(
        peer, [forwarded] if forwarded else (), context.trusted_proxies
    )


def _body_token(headers: dict[str, str], body: bytes) -> str:
    """The token of ``POST /api/attendance``, read as its handler does."""
    check_body(body, headers.get("content-encoding"))
    request = json_object(body, headers.get("content-type"), TokenRequest)
    return checked_body_token(request.token)
