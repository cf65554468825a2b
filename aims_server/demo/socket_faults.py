"""Answers that break HTTP or the connection, really sent over the bare socket, and what
a platform may say between two calls.
"""

import asyncio
import socket
import struct
import zlib
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import cache
from http.client import responses

from tornado.iostream import IOStream, StreamClosedError

from .backend import Reply
from .faults import Fault, Kind

__all__ = ["bomb", "break_answer", "stray_after", "write_unasked"]

MEGABYTE = 1_000_000
_STRAYS: dict[Kind | None, bytes] = {
    "stray_408": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "stray_crlf": b"\r\n",
    "stray_garbage": b"\x16\x03garbage\r\n\r\n",
}
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_JSON = "Content-Type: application/json"


async def break_answer(stream: IOStream, reply: Reply, fault: Fault) -> None:
    """Send the answer in the way of the fault; the stream is closed afterwards.

    Raises tornado.iostream.StreamClosedError when the caller leaves meanwhile.
    """
    assert fault.kind is not None
    try:
        await _BROKEN_ANSWERS[fault.kind](stream, reply, fault)
    finally:
        stream.close()


def stray_after(reply: Reply, fault: Fault) -> bytes | None:
    """What follows an answer that is sound itself; None for other kinds of faults."""
    if fault.kind == "answer_twice":
        return whole(reply)
    return _STRAYS.get(fault.kind)


def write_unasked(stream: IOStream, text: bytes) -> None:
    """Say something on a connection that may have ended."""
    if not stream.closed():
        with suppress(StreamClosedError):
            # Nobody awaits it, so a failure must count as seen.
            stream.write(text).add_done_callback(Future.exception)


def head(reply: Reply, *headers: str) -> bytes:
    """Return status line and headers of a reply, without any length."""
    reason = responses.get(reply.status, "Unknown")
    lines = (f"HTTP/1.1 {reply.status} {reason}", _JSON, *headers, "", "")
    return "\r\n".join(lines).encode()


def whole(reply: Reply) -> bytes:
    """Return the answer as it should be."""
    return head(reply, _length(reply)) + reply.body


def _length(reply: Reply) -> str:
    return f"Content-Length: {len(reply.body)}"


async def _reset(stream: IOStream, _: Reply, __: Fault) -> None:
    if stream.closed():
        raise StreamClosedError
    # With a linger time of 0 the kernel sends RST instead of FIN.
    linger = struct.pack("ii", 1, 0)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def _reset_midway(stream: IOStream, reply: Reply, fault: Fault) -> None:
    await _half(stream, reply)
    # A reset overtakes what the reader has not read: let it have the half first.
    await asyncio.sleep(0.05)
    await _reset(stream, reply, fault)


async def _half(stream: IOStream, reply: Reply) -> None:
    text = whole(reply)
    await stream.write(text[: len(text) - len(reply.body) // 2 - 1])


async def _hang(_: IOStream, __: Reply, ___: Fault) -> None:
    await asyncio.Event().wait()


async def _hang_midway(stream: IOStream, reply: Reply, fault: Fault) -> None:
    await _half(stream, reply)
    await _hang(stream, reply, fault)


async def _trickle(stream: IOStream, reply: Reply, fault: Fault) -> None:
    for byte in whole(reply):
        await stream.write(bytes((byte,)))
        await asyncio.sleep(fault.interval)


async def _short_body(stream: IOStream, reply: Reply, _: Fault) -> None:
    promised = f"Content-Length: {len(reply.body) + 1000}"
    await stream.write(head(reply, promised) + reply.body)


async def _close(_: IOStream, __: Reply, ___: Fault) -> None:
    """Say nothing; that the stream is closed afterwards is the whole fault."""


async def _bad_header(stream: IOStream, reply: Reply, _: Fault) -> None:
    bad = ("No colon in this line", ": no name", "X-Zero: a\0b", "X\x7f y: z")
    await stream.write(head(reply, *bad, _length(reply)) + reply.body)


async def _huge_headers(stream: IOStream, reply: Reply, _: Fault) -> None:
    huge = (f"X-Huge-{number}: {'h' * 10_000}" for number in range(200))
    await stream.write(head(reply, *huge, _length(reply)) + reply.body)


async def _bad_chunk(stream: IOStream, reply: Reply, _: Fault) -> None:
    start = head(reply, "Transfer-Encoding: chunked")
    await stream.write(start + b"zz\r\n" + reply.body + b"\r\n0\r\n\r\n")


async def _endless(stream: IOStream, reply: Reply, _: Fault) -> None:
    await stream.write(head(reply, "Transfer-Encoding: chunked"))
    blanks = _chunk(b" " * 65_536)
    while True:
        await stream.write(blanks)
        await asyncio.sleep(0)


async def _gzip_bomb(stream: IOStream, reply: Reply, fault: Fault) -> None:
    packed = ("Content-Encoding: gzip", "Transfer-Encoding: chunked")
    await stream.write(head(reply, *packed))
    for piece in bomb(fault.megabytes, reply.body):
        await stream.write(_chunk(piece))
    await stream.write(_chunk(b""))


async def _bad_gzip(stream: IOStream, reply: Reply, _: Fault) -> None:
    # A sound header, then a block of the one type that deflate does not have.
    noise = reply._replace(body=_GZIP_HEADER + b"\xff" * 500)
    headers = ("Content-Encoding: gzip", _length(noise))
    await stream.write(head(noise, *headers) + noise.body)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def bomb(megabytes: int, body: bytes) -> Iterator[bytes]:
    """Yield a gzip stream that unpacks to so many million blanks, then `body`.

    Blanks may precede JSON, so a reader without a bound gets a sound answer. The
    packed million is made once: after a full flush the same input packs the same.
    """
    blanks, packed = _packed_blanks()
    yield _GZIP_HEADER
    check = 0
    for _ in range(megabytes):
        check = zlib.crc32(blanks, check)
        yield packed
    size = megabytes * MEGABYTE + len(body)
    check = zlib.crc32(body, check)
    last = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    yield last.compress(body) + last.flush()
    yield struct.pack("<II", check, size & 0xFFFFFFFF)


@cache
def _packed_blanks() -> tuple[bytes, bytes]:
    blanks = b" " * MEGABYTE
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return blanks, packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)


_BROKEN_ANSWERS: dict[Kind, Callable[[IOStream, Reply, Fault], Awaitable[None]]] = {
    "reset": _reset,
    "reset_midway": _reset_midway,
    "hang": _hang,
    "hang_midway": _hang_midway,
    "trickle": _trickle,
    "short_body": _short_body,
    "close_before_answer": _close,
    "bad_header": _bad_header,
    "huge_headers": _huge_headers,
    "bad_chunk": _bad_chunk,
    "endless": _endless,
    "gzip_bomb": _gzip_bomb,
    "bad_gzip": _bad_gzip,
}
