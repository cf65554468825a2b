"""A student's answer as ready bytes: JSON, its gzip form made once, and ETags."""

import asyncio
import gzip
import hashlib
from typing import Final

import msgspec

from .cors import HeaderPairs
from .request_parsing import accepts_gzip

__all__ = [
    "Answer",
    "Variant",
    "header_lines",
    "make_answer",
    "matches",
    "server_timing",
]

_COMPRESS_FROM: Final = 860  # under one packet there is nothing to win
_COMPRESS_OFF_LOOP_FROM: Final = 512 * 1024  # zlib takes 1 or 2 ms for this much
# On pages of attendance 3 packs eleven to one in a quarter of the time that 6 takes
# for fourteen to one.
_GZIP_LEVEL: Final = 3
STUDENT_VARY: Final = "Authorization, Origin, Accept-Encoding"


class Variant(msgspec.Struct, frozen=True):
    """One encoding of an answer: its bytes and the headers that never change, as pairs
    and as they stand in a header block.
    """

    body: bytes
    etag: str
    headers: HeaderPairs
    block: str

    @property
    def unchanged_headers(self) -> HeaderPairs:
        """Of these headers, those of a 304."""
        return (("ETag", self.etag), ("Vary", STUDENT_VARY))


class Answer(msgspec.Struct, frozen=True):
    """What is kept and sent; ``packed`` is None where gzip would not pay."""

    plain: Variant
    packed: Variant | None

    @property
    def size(self) -> int:
        """Bytes of memory that this answer holds on to, near enough to be counted."""
        packed = len(self.packed.body) if self.packed else 0
        return len(self.plain.body) + packed + _VARIANT_BYTES * (2 if packed else 1)

    def variant(self, accept_encoding: str | None) -> Variant:
        """The form for this client."""
        if self.packed is not None and accepts_gzip(accept_encoding):
            return self.packed
        return self.plain


# A Struct, its headers twice and their strings: 700 and some (tests/test_answers.py).
_VARIANT_BYTES: Final = 800


def matches(if_none_match: str | None, variant: Variant) -> bool:
    """Weak comparison of ``If-None-Match`` (RFC 9110 13.1.2)."""
    if not if_none_match:
        return False
    if if_none_match == variant.etag:
        return True
    offered = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in offered or variant.etag.removeprefix("W/") in offered


async def make_answer(body: bytes) -> Answer:
    """The answer for these JSON bytes; large ones are compressed off the loop."""
    if len(body) < _COMPRESS_FROM:
        return Answer(_variant(body, f'W/"{_digest(body)}"'), None)
    if len(body) < _COMPRESS_OFF_LOOP_FROM:
        packed = _compressed(body)
    else:
        packed = await asyncio.to_thread(_compressed, body)
    # Of the packed form: it says the same in a tenth of the bytes.
    digest = _digest(packed)
    encoding = ("Content-Encoding", "gzip")
    return Answer(
        _variant(body, f'W/"{digest}"'),
        _variant(packed, f'W/"{digest}-gzip"', encoding),
    )


def _digest(form: bytes) -> str:
    return hashlib.blake2b(form, digest_size=12).hexdigest()


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def _variant(body: bytes, etag: str, *encoding: tuple[str, str]) -> Variant:
    headers = (
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("ETag", etag),
        ("Vary", STUDENT_VARY),
        *encoding,
    )
    return Variant(body, etag, headers, header_lines(headers))


def header_lines(headers: HeaderPairs) -> str:
    """Headers as they stand in a header block."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def server_timing(
    total: float, cache: str | None, upstream: float | None = None
) -> str:
    """``Server-Timing`` (W3C): the cache's part, the platform's and the whole, taken
    in seconds and told in milliseconds.
    """
    parts = [f"total;dur={total * 1000:.1f}"]
    if upstream is not None:
        parts.insert(0, f"upstream;dur={upstream * 1000:.1f}")
    if cache is not None:
        parts.insert(0, f'cache;desc="{cache}"')
    return ", ".join(parts)
