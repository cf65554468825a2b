"""Composes answers: the headers of each kind of answer.

Handlers, the fast path and the listener's refusals take their headers from here, so
that they cannot differ.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

from ..errors import ApiError
from ..primitives import utc_timestamp
from .headers import HeaderPairs, header_lines
from .quotas import Quota
from .representation import JSON_TYPE

__all__ = [
    "CLIENT_CLOSED",
    "Response",
    "closing_message",
    "common_lines",
    "error_response",
    "json_response",
    "reason_phrase",
    "server_timing",
]

CLIENT_CLOSED: Final = 499
"""nginx's status for a client that did not wait for its answer."""

_REASONS: Final = {each.value: each.phrase for each in HTTPStatus} | {
    CLIENT_CLOSED: "Client Closed Request"
}

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Response(msgspec.Struct, frozen=True, gc=False):
    """A whole answer, without the headers of its request and its connection."""

    status: int
    headers: HeaderPairs
    body: bytes


def json_response(status: int, body: bytes) -> Response:
    """A response of JSON bytes that no cache may keep.

    >>> dict(json_response(200, b"{}").headers)["Cache-Control"]
    'no-store'
    """
    return Response(status, (JSON_TYPE, ("Cache-Control", "no-store")), body)


def reason_phrase(status: int) -> str:
    """The phrase after a status in an answer's first line. The platform may have chosen
    a status without one.

    >>> reason_phrase(404), reason_phrase(419)
    ('Not Found', 'Unknown')
    """
    return _REASONS.get(status, "Unknown")


class _ErrorBody(msgspec.Struct, rename="camel"):
    error: str
    message: str
    code: str
    request_id: str
    timestamp: str


def error_response(
    failure: ApiError, request_id: str, *, beside: bytes | None = None
) -> Response:
    """A failure in the form of docs/contract.rst 2.4. ``error`` and ``message`` are the
    same, since frontends of the old backends read one or the other. ``beside`` is a
    JSON object whose fields come before these.
    """
    now = utc_timestamp(int(time.time()))
    body = msgspec.json.encode(
        _ErrorBody(failure.message, failure.message, failure.code, request_id, now)
    )
    if beside is not None:
        body = msgspec.json.encode(_FIELDS.decode(beside) | _FIELDS.decode(body))
    answer = json_response(failure.status, body)
    headers = (*answer.headers, *failure.headers())
    return msgspec.structs.replace(answer, headers=headers)


def common_lines(
    request_id: str, cors: str, quota: Quota | None, timing: str | None
) -> str:
    """The header lines of every answer, success and failure alike, with the ``cors``
    lines. Only limited requests have ``quota`` and ``timing``.
    """
    limit = "" if quota is None else quota.header_lines()
    timed = "" if timing is None else f"Server-Timing: {timing}\r\n"
    return (
        "X-Content-Type-Options: nosniff\r\n"
        f"X-Request-Id: {request_id}\r\n{cors}{limit}{timed}"
    )


def closing_message(failure: ApiError, request_id: str, cors: str = "") -> bytes:
    """The bytes of a whole HTTP/1.1 answer that ends its connection, for a request that
    is not parsed. ``cors`` are the CORS lines, if the origin is known all the same.
    """
    answer = error_response(failure, request_id)
    headers = (
        *answer.headers,
        ("Content-Length", str(len(answer.body))),
        ("Date", formatdate(usegmt=True)),
        ("Connection", "close"),
        ("Vary", "Origin"),
    )
    line = f"HTTP/1.1 {failure.status} {reason_phrase(failure.status)}\r\n"
    common = common_lines(request_id, cors, None, None)
    return f"{line}{header_lines(headers)}{common}\r\n".encode() + answer.body


def server_timing(
    total: float, cache: str | None, upstream: float | None = None
) -> str:
    """``Server-Timing`` (W3C): the cache's outcome, the platform's time and the total
    time. Times are taken in seconds, written in milliseconds.

    >>> server_timing(0.0123, "MISS", 0.01)
    'cache;desc="MISS", upstream;dur=10.0, total;dur=12.3'
    """
    parts = [f"total;dur={total * 1000:.1f}"]
    if upstream is not None:
        parts.insert(0, f"upstream;dur={upstream * 1000:.1f}")
    if cache is not None:
        parts.insert(0, f'cache;desc="{cache}"')
    return ", ".join(parts)
