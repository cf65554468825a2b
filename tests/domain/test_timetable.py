"""The month turned round: from rows of courses to days of classes, and as iCalendar."""

import json
from datetime import timedelta
from typing import Any

import icalendar
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.icalendar_form import to_icalendar
from aims_server.domain.timetable import timetable_page
from aims_server.upstream import Schedule, ScheduleRow, Slot

CACHED_AT = "2025-09-01T10:00:00Z"


def row(slots, **changes):
    """One course's row with its slots by day, the given fields changed."""
    known: dict[str, Any] = {
        "course": "Design and Analysis of Algorithm",
        "code": "BCS503",
        "section": "C",
        "faculty": "R SAMPLE",
        "cf_id": 7300101,
    }
    return ScheduleRow(**(known | changes), slots=slots)


def page_of(*rows, month=(2025, 9)):
    """The page of these rows."""
    return timetable_page(Schedule(month, rows), CACHED_AT)


def shown(page):
    """Start, end and `held` of every class, by date."""
    return {
        day.date: [(slot.start, slot.end, slot.held) for slot in day.slots]
        for day in page.days
    }


def test_the_page_reads_as_the_contract_has_it():
    """The bytes are those of docs/contract.rst 2.5, key by key."""
    page = page_of(row({1: (Slot(530, 580, True), Slot(580, 630, True))}))
    assert msgspec.json.encode(page) == (
        b'{"month":"2025-09","days":[{"date":"2025-09-01","slots":[{"start":"08:50",'
        b'"end":"10:30","course":"Design and Analysis of Algorithm",'
        b'"courseCode":"BCS503","section":"C","faculty":"R SAMPLE","cfId":7300101,'
        b'"held":true}]}],"cachedAt":"2025-09-01T10:00:00Z","incomplete":[]}'
    )


@pytest.mark.parametrize(
    ("slots", "joined"),
    [
        ((Slot(530, 580, True), Slot(580, 630, True)), [("08:50", "10:30", True)]),
        ((Slot(530, 630, True), Slot(580, 600, True)), [("08:50", "10:30", True)]),
        ((Slot(530, 580, True), Slot(580, 630, False)), [("08:50", "10:30", None)]),
        (
            (Slot(530, 580, None), Slot(590, 630, None)),
            [("08:50", "09:40", None), ("09:50", "10:30", None)],
        ),
    ],
)
def test_touching_slots_of_one_course_file_become_one(slots, joined):
    """A lab of two periods is one class; a break between keeps two."""
    assert shown(page_of(row({1: slots}))) == {"2025-09-01": joined}


def test_touching_slots_of_two_course_files_stay_two():
    """They stay two, in order of time, whatever the order of the rows."""
    late = row({1: (Slot(580, 630, None),)}, cf_id=2)
    early = row({1: (Slot(530, 580, None),)}, cf_id=1)
    times = [("08:50", "09:40", None), ("09:40", "10:30", None)]
    assert shown(page_of(late, early)) == {"2025-09-01": times}


@pytest.mark.parametrize(
    ("month", "last"),
    [((2025, 2), 28), ((2024, 2), 29), ((2025, 9), 30), ((2025, 8), 31)],
)
def test_a_month_has_its_own_last_day(month, last):
    """A class behind it is shown nowhere, and its row is named."""
    slots = {day: (Slot(530, 580, True),) for day in range(1, 32)}
    page = page_of(row(slots), month=month)
    assert len(page.days) == last
    assert page.days[-1].date == f"{month[0]}-{month[1]:02}-{last}"
    assert page.incomplete == (
        ("Design and Analysis of Algorithm",) if last < 31 else ()
    )


def test_a_row_with_a_cell_that_cannot_be_read_is_named_once():
    """Its other classes are shown."""
    odd = row({1: (Slot(530, 580, True),)}, readable=False)
    page = page_of(odd, odd)
    assert page.incomplete == ("Design and Analysis of Algorithm",)
    assert len(page.days) == 1


def test_no_table_is_an_empty_page():
    """Between terms there is no month and no day."""
    page = json.loads(msgspec.json.encode(page_of(month=None)))
    assert (page["month"], page["days"], page["incomplete"]) == (None, [], [])


slots = st.builds(
    lambda start, length, held: Slot(start, min(start + length, 1439), held),
    st.integers(0, 1400),
    st.integers(1, 200),
    st.sampled_from([True, False, None]),
)
rows = st.builds(
    ScheduleRow,
    st.text(max_size=6),
    st.sampled_from(["", "BCS503"]),
    st.sampled_from(["", "C"]),
    st.text(max_size=6),
    st.none() | st.integers(1, 3),
    st.dictionaries(st.integers(1, 31), st.lists(slots, max_size=4).map(tuple)),
)


