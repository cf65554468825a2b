"""Dates and times of day, as the platform writes them."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.dates import when, when_started


def day_of(start_time, date_formatted=""):
    """The day of a record, None if it has none."""
    return when(start_time, date_formatted)[0] or None


@pytest.mark.parametrize(
    "start_time",
    [
        "2025-09-01 08:50:00",
        "2025-09-01T08:50:00",
        "2025-09-01t08:50:00",
        "2025-09-01T00:10:00+05:30",
        "2025-09-01 23:59:59.999 IST",
        "2025-09-01T08:50:00 GMT+0530 (India Standard Time)",
        "2025-09-01 08:50:00 +5:30",
        "2025-09-01 08:50:00 Asia/Calcutta",
        "2025-09-01T08:50:00+05:30[Asia/Kolkata]",
        "2025-09-01T08:50:00 GMT+0530 (Indian Standard Time)",
        "2025-09-01 08:50:00 UTC +05:30",
        "2025-09-01 08:50:00 (Adjusted)",
        "2025-09-01(Adjusted)",
        "2025-09-01 08:50:00 (ADJUSTED)",
        "2025-09-01 08:50:00 EXTRA",
        "2025-09-01 99:99:99",
        " 2025-09-01 08:50:00 ",
        "2025-09-01",
        "01-09-2025 08:50",
        "01/Sep/2025",
    ],
)
def test_the_day_is_the_date_as_written(start_time):
    """Blank or T, any hour, India's own zone: the wall-clock date is never shifted."""
    assert day_of(start_time) == "2025-09-01"


UNREADABLE_STARTS = [
    "",
    "08:50",
    "0000-00-00 00:00:00",
    "1970-01-01 05:30:00",
    "1970-01-01",
    "2025-02-31 08:50:00",
    "2025-13-01 08:50:00",
    "2025-9-1 08:50:00",
    "20250901T085000",
    "2025-W36-1",
    "2025-09-011",
    "09/13/2025",
    "01/09-2025",
    "\u0662\u0660\u0662\u0665-09-01 08:50",
    "x" * 80,
]


@pytest.mark.parametrize("start_time", UNREADABLE_STARTS)
def test_an_unreadable_start_leaves_the_day_to_the_wording(start_time):
    """`date_formatted` speaks where `start_time` is absent, broken or a null."""
    wording = "08:50AM - 09:40AM 09/Jun/2025"
    assert day_of(start_time, wording) == "2025-06-09"
    assert day_of(start_time) is None


@pytest.mark.parametrize(
    "start_time",
    [
        "2025-08-31T18:30:00.000000Z",
        "2025-08-31 18:30:00Z",
        "2025-08-31T18:30:00+00:00",
        "2025-08-31T18:30:00+0000",
        "2025-08-31 18:30:00 UTC",
        "2025-08-31 21:00:00 SGT",
        "2025-08-31 14:30:00 CEST",
        "2025-08-31T18:30:00z",
        "2025-08-31 18:30:00+00",
        "2025-08-31T18:30:00 UTC+0",
        "2025-08-31 19:30:00 Europe/London",
        "2025-08-31T18:30:00,000Z",
        "2025-08-31 18:30:00 (UTC)",
        "2025-08-31 18:30:00 utc",
        "2025-08-31T18:30:00+00:00[Etc/UTC]",
        "2025-08-31T18:30:00\u221200:00",
        "2025-08-31 18:30:00.000 +0000 UTC",
        "2025-08-31 06:30:00 PM UTC",
        "2025-08-31 18:30:00 Coordinated Universal Time",
        "2025-08-31 18:30:00 Etc/GMT+0",
        "2025-08-31 15:30:00 America/Argentina/Buenos_Aires",
        "2025-08-31T18Z",
        "2025-08-31T183000Z",
        "2025-08-31T1830+0000",
        "2025-08-31 18:30:00 Zulu",
    ],
)
def test_a_start_in_a_zone_leaves_the_day_to_the_wording(start_time):
    """Without a wording another zone's date is no day: it may be the one before."""
    wording = "08:50AM - 09:40AM 01/Sep/2025"
    assert when(start_time, wording) == ("2025-09-01", 8 * 60 + 50)
    assert day_of(start_time) is None


def test_the_start_is_believed_before_the_wording():
    """Two readable dates: that of `start_time` is the day."""
    assert day_of("2025-09-01 08:50:00", "08:50AM 02/Sep/2025") == "2025-09-01"


