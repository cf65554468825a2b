"""Owns the bytes of shared pages in a ring, each signed for its key, its owner and the
owner's epoch.
"""

import secrets
import struct
from hashlib import blake2b
from typing import Final

from ..primitives import Epochs, Owner
from .levels import Page
from .ring import Ring

__all__ = ["SignedPages"]

_DIGEST_BYTES: Final = 16
_HEAD: Final = struct.Struct(f"=Iddd{_DIGEST_BYTES}s")  # length, times, digest
_SIGNED: Final = struct.Struct("=dddQ")


class SignedPages:
    """Pages of at most ``max_bytes`` together, by their position in the ``ring``.

    >>> epochs = Epochs()
    >>> pages, epoch = SignedPages(1_000_000, epochs), epochs.begin(b"owner")
    >>> page = Page(b"body", made_at=100.0, fresh_until=400.0, servable_until=2200.0)
    >>> position = pages.write(b"key", b"owner", epoch, page)
    >>> pages.read(position, b"key", b"owner", epoch, now=150.0) == page
    True
    >>> pages.read(position, b"key", b"another owner", epoch, now=150.0)

    A page has a keyed digest over its key, owner, epoch, times and body, which each
    read checks. There is no page if the body was overwritten while it was read, if the
    position is now another key's, or if the owner's epoch has ended.
    """

    def __init__(self, max_bytes: int, epochs: Epochs) -> None:
        self.ring: Final = Ring(max_bytes)
        self._epochs = epochs
        secret = secrets.token_bytes(32)
        self._hash = blake2b(key=secret, digest_size=_DIGEST_BYTES, person=b"page")

    def write(self, key: bytes, owner: Owner, epoch: int, page: Page) -> int:
        """Write a page and return its position; 0 if its epoch has ended or it is too
        large.
        """
        if _HEAD.size + len(page.body) > self.ring.largest:
            return 0
        if not self._epochs.is_current(epoch):
            return 0
        digest = self._digest(key, owner, epoch, page)
        times = page.made_at, page.fresh_until, page.servable_until
        head = _HEAD.pack(len(page.body), *times, digest)
        return self.ring.write(head + page.body)

    def read(
        self, position: int, key: bytes, owner: Owner, epoch: int, now: float
    ) -> Page | None:
        """The page there, if it has this key and owner and is servable at ``now``."""
        record = self.ring.read(position, _HEAD.size)
        if record is None:
            return None
        length, made_at, fresh_until, servable_until, digest = _HEAD.unpack(record)
        body = self.ring.read(position + _HEAD.size, length)
        if body is None or now >= servable_until:
            return None
        page = Page(body, made_at, fresh_until, servable_until)
        return page if self._digest(key, owner, epoch, page) == digest else None

    def _digest(self, key: bytes, owner: Owner, epoch: int, page: Page) -> bytes:
        signing = self._hash.copy()
        signing.update(key)
        signing.update(
            _SIGNED.pack(page.made_at, page.fresh_until, page.servable_until, epoch)
        )
        signing.update(owner)
        signing.update(page.body)
        return signing.digest()
