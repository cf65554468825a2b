"""Bytes of shared pages: nobody but this service can have written them."""

from hashlib import blake2b

import pytest

from aims_server.cache.levels import Page
from aims_server.cache.signed_pages import _HEAD, _SIGNED, SignedPages
from aims_server.primitives import Epochs

KEY, OWNER = b"k" * 16, b"o" * 32


@pytest.mark.parametrize("length", [len(b"forged"), 2**31])
def test_a_page_inside_a_page_is_none(length):
    """What the platform answers may look like a record, to a reader whose own was
    overwritten: without the secret it is not signed.
    """
    epochs = Epochs()
    pages, epoch = SignedPages(1_000_000, epochs), epochs.begin(OWNER)
    times = 100.0, 400.0, 2200.0
    signed = KEY + _SIGNED.pack(*times, epoch) + OWNER + b"forged"
    digest = blake2b(signed, digest_size=16, person=b"page").digest()
    record = _HEAD.pack(length, *times, digest) + b"forged"
    position = pages.write(KEY, OWNER, epoch, Page(record, *times))
    assert pages.read(position, KEY, OWNER, epoch, now=150.0) == Page(record, *times)
    inside = position + _HEAD.size
    assert pages.ring.read(inside, len(record)) == record
    assert pages.read(inside, KEY, OWNER, epoch, now=150.0) is None


def test_a_page_is_that_of_one_key_owner_and_epoch():
    """A word of the directory may be another key's by the time it is used."""
    epochs = Epochs()
    pages, epoch = SignedPages(1_000_000, epochs), epochs.begin(OWNER)
    position = pages.write(KEY, OWNER, epoch, Page(b"page", 100.0, 400.0, 2200.0))
    assert pages.read(position, KEY, OWNER, epoch, now=150.0)
    for other in ((OWNER[:16], OWNER, epoch), (KEY, KEY * 2, epoch), (KEY, OWNER, 7)):
        assert pages.read(position, *other, now=150.0) is None


def test_a_page_may_be_as_large_as_the_ring_takes():
    """A page of the largest size is kept, and a larger one is not."""
    epochs = Epochs()
    pages, epoch = SignedPages(1_000_000, epochs), epochs.begin(OWNER)
    largest = Page(b"x" * (pages.ring.largest - _HEAD.size), 100.0, 400.0, 2200.0)
    position = pages.write(KEY, OWNER, epoch, largest)
    assert pages.read(position, KEY, OWNER, epoch, now=150.0) == largest
    larger = Page(largest.body + b"x", 100.0, 400.0, 2200.0)
    assert pages.write(KEY, OWNER, epoch, larger) == 0
