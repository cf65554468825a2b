"""Unpacks a gzip body as it arrives.

Curl could do so, but it accepts half of a packed body as a whole one, and rejects a
second member, which RFC 1952 allows.
"""

import zlib
from typing import Final

__all__ = ["GzipBody"]

_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS


class GzipBody:
    """One or more gzip members, as chunks of any size.

    >>> import gzip
    >>> packed = gzip.compress(b"first, ") + gzip.compress(b"second")
    >>> body = GzipBody()
    >>> body.unpack(packed[:40], 100) + body.unpack(packed[40:], 100)
    b'first, second'
    >>> body.is_whole
    True
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_FORMAT)

    @property
    def is_whole(self) -> bool:
        """Whether the last member has ended, its checksum verified."""
        return self._member.eof

    def unpack(self, chunk: bytes, most: int) -> bytes:
        """The bytes that a chunk adds to the body; more than ``most`` only if the body
        becomes too large.

        Raises zlib.error for anything that is not gzip, also after the last member.
        """
        unpacked = b""
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_FORMAT)
            unpacked += self._member.decompress(chunk, most + 1 - len(unpacked))
            if len(unpacked) > most:
                break
            chunk = self._member.unused_data
        return unpacked