@pytest.mark.parametrize(
    ("wording", "day"),
    [
        ("08:50AM - 09:40AM 01/Sep/2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01-Sep-2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01 Sep 2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sept/2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01 September 2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01-09-2025", "2025-09-01"),
        ("08:50AM - 09:40AM 1-9-2025", "2025-09-01"),
        ("08:50AM - 09:40AM 2025-09-01", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 (Adjusted)", "2025-09-01"),
        ("08:50AM -  09:40AM   01/sep/2025  ", "2025-09-01"),
        ("01/Sep/2025 08:50AM", "2025-09-01"),
        ("moved from 30/Aug/2025 to 01/Sep/2025", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 (moved from 30/Aug/2025)", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 [from 30-08-2025]", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 {30/Aug/2025}", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 moved from 30/Aug/2025", "2025-09-01"),
        ("08:50AM 01/Sep/2025, shifted From: 30 Aug 2025", "2025-09-01"),
        ("08:50AM 01/Sep/2025 instead of 2025-08-30", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025 in lieu of 30/Aug/2025", "2025-09-01"),
        ("08:50AM 01/Sep/2025 in place of 30-08-2025", "2025-09-01"),
        ("08:50AM from 01/Sep/2025", "2025-09-01"),
        ("08:50AM - 09:40AM (01/Sep/2025)", "2025-09-01"),
        ("08:50AM - 09:40AM 2025-09-01(Adjusted)", "2025-09-01"),
        ("08:50AM - 09:40AM 2025-09-01, Adjusted", "2025-09-01"),
        ("08:50AM - 09:40AM 01/Sep/2025-Adjusted", "2025-09-01"),
        ("08:50AM - 09:40AM 2025-09-01-Adjusted", "2025-09-01"),
        ("08:50AM - 09:40AM01/Sep/2025", "2025-09-01"),
        ("01/\u200bSep/2025", "2025-09-01"),
        ("01\u2011Sep\u20112025", "2025-09-01"),
        ("08:50AM \u2014 09:40AM 2025\u201309\u201301", "2025-09-01"),
        ("\uff10\uff11/Sep/\uff12\uff10\uff12\uff15", "2025-09-01"),
        ("08:50AM - 09:40AM 01 Sep, 2025", "2025-09-01"),
        ("08:50AM - 09:40AM Mon, 01 Sept. 2025 (Adjusted)", "2025-09-01"),
        ("08:50AM - 09:40AM 01.Sep.2025", "2025-09-01"),
        ("01/Sep/2025-08", None),
        ("2025-09-01-08", None),
        ("29/FEB/2024", "2024-02-29"),
        ("1/Dec/2025", "2025-12-01"),
        ("29/Feb/2025", None),
        ("31/Feb/2025", None),
        ("00/Jan/2025", None),
        ("01/Mai/2025", None),
        ("01/Septem8/2025", None),
        ("01/Septembers/2025", None),
        ("08:50AM - 09:40AM 01/09/2025", "2025-09-01"),
        ("08:50AM - 09:40AM 1.9.2025 (Adjusted)", "2025-09-01"),
        ("08:50AM - 09:40AM 2025/09/01", "2025-09-01"),
        ("08:50AM - 09:40AM 01/09/2025 (moved from 30/08/2025)", "2025-09-01"),
        ("29/02/2028", "2028-02-29"),
        ("29/02/2027", None),
        ("09/13/2025", None),
        ("01/09-2025", None),
        ("01/09/25", None),
        ("01/Sep-2025", None),
        ("13-13-2025", None),
        ("01/Sep/25", None),
        ("01/Sep/2025x", None),
        ("01/Jan/1970", None),
        ("01/Sep/0000", None),
        ("\u0660\u0661/Sep/2025", None),
        (" ", None),
        ("", None),
    ],
)
def test_the_wording_is_read_by_its_last_date(wording, day):
    """Day first, English months in any case; impossible and other dates are none."""
    assert day_of("", wording) == day


def test_every_month_is_known_whatever_the_locale():
    """The twelve English abbreviations stand for the twelve months."""
    names = "JanFebMarAprMayJunJulAugSepOctNovDec"
    read = [day_of("", f"15/{names[at : at + 3]}/2025") for at in range(0, 36, 3)]
    assert read == [f"2025-{number:02}-15" for number in range(1, 13)]


@pytest.mark.parametrize(
    ("start", "wording", "minute"),
    [
        ("2025-09-01 08:50:00", "", 530),
        ("2025-09-01 14:00", "", 840),
        ("", "12:20PM - 01:10PM 01/Sep/2025", 740),
        ("", "12:20AM 01/Sep/2025", 20),
        ("", "3:45 pm 01/Sep/2025", 945),
        ("", "3:45 p.m. - 4:30 p.m. 01/Sep/2025", 945),
        ("", "3.45 PM - 4.30 PM 01/Sep/2025", 945),
        ("", "3 PM 01/Sep/2025", 900),
        ("", "03:45PM01/Sep/2025", 945),  # parted by a tag
        ("", "3 PM01/Sep/2025", 900),
        ("", "03:45\u200bPM - 04:30PM 01/Sep/2025", 945),
        ("", "3:45 - 4:30PM 01/Sep/2025", 945),
        ("", "3:45 \u2014 4:30PM 01/Sep/2025", 945),
        ("", "11:30 to 12:20 pm 01/Sep/2025", 690),
        ("", "15:45 - 16:30 01/Sep/2025", 945),
        ("", "3:45 01/Sep/2025 4:30PM", 225),
        ("", "8:00 - 20:30 01/Sep/2025", 480),
        ("", "05.09.2025 Room 3", 1440),
        ("2025-09-01 00:00:00", "10:45AM 01/Sep/2025", 645),
        ("2025-09-01 00:00:00", "", 0),
        ("2025-09-01 25:00:00", "", 1440),
        ("1970-01-01 05:30:00", "03:45PM - 04:30PM 01/Sep/2025", 945),
        ("0000-00-00 05:30:00", "03:45PM - 04:30PM 01/Sep/2025", 945),
        ("2025-09-01 03:45 PM IST", "", 945),
        ("2025-09-01T08:50:00+05:30", "01/Sep/2025", 530),
        ("2025-09-01T08:50:00+00:00", "01/Sep/2025", 1440),
        ("08:50", "01/Sep/2025", 530),
        ("2025-09-01", "13:20PM", 800),
        ("2025-09-01", "00:20AM", 20),
        ("2025-09-01", "13:20AM", 1440),
        ("2025-09-01", "00:20PM", 1440),
        ("2025-09-01", "25:20PM", 1440),
        ("2025-09-01", "", 1440),
    ],
)
def test_the_time_of_day_is_read_from_either(start, wording, minute):
    """In 24 hours or 12, first where the day is read; midnight is what a date without a
    time becomes.
    """
    assert when(start, wording)[1] == minute


dates = st.dates(date(1971, 1, 1), date(2100, 12, 31))
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@settings(max_examples=80)
@given(dates, st.sampled_from("/- "), st.sampled_from("/-."), st.times())
def test_a_date_survives_every_writing(day, between, mark, time):
    """Whatever form it is written in, the same day and minute are read."""
    month = MONTHS[3 * day.month - 3 : 3 * day.month]
    spelled = f"{day.day:02}{between}{month}{between}{day.year}"
    half = "AM" if time.hour < 12 else "PM"
    clock = f"{time.hour % 12 or 12:02}:{time.minute:02}{half}"
    minute = 60 * time.hour + time.minute
    assert when(f"{day} {time:%H:%M:%S}", "") == (str(day), minute)
    assert when("", f"{clock} - 11:59PM {spelled} (Adjusted)") == (str(day), minute)
    figures = mark.join(f"{day:%d %m %Y}".split())
    assert when("", f"{clock} {figures}") == (str(day), minute)


@settings(max_examples=150)
@given(st.text(max_size=30), st.text(max_size=30))
def test_every_text_is_read_as_a_day_or_as_none(start, wording):
    """Nothing raises, and what is a day is one of the calendar."""
    day, minute = when(start, wording)
    assert day == "" or date.fromisoformat(day).year > 1970
    assert 0 <= minute <= 24 * 60


SURE = ["2025-09-01 08:50:00", "2025-09-01T23:59", "01-09-2025 00:01"]
UNSURE = [
    "2025-09-01 00:00:00",
    "2025-09-01",
    "2025-09-01 08:60",
    "2025-09-01 24:00",
    "2025-09-01T18:30:00.000000Z",
    "2025-09-01 08:50:00 IST",
    "08:50",
    *UNREADABLE_STARTS,
]


@pytest.mark.parametrize("start_time", [*SURE, *UNSURE])
def test_a_start_that_is_sure_needs_no_wording(start_time):
    """Such a start decides, though the wording says something else."""
    read = when_started(start_time)
    assert (read is not None) == (start_time in SURE)
    if read is not None:
        assert read == when(start_time, "12:20PM - 01:10PM 02/Sep/2025")
