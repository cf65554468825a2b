"""Seals what goes to the store: keys become keyed hashes, pages and owners are
encrypted.
"""

import os
from functools import cached_property
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..primitives import Owner

__all__ = ["Secrets", "Unopened"]

_NONCE_BYTES: Final = 12
_SENDER_BYTES: Final = 8


class Unopened(Exception):
    """The store's value was not sealed with our secret, or for another place."""


class Secrets:
    """Keys derived from STORE_SECRET, one for each purpose, and their uses.

    >>> secrets = Secrets(bytes(32))
    >>> sealed = secrets.seal_page(b"owner", b"place and times", b"page")
    >>> secrets.open_page(b"owner", b"place and times", sealed)
    b'page'

    AES-256-GCM seals 6 kB in 2 us and opens them in 1.3; PyNaCl's XChaCha20-Poly1305
    takes 30. With a key for each owner random nonces stay far from their limit. Raises
    ValueError for a secret of less than 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("the secret must have at least 32 bytes")
        self._secret = secret

    @cached_property
    def session(self) -> bytes:
        """The secret of the hashes of tokens and clients, the same on all machines."""
        return self._derive(b"session")

    @cached_property
    def stream_key(self) -> str:
        """The key of the stream of refusals; services with another secret have another
        stream.
        """
        return f"aims1:d:{_tag(self._index, b'stream')}"

    def owner_key(self, owner: Owner) -> str:
        """The key of an owner's hash."""
        return f"aims1:{{{_tag(self._index, owner)}}}"

    def page_tag(self, key: bytes) -> str:
        """A cache key's name in the fields of an owner's hash."""
        return _tag(self._index, key)

    def limit_key(self, key: bytes) -> str:
        """The key of a limit's bucket."""
        return f"aims1:r:{_tag(self._rate, key)}"

    def seal_page(self, owner: Owner, place: bytes, page: bytes) -> bytes:
        """Encrypt a page; it opens only for this owner and with this ``place``, which
        is not encrypted.
        """
        return _seal(self._page_key(owner), page, place)

    def open_page(self, owner: Owner, place: bytes, sealed: bytes) -> bytes:
        """Decrypt a page; raises `Unopened`."""
        return _open(self._page_key(owner), sealed, place)

    def seal_owner(self, sender: bytes, owner: Owner) -> bytes:
        """Encrypt an owner for the other machines; ``sender`` has eight bytes."""
        return _seal(self._invalidations, sender + owner, b"")

    def open_owner(self, sealed: bytes) -> tuple[bytes, Owner]:
        """The sender and the owner; raises `Unopened`."""
        opened = _open(self._invalidations, sealed, b"")
        return opened[:_SENDER_BYTES], opened[_SENDER_BYTES:]

    @cached_property
    def _index(self) -> bytes:
        return self._derive(b"index")

    @cached_property
    def _rate(self) -> bytes:
        return self._derive(b"rate")

    @cached_property
    def _pages(self) -> bytes:
        return self._derive(b"pages")

    @cached_property
    def _invalidations(self) -> AESGCM:
        return AESGCM(self._derive(b"refusals"))

    def _page_key(self, owner: Owner) -> AESGCM:
        hashed = blake2b(owner, key=self._pages, digest_size=32)
        return AESGCM(hashed.digest())

    def _derive(self, purpose: bytes) -> bytes:
        return blake2b(self._secret, digest_size=32, person=b"aims." + purpose).digest()


def _tag(key: bytes, name: bytes) -> str:
    """The hash of a name: 32 hexadecimal digits."""
    return blake2b(name, key=key, digest_size=16).hexdigest()


def _seal(key: AESGCM, plain: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, place)


def _open(key: AESGCM, sealed: bytes, place: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
    except (InvalidTag, ValueError):  # the latter if it has not even a nonce
        raise Unopened from None
