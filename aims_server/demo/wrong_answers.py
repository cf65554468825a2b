"""Answers that are sound HTTP and wrong all the same, each made from a good one."""

import re
from collections.abc import Callable
from zlib import crc32

from .backend import Reply
from .faults import Fault, Kind

__all__ = ["EMPTY", "wrong_answer"]

DEPTH = 100_000

HTML_PAGE = b"""<!DOCTYPE html>
<html><head><title>Under maintenance</title></head>
<body><h1>We'll be back soon!</h1><p>Simulated maintenance page.</p></body></html>
"""

WRONG_TYPES = (
    b'{"msg":"","response":{"data":{"0":"x"}}}',
    b'{"msg":"","response":[1,2]}',
    b'{"msg":"","response":{"data":[1,"two",null]}}',
    b'{"msg":"","response":{"data":[{"id":{},"student_id":[],"state":7,'
    b'"start_time":[],"cdata":"x","attendance_summary":"none","quiz_link":4}]}}',
    b'{"msg":"","response":null}',
    b'{"responseStatus":"Failure","errors":["Invalid URL"]}',
    b"[]",
    b'"ok"',
)

EMPTY = b'{"msg":"","response":{"data":[]}}'


def wrong_answer(reply: Reply, fault: Fault, elsewhere: str) -> Reply | None:
    """Return the wrong answer of a fault; None when its kind needs the bare socket.

    `elsewhere` is where a redirect leads that names no place of its own.
    """
    assert fault.kind is not None
    if fault.kind == "redirect":
        place = fault.location or elsewhere
        return Reply(fault.status or 302, b"", (("Location", place),))
    change = _CHANGES.get(fault.kind)
    return None if change is None else change(reply, fault)


def _status(_: Reply, fault: Fault) -> Reply:
    body = b'{"status":0,"msg":"Simulated failure"}'
    return Reply(fault.status or 503, body, _retry_after(fault.retry_after))


def _rate_limited(_: Reply, fault: Fault) -> Reply:
    body = b'{"status":0,"msg":"Too many requests"}'
    return Reply(429, body, _retry_after(fault.retry_after or "1"))


def _retry_after(value: str | None) -> tuple[tuple[str, str], ...]:
    return () if value is None else (("Retry-After", value),)


def _html(_: Reply, fault: Fault) -> Reply:
    kind = ("Content-Type", "text/html; charset=UTF-8")
    return Reply(fault.status or 200, HTML_PAGE, (kind,))


def _body(change: Callable[[bytes, Fault], bytes]) -> Callable[[Reply, Fault], Reply]:
    return lambda reply, fault: Reply(fault.status or 200, change(reply.body, fault))


def _deep(_: bytes, __: Fault) -> bytes:
    inside = b"[" * DEPTH + b"]" * DEPTH
    return b'{"msg":"","response":{"data":' + inside + b"}}"


def _large(body: bytes, fault: Fault) -> bytes:
    return b" " * (fault.megabytes * 1_000_000) + body


def _two_students(body: bytes, _: Fault) -> bytes:
    return re.sub(rb'("student_id":"?)\d', rb"\g<1>8", body, count=1)


# The body itself chooses which of the wrong shapes it gets, so that a page of
# fifteen subjects meets several of them and meets the same ones each time.
_CHANGES: dict[Kind, Callable[[Reply, Fault], Reply]] = {
    "status": _status,
    "body": _body(lambda _, fault: fault.body.encode()),
    "rate_limited": _rate_limited,
    "html": _html,
    "broken_json": _body(lambda body, _: body[:-1] + b",}"),
    "truncated_json": _body(lambda body, _: body[: len(body) // 2]),
    "wrong_types": _body(lambda body, _: WRONG_TYPES[crc32(body) % len(WRONG_TYPES)]),
    "empty": _body(lambda *_: EMPTY),
    "empty_body": _body(lambda *_: b""),
    "no_token": _body(lambda *_: b'{"status":0,"msg":"Please try again"}'),
    "nan": _body(lambda body, _: re.sub(rb":\s*\d+", b":NaN", body, count=1)),
    "bad_utf8": _body(lambda body, _: body.replace(b'"msg":"', b'"msg":"\xff\xfe', 1)),
    "deep_json": _body(_deep),
    "large": _body(_large),
    "two_students": _body(_two_students),
}
