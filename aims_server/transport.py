"""One HTTP call to the platform over a pool of curl handles: a Reply, or one of our
errors. The only module that knows pycurl.
"""

import logging
import os
from collections.abc import Callable
from typing import Final

import msgspec
import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError
from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPHeaders, HTTPInputError

from .errors import UpstreamDropped, UpstreamError, UpstreamTimeout

__all__ = ["MAX_BODY_BYTES", "Reply", "Transport"]

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 0.001  # curl reads 0 as "no limit"

# At DEBUG this logger prints URLs and the Authorization header.
logging.getLogger("tornado.curl_httpclient").setLevel(logging.INFO)


class Reply(msgspec.Struct, frozen=True):
    """What the platform answered, whatever its status."""

    status: int
    body: bytes
    retry_after: str | None


class Transport:
    """The curl pool of one worker.

    Made after the fork, in the worker that uses it: a curl handle that crosses a fork
    hands one process the other's answers. ``handles`` should be at least the number
    of calls ever made at once, because curl's own queue knows no deadline.
    """

    def __init__(self, handles: int, user_agent: str) -> None:
        self._owner = os.getpid()
        self._user_agent = user_agent
        self._client: CurlAsyncHTTPClient = _QuietCurlClient(
            force_instance=True, max_clients=handles, max_body_size=MAX_BODY_BYTES
        )

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        seconds: float,
        body: bytes | None = None,
    ) -> Reply:
        """Make one call within ``seconds``, connecting included.

        Raises :class:`UpstreamTimeout`, :class:`UpstreamDropped` when the connection
        could not be made or broke, :class:`UpstreamError` for an answer that is no
        HTTP, larger than 8 MB unpacked, or badly compressed.
        """
        if os.getpid() != self._owner:
            raise RuntimeError("a curl pool must not cross a fork")
        seconds = max(seconds, _SHORTEST_SECONDS)
        request = HTTPRequest(
            url,
            method=method,
            headers=HTTPHeaders(headers),
            body=body,
            connect_timeout=min(seconds, _CONNECT_SECONDS),
            request_timeout=seconds,
            follow_redirects=False,
            user_agent=self._user_agent,
            validate_cert=True,
            decompress_response=True,
            prepare_curl_callback=_prepare if method == "GET" else _prepare_once,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except CurlError as fault:
            raise _translated(fault.errno) from None
        return Reply(
            response.code, response.body, response.headers.get("Retry-After", None)
        )

    def close(self) -> None:
        """Drop every connection; calls under way never end, so cancel them before."""
        self._client.close()


class _QuietCurlClient(CurlAsyncHTTPClient):
    def close(self) -> None:
        super().close()
        # Closing handles in use makes curl ask for a timer once more, and that one
        # would find no client (Tornado 6.6.1 removes the earlier one only).
        if self._timeout is not None:
            self.io_loop.remove_timeout(self._timeout)

    def _curl_header_callback(  # type: ignore[override]  # curl reads the result
        self,
        headers: HTTPHeaders,
        header_callback: Callable[[str], None] | None,
        header_line_bytes: bytes,
    ) -> int | None:
        # An exception inside a curl callback is printed to stderr by pycurl, past
        # any logging. Taking no byte of the line fails the call as cleanly.
        try:
            super()._curl_header_callback(headers, header_callback, header_line_bytes)
        except HTTPInputError:
            return 0
        return None


def _prepare(curl: pycurl.Curl) -> None:
    # Threads come and go (gzip of large answers); never let curl use signals.
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.TCP_KEEPALIVE, 1)
    # No PIPEWAIT, though HTTP/2 is offered: where it is not taken, all first calls
    # would wait for the one that was made first to be answered, or to hang.


def _prepare_once(curl: pycurl.Curl) -> None:
    _prepare(curl)
    # When a kept connection turns out to be broken, curl makes the call again on its
    # own: a login too, which may have been counted by then. On a new connection it
    # does not; that one serves the calls which follow the login.
    curl.setopt(pycurl.FRESH_CONNECT, 1)


_E_TOO_LARGE: Final = 100  # pycurl has no name for it
_UNUSABLE: Final = frozenset(
    {
        pycurl.E_WRITE_ERROR,  # our own refusal: oversized body, malformed header
        pycurl.E_FTP_WEIRD_SERVER_REPLY,  # of old for any server that makes no sense
        pycurl.E_BAD_CONTENT_ENCODING,
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_HTTP2,
        _E_TOO_LARGE,
    }
)


def _translated(errno: int) -> UpstreamError:
    """Curl's errors, told apart by number (libcurl-errors(3)), never by text: the
    text may quote the URL or a header.
    """
    if errno == pycurl.E_OPERATION_TIMEDOUT:
        return UpstreamTimeout()
    if errno in _UNUSABLE:
        return UpstreamError()
    return UpstreamDropped()
