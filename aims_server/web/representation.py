"""An answer as ready bytes: its gzip form is made once and kept, its plain form made
for a client that asks for that; ETags, and which of the forms a request gets.
"""

import asyncio
import re
from typing import Final

import msgspec

from .accept import accepts_gzip
from .headers import HeaderPairs, header_lines
from .packing import (
    digest_without,
    digested_and_packed,
    is_packed,
    unpacked,
    unpacked_length,
)
from .recently_made import RecentlyMade

__all__ = [
    "JSON_TYPE",
    "Answer",
    "Variant",
    "make_answer",
    "make_variant",
    "matches",
    "negotiate",
    "pack_answer",
    "unpack_answer",
]

JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
_TAG: Final = re.compile(r'"[!#-~\x80-\xff]*"')
_COMPRESS_FROM: Final = 860  # under one packet there is nothing to win
_OFF_LOOP_FROM: Final = 512 * 1024  # to pack so much takes 1 or 2 ms
# Made once: thousands of kept answers hold them.
_STUDENT_LASTING: Final = (("Vary", "Authorization, Origin, Accept-Encoding"),)
_BY_ACCEPT: Final = (("Vary", "Authorization, Origin, Accept-Encoding, Accept"),)


class Variant(msgspec.Struct, frozen=True):
    """One encoding of an answer: its bytes, and its headers that never change, as they
    stand in a header block. ``digest`` is the same for all encodings of one answer,
    their tags are not; ``lasting`` headers are those that a 304 has as well.
    """

    body: bytes
    digest: str
    content_type: tuple[str, str]
    lasting: HeaderPairs
    gzipped: bool
    block: str

    @property
    def etag(self) -> str:
        """Names these bytes, but for the answer's own time stamp."""
        return _etag(self.digest, gzipped=self.gzipped)

    def lines(self, status: int) -> str:
        """The block, or for a 304 what of it does not describe the body."""
        if status != 304:
            return self.block
        return header_lines((("ETag", self.etag), *self.lasting))


class Answer(msgspec.Struct, frozen=True, weakref=True):
    """What is kept and sent. ``packed`` is None where gzip would not pay, and
    ``kept_plain`` where the plain form is made of the packed one when it is asked for.
    """

    packed: Variant | None
    kept_plain: Variant | None
    is_large: bool = False
    """Whether the plain form, which is not kept, takes long to make."""

    @property
    def size(self) -> int:
        """Bytes of memory that this answer holds on to, near enough to be counted."""
        forms = [form for form in (self.packed, self.kept_plain) if form is not None]
        return sum(len(form.body) + _VARIANT_BYTES for form in forms)

    @property
    def plain(self) -> Variant:
        """The form for a client without gzip: 30 us for 64 kB if it is not one of
        those that were asked for lately.
        """
        if self.kept_plain is not None:
            return self.kept_plain
        return _made_plain.get(self, _unpacked)

    @property
    def kept(self) -> Variant:
        """The form that is in memory: packed where there is that, else plain."""
        return self.packed or self.plain

    def variant(self, accept_encoding: str | None) -> Variant:
        """The form for this client."""
        if self.packed is not None and accepts_gzip(accept_encoding):
            return self.packed
        return self.plain

    async def at_hand(self, accept_encoding: str | None) -> "Answer":
        """This answer with the form for this client, a large one unpacked in a thread:
        24 MB take 12 ms, and more where the memory for them is new.
        """
        if not self.is_large or accepts_gzip(accept_encoding):
            return self
        return Answer(self.packed, await asyncio.to_thread(_unpacked, self))


# A Struct, its digest and its block (tests/web/test_representation.py).
_VARIANT_BYTES: Final = 500

# What a few clients without gzip ask for again and again, beside CACHE_MAX_MB.
_made_plain: Final[RecentlyMade[Answer, Variant]] = RecentlyMade(
    1024 * 1024, lambda variant: len(variant.body) + _VARIANT_BYTES
)


def _unpacked(answer: Answer) -> Variant:
    packed = answer.kept
    return make_variant(
        unpacked(packed.body), packed.digest, packed.content_type, packed.lasting
    )


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
    if if_none_match == "*":
        return True
    # Not split at commas: a tag may have some.
    return variant.etag.removeprefix("W/") in _TAG.findall(if_none_match)


async def make_answer(
    body: bytes,
    of_the_moment: str = "",
    *,
    content_type: tuple[str, str] = JSON_TYPE,
    by_accept: bool = False,
) -> Answer:
    """The answer for these bytes; large ones are hashed and compressed off the loop,
    both without the interpreter's lock.

    ``of_the_moment`` is the text in it that differs each time it is made. The tags
    leave its last place out: an answer that says the same has the same tags.
    ``by_accept`` says that ``Accept`` may ask for the same in another form.
    """
    lasting = _BY_ACCEPT if by_accept else _STUDENT_LASTING
    left_out = of_the_moment.encode()
    if len(body) < _COMPRESS_FROM:
        digest = digest_without(body, left_out)
        return Answer(None, make_variant(body, digest, content_type, lasting))
    large = len(body) >= _OFF_LOOP_FROM
    if large:
        digest, packed = await asyncio.to_thread(digested_and_packed, body, left_out)
    else:
        digest, packed = digested_and_packed(body, left_out)
    return Answer(
        make_variant(packed, digest, content_type, lasting, gzipped=True),
        # To unpack so much would hold the loop for milliseconds.
        make_variant(body, digest, content_type, lasting) if large else None,
    )


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    digest: str
    content_type: tuple[str, str] | None  # None for JSON's
    by_accept: bool
    gzipped: bool
    body: bytes


def pack_answer(answer: Answer) -> bytes:
    """An answer as bytes, for `unpack_answer`: gzip where that pays."""
    kept = answer.kept
    return msgspec.msgpack.encode(
        _Packed(
            digest=kept.digest,
            content_type=None if kept.content_type == JSON_TYPE else kept.content_type,
            by_accept=_BY_ACCEPT[0] in kept.lasting,
            gzipped=kept.gzipped,
            body=kept.body,
        )
    )


def unpack_answer(packed: bytes) -> Answer:
    """The answer that was packed, with the same headers; raises ValueError for what
    `pack_answer` does not give.
    """
    had = msgspec.msgpack.decode(packed, type=_Packed)
    content_type = had.content_type or JSON_TYPE
    lasting = _BY_ACCEPT if had.by_accept else _STUDENT_LASTING
    kept = make_variant(
        had.body, had.digest, content_type, lasting, gzipped=had.gzipped
    )
    if not had.gzipped:
        return Answer(None, kept)
    if not is_packed(had.body):
        raise ValueError("not a packed answer")
    return Answer(kept, None, unpacked_length(had.body) >= _OFF_LOOP_FROM)


def make_variant(
    body: bytes,
    digest: str,
    content_type: tuple[str, str],
    lasting: HeaderPairs,
    *,
    gzipped: bool = False,
) -> Variant:
    """One form of a body; see :class:`Variant`."""
    encoded = (("Content-Encoding", "gzip"),) if gzipped else ()
    block = header_lines(
        (
            content_type,
            ("Content-Length", str(len(body))),
            ("ETag", _etag(digest, gzipped=gzipped)),
            *lasting,
            *encoded,
        )
    )
    return Variant(body, digest, content_type, lasting, gzipped, block)


def _etag(digest: str, *, gzipped: bool) -> str:
    return f'W/"{digest}-gzip"' if gzipped else f'W/"{digest}"'
