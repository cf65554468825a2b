"""Represents answers as ready bytes with ETags, and chooses a request's form. The gzip
form is made once and kept; the plain form is made when a client needs it.
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
_TAG: Final = r'"[!#-~\x80-\xff]*"'
_COMPRESS_FROM: Final = 860  # a body that fits into one packet gains nothing
_OFF_LOOP_FROM: Final = 512 * 1024  # packing so much takes 1 or 2 ms
# Made once: thousands of kept answers refer to them.
_STUDENT_LASTING: Final = (("Vary", "Authorization, Origin, Accept-Encoding"),)
_BY_ACCEPT: Final = (("Vary", "Authorization, Origin, Accept-Encoding, Accept"),)


class Variant(msgspec.Struct, frozen=True):
    """One form of an answer: its bytes and its constant headers, in ``block`` as lines.

    All forms of an answer have the same ``digest``, but not the same ETag. A 304 has
    the ``lasting`` headers as well.
    """

    body: bytes
    digest: str
    content_type: tuple[str, str]
    lasting: HeaderPairs
    gzipped: bool
    block: str

    @property
    def etag(self) -> str:
        """Identifies these bytes, except for the answer's own time stamp."""
        return _etag(self.digest, gzipped=self.gzipped)

    def lines(self, status: int) -> str:
        """The header lines; for a 304 without those that describe the body."""
        if status != 304:
            return self.block
        return header_lines((("ETag", self.etag), *self.lasting))


class Answer(msgspec.Struct, frozen=True, weakref=True):
    """A whole answer, kept and sent. ``packed`` is None if gzip would not pay,
    ``kept_plain`` if the plain form is made from the packed one when needed.
    """

    packed: Variant | None
    kept_plain: Variant | None
    is_large: bool = False
    """Whether making the plain form, which is not kept, takes long."""

    @property
    def size(self) -> int:
        """The bytes of memory that this answer takes, approximately."""
        forms = [form for form in (self.packed, self.kept_plain) if form is not None]
        return sum(len(form.body) + _VARIANT_BYTES for form in forms)

    @property
    def plain(self) -> Variant:
        """The form for a client without gzip. Making it takes 30 us for 64 kB; the
        latest ones are remembered.
        """
        if self.kept_plain is not None:
            return self.kept_plain
        return _made_plain.get(self, _unpacked)

    @property
    def kept(self) -> Variant:
        """The form in memory: the packed one if there is one, else the plain one."""
        return self.packed or self.plain

    def variant(self, accept_encoding: str | None) -> Variant:
        """The form for this client."""
        if self.packed is not None and accepts_gzip(accept_encoding):
            return self.packed
        return self.plain

    async def at_hand(self, accept_encoding: str | None) -> "Answer":
        """This answer with the client's form made; a thread unpacks a large one (24 MB
        take 12 ms or more).
        """
        if not self.is_large or accepts_gzip(accept_encoding):
            return self
        return Answer(self.packed, await asyncio.to_thread(_unpacked, self))


# A Struct, its digest and its block (tests/web/test_representation.py).
_VARIANT_BYTES: Final = 500

# For a few clients without gzip that ask often; not counted in CACHE_MAX_MB.
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
    """Status and form for a request: 304 if the client has that form already and the
    request is GET or HEAD (RFC 9110 13.2.2), else 200.
    """
    variant = answer.variant(accept_encoding)
    known = method in ("GET", "HEAD") and matches(if_none_match, variant)
    return 304 if known else 200, variant


def matches(if_none_match: str | None, variant: Variant) -> bool:
    """Whether ``If-None-Match`` has this form, by weak comparison (RFC 9110 13.1.2)."""
    if not if_none_match:
        return False
    if if_none_match == variant.etag:
        return True
    if if_none_match == "*":
        return True
    # Not split at commas: a tag may contain some.
    return variant.etag.removeprefix("W/") in re.findall(_TAG, if_none_match)


async def make_answer(
    body: bytes,
    of_the_moment: str = "",
    *,
    content_type: tuple[str, str] = JSON_TYPE,
    by_accept: bool = False,
) -> Answer:
    """The answer with this body. A thread digests and compresses a large one, without
    the interpreter's lock.

    ``of_the_moment`` is a text in the body that differs each time it is made. The ETags
    ignore its last occurrence, so that the same content has the same ETags.
    ``by_accept`` says that ``Accept`` may choose another media type.
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
        # Unpacking so much would hold the loop for milliseconds.
        make_variant(body, digest, content_type, lasting) if large else None,
    )


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    digest: str
    content_type: tuple[str, str] | None  # None for JSON's
    by_accept: bool
    gzipped: bool
    body: bytes


def pack_answer(answer: Answer) -> bytes:
    """An answer as bytes for `unpack_answer`, in gzip if that pays."""
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
    """The answer that `pack_answer` packed, with the same headers; raises ValueError
    for other bytes.
    """
    had = msgspec.msgpack.decode(packed, type=_Packed)
    content_type = had.content_type or JSON_TYPE
    lasting = _BY_ACCEPT if had.by_accept else _STUDENT_LASTING
    kept = make_variant(
        had.body, had.digest, content_type, lasting, gzipped=had.gzipped
    )
    if not had.gzipped:
        return Answer(None, kept)
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
