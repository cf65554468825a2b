import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.transport.retry_after import retry_after_seconds

TEN = b"Wed, 25 Nov 2026 10:00:00 GMT"
TEN_UNIX = 1_795_600_800.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b" 7 ", 7.0),
        (b"9" * 400, float("inf")),
        (b"Wed, 25 Nov 2026 10:01:00 GMT", 60.0),
        (b"Wednesday, 25-Nov-26 10:01:00 GMT", 60.0),
        (b"Wed Nov 25 10:01:00 2026", 60.0),
        (b"Wed, 25 Nov 2026 09:00:00 GMT", 0.0),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"Wed, 99 Nov 2026 10:01:00 GMT", None),
        (b"5, 5", None),
    ],
)
def test_seconds_and_dates(value, seconds):
    """All of HTTP's forms, as seconds after the answer was made."""
    assert retry_after_seconds(value, TEN) == seconds


@pytest.mark.parametrize("date", [None, b"", b"yesterday"])
def test_without_a_date_of_its_own_our_clock_tells(date):
    """An answer need not say when it was made."""
    one_minute_later = b"Wed, 25 Nov 2026 10:01:00 GMT"
    clock = lambda: TEN_UNIX  # noqa: E731 - a clock is a function
    assert retry_after_seconds(one_minute_later, date, clock=clock) == 60.0


@given(st.binary(max_size=60), st.none() | st.binary(max_size=60))
def test_whatever_is_said(value, date):
    """Any text gives seconds or None, never an error."""
    seconds = retry_after_seconds(value, date)
    assert seconds is None or seconds >= 0
