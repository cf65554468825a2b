"""What a client's headers ask for: a coding, a media type, a fresh answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.web.accept import (
    accepts_gzip,
    preferred_media,
    quality,
    wants_fresh,
)


@pytest.mark.parametrize(
    "accepted",
    [
        "gzip",
        "GZIP",
        "gzip, deflate, br, zstd",
        "deflate, gzip",
        "br;q=1.0, gzip;q=0.8, *;q=0.1",
        "gzip ; q=0.001",
        "gzip;Q=0.5",
        "x-gzip",
        "*",
        "*;q=0.5",
        "br, *",
        "identity;q=0.5, gzip;q=0.5",
        "identity;q=0, gzip;q=0.1",
        "gzip;q=1.000",
    ],
)
def test_gzip_is_taken(accepted):
    """Gzip may stand in any case and place, or be part of `*` (RFC 9110 12.5.3)."""
    assert accepts_gzip(accepted)


@pytest.mark.parametrize(
    "accepted",
    [
        None,
        "",
        "identity",
        "br",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip; q=0, *",
        "*;q=0",
        "br, *;q=0",
        "identity, gzip;q=0.5",
        "agzip",
        "gzipp",
        "gzip-9",
        "gzip;q=x",
        "gzip;q=",
        "gzip;q=2",
        "gzip;level=9",
        "gzip;q=0.5;q=0",
        "gzip;q=0.5, *",
    ],
)
def test_gzip_is_not_taken(accepted):
    """It is not named, refused, weighs less than plain, or the header is unreadable."""
    assert not accepts_gzip(accepted)


@given(st.text("gzip*;q=01. ,x-", max_size=40))
def test_any_accept_encoding_is_read(accepted):
    """Whatever it says, it says yes or no, and never yes without a word of gzip."""
    if accepts_gzip(accepted):
        assert "gzip" in accepted or "*" in accepted


def test_a_long_accept_encoding_is_not_read_to_its_end():
    """Nobody's is so long; to read 32 KiB of commas takes 11 ms."""
    assert accepts_gzip(f"gzip{',' * 30_000}identity;q=0, gzip;q=0")
    assert not accepts_gzip(f"{',' * 30_000}gzip")


@pytest.mark.parametrize(
    "directive", ["no-cache", "No-Cache", "max-age=0", "max-stale=5, no-cache"]
)
def test_a_fresh_answer_may_be_asked_for(directive):
    """Both headers with which browsers reload ask for a fresh answer."""
    assert wants_fresh(directive)


@pytest.mark.parametrize("directive", [None, "", "max-age=00", "no-store", "no-cachex"])
def test_other_directives_take_what_is_kept(directive):
    """Only the two that say so ask for a fresh answer."""
    assert not wants_fresh(directive)


def test_a_long_accept_is_not_read_to_its_end():
    """Nobody's is so long; to read 32 KiB of commas takes 18 ms."""
    assert quality(f"text/plain;q=0.5{',' * 30_000}", "text/plain") == 0.5
    assert quality(f"{',' * 30_000}text/plain", "text/plain") == 0.0


@pytest.mark.parametrize(
    "accept",
    [
        'a/b;c="x, text/calendar"',
        'a/b;c="x\\", text/calendar"',
        'a/b;c="x, text/calendar',
    ],
)
def test_what_is_quoted_is_no_media_range(accept):
    """A parameter's quoted text may hold commas (RFC 9110 5.6.6)."""
    assert preferred_media(accept, ["text/calendar"]) is None


def test_a_quoted_charset_is_the_charset():
    """Quotes around a charset mean nothing (RFC 9110 8.3.2)."""
    accept = 'text/calendar; charset="UTF-8"'
    assert preferred_media(accept, ["text/calendar"]) == "text/calendar"
