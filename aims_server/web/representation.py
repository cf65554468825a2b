"""An answer as ready bytes: its JSON or file, its gzip form made once, ETags, and which
of them a request gets.
"""

import asyncio
import gzip
import hashlib
import zlib
from typing import Final

import msgspec

from .cors import HeaderPairs
from .request_parsing import accepts_gzip

__all__ = [
    "JSON_TYPE",
    "Answer",
    "Variant",
    "digest_of",
    "header_lines",
    "make_answer",
    "make_variant",
    "matches",
    "negotiate",
    "pack_answer",
    "unpack_answer",
]

JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
_COMPRESS_FROM: Final = 860  # under one packet there is nothing to win
_COMPRESS_OFF_LOOP_FROM: Final = 512 * 1024  # zlib takes 1 or 2 ms for this much
# On pages of attendance 3 packs eleven to one in a quarter of the time that 6 takes
# for fourteen to one.
_GZIP_LEVEL: Final = 3
_OF_THE_BODY: Final = frozenset({"Content-Type", "Content-Length", "Content-Encoding"})
# Made once: thousands of kept answers hold them.
_STUDENT_LASTING: Final = (("Vary", "Authorization, Origin, Accept-Encoding"),)
_BY_ACCEPT: Final = (("Vary", "Authorization, Origin, Accept-Encoding, Accept"),)


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
        """Of these headers, those of a 304: what describes the body is left out."""
        return tuple(pair for pair in self.headers if pair[0] not in _OF_THE_BODY)


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


# A Struct, its headers twice and their strings: 700 and some
# (tests/web/test_representation.py).
_VARIANT_BYTES: Final = 800


def negotiate(
    answer: Answer,
    method: str,
    accept_encoding: str | None,
    if_none_match: str | None,
) -> tuple[int, Variant]:
    """Status and form for a request: 304 where the client has that form already and
    asked by GET or HEAD (RFC 9110 13.2.2), else 200.
    """
    variant = answer.variant(accept_encoding)
    known = method in ("GET", "HEAD") and matches(if_none_match, variant)
    return 304 if known else 200, variant


def matches(if_none_match: str | None, variant: Variant) -> bool:
    """Weak comparison of ``If-None-Match`` (RFC 9110 13.1.2)."""
    if not if_none_match:
        return False
    if if_none_match == variant.etag:
        return True
    offered = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in offered or variant.etag.removeprefix("W/") in offered


async def make_answer(
    body: bytes,
    of_the_moment: str = "",
    *,
    content_type: tuple[str, str] = JSON_TYPE,
    by_accept: bool = False,
) -> Answer:
    """The answer for these bytes; large ones are compressed off the loop.

    ``of_the_moment`` is the text in it that differs each time it is made. The tags
    leave its last place out: an answer that says the same has the same tags.
    ``by_accept`` says that ``Accept`` may ask for the same in another form.
    """
    lasting = _BY_ACCEPT if by_accept else _STUDENT_LASTING
    digest = _digest_without(body, of_the_moment.encode())
    if len(body) < _COMPRESS_FROM:
        return Answer(make_variant(body, digest, content_type, lasting), None)
    if len(body) < _COMPRESS_OFF_LOOP_FROM:
        packed = _compressed(body)
    else:
        packed = await asyncio.to_thread(_compressed, body)
    return Answer(
        make_variant(body, digest, content_type, lasting),
        make_variant(packed, digest, content_type, lasting, packed=True),
    )


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    digest: str
    content_type: tuple[str, str]
    by_accept: bool
    gzipped: bool
    body: bytes


def pack_answer(answer: Answer) -> bytes:
    """An answer as bytes, for `unpack_answer`: gzip where that pays."""
    plain = answer.plain
    return msgspec.msgpack.encode(
        _Packed(
            digest=plain.etag.removeprefix('W/"').removesuffix('"'),
            content_type=plain.headers[0],
            by_accept=_BY_ACCEPT[0] in plain.headers,
            gzipped=answer.packed is not None,
            body=(answer.packed or plain).body,
        )
    )


def unpack_answer(packed: bytes) -> Answer:
    """The answer that was packed, with the same headers; raises ValueError for what
    `pack_answer` does not give.
    """
    had = msgspec.msgpack.decode(packed, type=_Packed)
    content_type = JSON_TYPE if had.content_type == JSON_TYPE else had.content_type
    lasting = _BY_ACCEPT if had.by_accept else _STUDENT_LASTING

    def variant(body: bytes, *, packed: bool = False) -> Variant:
        return make_variant(body, had.digest, content_type, lasting, packed=packed)

    if not had.gzipped:
        return Answer(variant(had.body), None)
    try:
        plain = gzip.decompress(had.body)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError("not a packed answer") from error
    return Answer(variant(plain), variant(had.body, packed=True))


def make_variant(
    body: bytes,
    digest: str,
    content_type: tuple[str, str],
    lasting: HeaderPairs,
    *,
    packed: bool = False,
) -> Variant:
    """One form of a body; ``digest`` is the same for all its forms, their tags are
    not. ``lasting`` headers are those that a 304 has as well.
    """
    etag = f'W/"{digest}-gzip"' if packed else f'W/"{digest}"'
    headers: HeaderPairs = (
        content_type,
        ("Content-Length", str(len(body))),
        ("ETag", etag),
        *lasting,
    )
    if packed:
        headers = (*headers, ("Content-Encoding", "gzip"))
    return Variant(body, etag, headers, header_lines(headers))


def digest_of(*pieces: bytes | memoryview) -> str:
    """What stands in the tags of a body that consists of these pieces."""
    hashed = hashlib.blake2b(digest_size=12)
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest()


def _digest_without(body: bytes, left_out: bytes) -> str:
    at = body.rfind(left_out) if left_out else -1
    if at < 0:
        return digest_of(body)
    view = memoryview(body)
    return digest_of(view[:at], view[at + len(left_out) :])


def header_lines(headers: HeaderPairs) -> str:
    """Headers as they stand in a header block."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)