def minutes(page):
    """Every minute of every day in which a course file has a class."""
    return {
        (day.date, slot.file, minute)
        for day in page.days
        for slot in day.slots
        for minute in range(_minute(slot.start), _minute(slot.end))
    }


def _minute(clock):
    return 60 * int(clock[:2]) + int(clock[3:])


@settings(max_examples=60)
@given(st.lists(rows, max_size=4), st.randoms())
def test_no_class_is_lost_or_made_up_in_whatever_order(listed, random):
    """Days ascend, slots by time; joined or not, the same minutes are taught."""
    page = page_of(*listed)
    dates = [day.date for day in page.days]
    assert dates == sorted(set(dates))
    for day in page.days:
        assert day.slots
        times = [(slot.start, slot.end) for slot in day.slots]
        assert times == sorted(times)
    expected = {
        (f"2025-09-{day:02}", row_file(row), minute)
        for row in listed
        for day, its in row.slots.items()
        if day <= 30
        for slot in its
        for minute in range(slot.start, slot.end)
    }
    assert minutes(page) == expected
    shuffled = page_of(*random.sample(listed, len(listed)))
    assert minutes(shuffled) == expected


def row_file(row):
    """What the classes of a row share."""
    if row.cf_id is not None:
        return (str(row.cf_id),)
    return row.course, row.code, row.section, row.faculty


def events_of(written: bytes) -> list[Any]:
    """The events of a calendar, read back."""
    return icalendar.Calendar.from_ical(written).walk("VEVENT")


def _wall(moment: Any) -> str:
    """A moment of the calendar as the wall clock shows it."""
    return f"{moment.dt:%Y-%m-%d %H:%M}"


@settings(max_examples=25)
@given(st.lists(rows, max_size=3))
def test_the_calendar_read_back_is_the_page(listed):
    """One event a slot, at its time in India, with its course; UIDs are stable."""
    page = page_of(*listed)
    written = to_icalendar(page)
    events = events_of(written)
    read = sorted((_wall(e["DTSTART"]), _wall(e["DTEND"])) for e in events)
    assert read == sorted(
        (f"{day.date} {slot.start}", f"{day.date} {slot.end}")
        for day in page.days
        for slot in day.slots
    )
    uids = [str(event["UID"]) for event in events]
    assert len(set(uids)) == len(uids)
    assert uids == [str(event["UID"]) for event in events_of(to_icalendar(page))]


@pytest.mark.parametrize(
    ("page", "name"),
    [(page_of(), "Timetable 2025-09"), (page_of(month=None), "Timetable")],
)
def test_a_calendar_without_classes_describes_its_zone(page, name):
    """RFC 5545 3.6 has no calendar without any component, or without the first two
    properties; the others are what programs show.
    """
    calendar = icalendar.Calendar.from_ical(to_icalendar(page))
    assert {key: str(value) for key, value in calendar.items()} == {
        "PRODID": "-//aims_server//Timetable//EN",
        "VERSION": "2.0",
        "X-WR-CALNAME": name,
        "X-WR-TIMEZONE": "Asia/Kolkata",
    }
    (zone,) = calendar.subcomponents
    assert (zone.name, zone["TZID"]) == ("VTIMEZONE", "Asia/Kolkata")


def test_the_calendar_is_as_rfc_5545_has_it():
    """Lines of at most 75 bytes with CRLF, a zone that is described, no UTC times."""
    long = row(
        {1: (Slot(530, 580, True),), 2: (Slot(530, 580, False),)},
        course="Entwurf, Analyse; und \u0939\u093f\u0928\u094d\u0926\u0940 " * 5,
    )
    written = to_icalendar(page_of(long))
    lines = written.split(b"\r\n")
    assert all(len(line) <= 75 for line in lines)
    assert b"\n" not in written.replace(b"\r\n", b"")
    assert b"BEGIN:VTIMEZONE\r\nTZID:Asia/Kolkata\r\n" in written
    assert b"DTSTART;TZID=Asia/Kolkata:20250901T085000\r\n" in written
    assert b"DTSTAMP:20250831T183000Z\r\n" in written
    held, cancelled = events_of(written)
    assert held["SUMMARY"] == long.course
    assert held["DESCRIPTION"] == "BCS503\nSection C\nR SAMPLE"
    start = held["DTSTART"].dt
    assert start.utcoffset() == timedelta(hours=5, minutes=30)
    assert start.isoformat() == "2025-09-01T08:50:00+05:30"
    assert ("STATUS" in held, cancelled["STATUS"]) == (False, "CANCELLED")
