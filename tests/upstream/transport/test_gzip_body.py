import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.transport.gzip_body import GzipBody

MANY = 10_000_000


def unpacked(body: GzipBody, packed: bytes, size: int, most: int = MANY) -> bytes:
    """All that comes of it in chunks of so many bytes."""
    chunks = (packed[at : at + size] for at in range(0, len(packed), size))
    return b"".join(body.unpack(chunk, most) for chunk in chunks)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 300))
def test_members_of_any_number_in_chunks_of_any_size(members, size):
    """What was packed comes out, and its end is known."""
    body = GzipBody()
    packed = b"".join(map(gzip.compress, members))
    assert unpacked(body, packed, size) == b"".join(members)
    assert body.is_whole


@given(st.binary(max_size=200), st.data())
def test_a_part_is_not_whole(content, data):
    """Wherever it is cut: in the header, the body, or the checksum."""
    packed = gzip.compress(content)
    body = GzipBody()
    unpacked(body, packed[: data.draw(st.integers(0, len(packed) - 1))], 50)
    assert not body.is_whole


@pytest.mark.parametrize("trailing", [b"junk", bytes(10), b"{}"])
@pytest.mark.parametrize("size", [1, 1000])
def test_bytes_after_the_last_member_are_refused(trailing, size):
    """They are no part of gzip, and may be another answer's."""
    with pytest.raises(zlib.error):
        unpacked(GzipBody(), gzip.compress(b"x") + trailing, size)


@pytest.mark.parametrize("place", [-1, -5])
def test_a_wrong_checksum_or_length_is_refused(place):
    """Gzip says both of what it has packed."""
    packed = bytearray(gzip.compress(b"some content"))
    packed[place] ^= 1
    with pytest.raises(zlib.error):
        unpacked(GzipBody(), bytes(packed), 1000)


def test_no_more_is_unpacked_than_was_asked_for():
    """A bomb costs one byte over the bound."""
    assert len(GzipBody().unpack(gzip.compress(bytes(1_000_000)), 100)) == 101


def test_a_member_behind_a_full_body_is_not_unpacked():
    """The first one is one byte too much, the second would be a million."""
    packed = gzip.compress(b"x" * 51) + gzip.compress(b"y" * 1_000_000)
    assert len(GzipBody().unpack(packed, 50)) == 51
