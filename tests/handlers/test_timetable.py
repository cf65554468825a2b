"""The timetable through HTTP: as JSON and as iCalendar, from every form of table."""

import json
from datetime import date
from typing import Any

import icalendar
import pytest

from aims_server.demo.catalogue import PERIODS
from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform

pytestmark = pytest.mark.gen_test

PATH = "/api/timetable"
ICALENDAR = {"Accept": "text/calendar"}


def clock(moment):
    """An hour and minute as the page shows it."""
    return f"{moment[0]:02}:{moment[1]:02}"


def truth(college, student):
    """Start and end of every class of the month, by date and course file."""
    today = college.timetable.today
    expected = set()
    for course in college.courses(student):
        for day in range(1, 32):
            try:
                at = today.replace(day=day)
            except ValueError:
                continue
            periods = sorted(course.weekly.get(at.weekday(), ()))
            spans = [tuple(map(clock, PERIODS[period])) for period in periods]
            if course.subject.lab and spans:
                spans = [(spans[0][0], spans[-1][1])]
            expected |= {(str(at), course.cf_id, *span) for span in spans}
    return expected


def shown(page):
    """The same of a page."""
    return {
        (day["date"], slot["cfId"], slot["start"], slot["end"])
        for day in page["days"]
        for slot in day["slots"]
    }


def events_of(written: bytes) -> list[Any]:
    """The events of a calendar, read back."""
    return icalendar.Calendar.from_ical(written).walk("VEVENT")


@pytest.mark.parametrize("cells", ["divs", "joined", "array"])
async def test_the_page_is_the_colleges_timetable(
    front, token, platform, college, student, cells
):
    """Every class of the month, a lab's two periods as one, in all forms of cells."""
    platform.switch(schedule_cells=cells)
    answer = await front.ask(PATH, token)
    page = json.loads(answer.body)
    assert answer.code == 200
    assert page["month"] == f"{college.timetable.today:%Y-%m}"
    assert shown(page) == truth(college, student)
    assert page["incomplete"] == []
    dates = [day["date"] for day in page["days"]]
    assert dates == sorted(dates)


async def test_held_says_whether_a_class_took_place(front, token, college):
    """By the colour of its cell: no class is held on a holiday, nor before its
    day.
    """
    page = json.loads((await front.ask(PATH, token)).body)
    for day in page["days"]:
        at = date.fromisoformat(day["date"])
        held = None if at > college.timetable.today else True
        if college.timetable.is_holiday(at):
            held = False
        assert {slot["held"] for slot in day["slots"]} == {held}


async def test_a_course_is_named_as_its_path_says(front, token, college, student):
    """Code, name, section and teacher."""
    page = json.loads((await front.ask(PATH, token)).body)
    course = college.courses(student)[1]
    slot = next(
        slot
        for day in page["days"]
        for slot in day["slots"]
        if slot["cfId"] == course.cf_id
    )
    assert (slot["course"], slot["courseCode"]) == ("Web Technology", "BCS502")
    assert slot["section"] == student.section
    assert slot["faculty"] == course.teacher.strip()


@pytest.mark.parametrize("month", ["2025-02", "2024-02", "2025-04", "2025-08"])
async def test_every_month_is_whole(front, platform, month):
    """Months of 28, 29, 30 and 31 days have their last day."""
    college = College(students=1, today=date.fromisoformat(f"{month}-10"))
    platform.backend.college = college
    student = college.student(0)
    page = json.loads((await front.ask(PATH, college.token(student))).body)
    assert shown(page) == truth(college, student)


async def test_a_calendar_of_an_old_table_is_old(front, token, platform, clock):
    """It is STALE while the timetable is refreshed or fails."""
    clock.stop()
    await front.ask("/api/timetable", token)
    clock.advance(400)
    platform.faults.set("schedule", kind="status", status=500)
    first = await front.ask("/api/timetable", token, headers=ICALENDAR)
    fresh = ICALENDAR | {"Cache-Control": "no-cache"}
    second = await front.ask("/api/timetable", token, headers=fresh)
    for answer in (first, second):
        assert answer.headers["X-Cache"] == "STALE"
        assert answer.headers["Age"] == "400"
        assert answer.headers["Cache-Control"].startswith("private, max-age=0,")


@pytest.mark.gen_test
async def test_the_calendar_is_the_page(front, token):
    """Read back, event for event; both are kept, each under its own name."""
    page = json.loads((await front.ask(PATH, token)).body)
    answer = await front.ask(PATH, token, headers=ICALENDAR)
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert "Accept" in answer.headers["Vary"].split(", ")
    starts = [f"{e['DTSTART'].dt:%Y-%m-%d %H:%M}" for e in events_of(answer.body)]
    assert sorted(starts) == sorted(
        f"{day} {start}" for day, _, start, _ in shown(page)
    )
    again = await front.ask(PATH, token, headers=ICALENDAR)
    assert (again.headers["X-Cache"], again.body) == ("HIT", answer.body)
    plain = await front.ask(PATH, token)
    assert plain.headers["X-Cache"] == "HIT"
    assert plain.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("application/json, text/calendar", "application/json"),
        ("application/json;q=0.5, text/calendar", "text/calendar"),
        ("text/calendar, */*;q=0.1", "text/calendar"),
        ("text/calendar, */*", "text/calendar"),
        ("text/calendar;q=0, */*", "application/json"),
        ("text/calendar; charset=utf-8", "text/calendar"),
        ("text/html", "application/json"),
    ],
)
async def test_accept_chooses_the_form(front, token, accept, form):
    """JSON unless the calendar is named and weighs as much; kept or not."""
    for _ in range(2):
        answer = await front.ask(PATH, token, headers={"Accept": accept})
        assert answer.headers["Content-Type"].partition(";")[0] == form


async def test_the_platform_is_asked_once(front, token, platform: SimulatedPlatform):
    """JSON and calendar are made of one call."""
    for headers in ({}, ICALENDAR, {}, ICALENDAR):
        await front.ask(PATH, token, headers=headers)
    assert platform.counters.calls == {"schedule": 1}


async def test_no_table_is_an_empty_page(front, token, platform):
    """Between terms the page has no day and the calendar no event."""
    platform.faults.set("schedule", kind="empty")
    page = json.loads((await front.ask(PATH, token)).body)
    assert (page["month"], page["days"]) == (None, [])
    answer = await front.ask(PATH, token, headers=ICALENDAR)
    assert events_of(answer.body) == []


@pytest.mark.parametrize(
    ("knobs", "status"),
    [
        ({"kind": "html"}, 502),
        ({"kind": "body", "body": '{"response":{"data":[{"name":"x"}]}}'}, 502),
        ({"kind": "status", "status": 503}, 503),
        ({"kind": "body", "body": '{"msg":"Session expired"}'}, 401),
    ],
)
@pytest.mark.parametrize("headers", [{}, ICALENDAR])
async def test_a_failing_platform(front, token, platform, knobs, status, headers):
    """The contract's error as JSON, whatever form was asked for."""
    platform.faults.set("schedule", **knobs)
    answer = await front.ask(PATH, token, headers=headers)
    assert answer.code == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.body)["code"]
