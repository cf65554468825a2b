"""Every view against the simulated platform's own records."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from aims_server.demo.enrolment import Student

pytestmark = pytest.mark.process


@pytest.fixture
def student(demo) -> Student:
    """Whoever `inside` is logged in as."""
    found: Student = demo.college.by_username(demo.students[1]["username"])
    return found


def test_today_shows_the_overall_figure(inside, demo):
    """Percent and counts of all courses together."""
    present, total = demo.overall(demo.students[1])
    text = inside.page.inner_text(".overall")
    assert f"{present} of {total} classes attended" in text
    assert f"{100 * present / total:.2f}".rstrip("0").rstrip(".") in text


def test_today_is_the_services_today(visits, token):
    """The college's day, whatever the clock and the zone of the device are."""
    visit = visits({"timezone_id": "America/Los_Angeles"}, token=token, now=0)
    answers = (r for r in visit.responses if r.url.endswith("/api/attendance"))
    sent = parsedate_to_datetime(next(answers).headers["date"])
    day = sent.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert f"{day:%A}, {day.day} {day:%B}" == visit.page.inner_text("#today-title")


NOON = "2025-09-01T12:00:00+05:30"
MARKS = {"Maths": ("08:50", "Present"), "Maths Lab": ("14:00", "Absent")}


def test_today_shows_marks_of_classes_outside_the_timetable(visits, token):
    """It also does so if two subjects' names begin alike."""
    slot = {"start": "08:50", "end": "09:40", "course": "Maths", "faculty": ""}
    month = {"month": "2025-09", "days": [{"date": NOON[:10], "slots": [slot]}]}
    day = {"date": NOON[:10], "present": 1, "absent": 0, "leave": 0}
    subjects = {
        name: {
            "daily": [
                day | {"details": [{"formatted": "", "time": time, "status": mark}]}
            ]
        }
        for name, (time, mark) in MARKS.items()
    }
    answers = {
        "attendance": {"totalPresent": 1, "totalClasses": 1, "overallPercentage": "1%"},
        "all-attendance": {"subjects": subjects, "incomplete": []},
        "timetable": month,
        "quiz": {},
    }
    visit = visits(token=token, answers=answers, now=NOON)
    rows = visit.page.locator(".lessons li").all_inner_texts()
    assert [" ".join(row.split()) for row in rows] == [
        "08:50 \N{EN DASH} 09:40 Maths Present",
        "14:00 Maths Lab Absent",
    ]


def test_every_mark_of_a_slot_has_its_own_colour(visits, token):
    """Also of several classes in one slot, absent and present."""
    slot = {"start": "08:50", "end": "10:30", "course": "Maths", "faculty": ""}
    month = {"month": "2025-09", "days": [{"date": NOON[:10], "slots": [slot]}]}
    details = [
        {"formatted": "", "time": "08:50", "status": "Absent"},
        {"formatted": "", "time": "09:40", "status": "Present"},
    ]
    day = {"date": NOON[:10], "present": 1, "absent": 1, "leave": 0, "details": details}
    answers = NOTHING_COUNTED | {
        "all-attendance": {"subjects": {"Maths": {"daily": [day]}}},
        "timetable": month,
    }
    page = visits(token=token, answers=answers, now=NOON).page
    row = page.locator(".lessons li")
    assert row.inner_text().endswith("Absent, Present")
    marks = {word: row.locator(f".mark.{word}") for word in ("absent", "present")}
    assert {m.text_content() for m in marks.values()} == {"Absent", "Present"}


def test_a_device_that_slept_over_midnight_shows_the_new_day(inside):
    """The first tick after waking shows it."""
    inside.page.clock.install()
    inside.page.reload()
    inside.settle()
    before = inside.page.inner_text("#today-title")
    inside.page.clock.fast_forward(86_400_000)
    inside.page.wait_for_selector("text=Updated 24 h ago")
    assert inside.page.inner_text("#today-title") != before


def test_another_months_timetable_says_nothing_of_today(visits, token):
    """A page that is open since last month, or a college between two terms."""
    visit = visits(token=token, answers=NOTHING_COUNTED)
    note = "There is no timetable for today."
    assert visit.page.inner_text("[aria-labelledby=today-title] .note") == note


def test_the_services_clock_is_that_of_any_page(visits, token):
    """Any page's `Date` sets it, if the attendance page fails."""
    visit = visits()
    visit.page.clock.set_fixed_time(0)
    visit.page.route("**/api/attendance", lambda route: route.abort())
    visit.page.evaluate("token => sessionStorage.setItem('token', token)", token)
    with visit.page.expect_response("**/api/quiz") as answered:
        visit.page.reload()
    visit.page.wait_for_selector("#refresh:not([aria-disabled])")
    sent = parsedate_to_datetime(answered.value.headers["date"])
    day = sent.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert f"{day.day} {day:%B}" in visit.page.inner_text("#today-title")
    visit.forgive_failed_answers()


def test_subjects_shows_every_count(inside, demo):
    """One card a course, in the platform's order, with present of total."""
    inside.show("subjects")
    cards = inside.page.locator(".subject").all_inner_texts()
    shown = [
        (int(match[1]), int(match[2]))
        for card in cards
        if (match := re.search(r"(\d+) of (\d+) class", card))
    ]
    rows = demo.counts(demo.students[1])
    assert shown == [(present, total) for _, present, total in rows]
    titles = inside.page.locator(".subject h2").all_inner_texts()
    assert all(t.startswith(r[0]) for t, r in zip(titles, rows, strict=True))
    assert len(set(titles)) == len(titles)


def test_subjects_says_what_the_target_allows(inside, demo):
    """Can miss or must attend, worked out anew here with whole numbers."""
    inside.show("subjects")
    shown = inside.page.locator(".subject .line .advice").all_inner_texts()
    expected = []
    for _, present, total in demo.counts(demo.students[1]):
        if total == 0:
            expected.append("No class counted yet")
            continue
        spare = 100 * present - 75 * total
        if spare < 0:
            n = -(spare // 25)
            next_ones = "class" if n == 1 else f"{n} classes"
            expected.append(f"Attend the next {next_ones} to reach 75%")
        elif spare < 75:
            expected.append("Miss none: one more would take you below 75%")
        else:
            n = spare // 75
            many = "class" if n == 1 else "classes"
            expected.append(f"You can miss {n} {many} and stay at 75%")
    assert shown == expected


NOTHING_COUNTED: dict[str, Any] = {
    "attendance": {
        "dailyAttendance": [
            {
                "course": "Art",
                "courseCode": "A",
                "present": 0,
                "total": 0,
                "percent": "0%",
            }
        ],
        "totalPresent": 0,
        "totalClasses": 0,
        "overallPercentage": "0%",
    },
    "all-attendance": {"subjects": {}},
    "timetable": {"month": "2025-09", "days": []},
    "quiz": {},
}


@pytest.mark.parametrize("view", ["today", "subjects"])
def test_a_figure_of_no_class_is_neither_good_nor_bad(visits, token, view):
    """0 of 0 has no colour of the target's, nor is any subject called at the target."""
    visit = visits(token=token, answers=NOTHING_COUNTED)
    visit.show(view)
    judged = visit.page.locator("main").locator(".good, .near, .low")
    assert judged.count() == 0
    text = visit.page.inner_text("main")
    assert "No class counted yet" in text
    assert "75%" not in text


@pytest.mark.parametrize("view", ["today", "subjects"])
def test_no_target_is_made_up(inside, view):
    """Only the summary says what the operator's is, and it may fail alone."""
    inside.page.route("**/api/attendance", lambda route: route.abort())
    inside.page.reload()
    inside.page.wait_for_selector("#refresh:not([aria-disabled])")
    inside.show(view)
    said = " ".join(inside.page.locator(".advice").all_inner_texts())
    assert "to reach the target" in said
    assert "%" not in said
    assert inside.page.locator("main").locator(".good, .near, .low").count() == 0
    inside.forgive_failed_answers()


def test_counts_that_the_summary_could_not_read_are_those_of_the_days(visits, token):
    """The service has them from the records, and says no silent zero either."""
    figures = {"present": 0, "total": 0, "percent": "0%"}
    row = {"course": "Art", "courseCode": "A", "canMiss": None, "mustAttend": None}
    art = {"totalPresent": 31, "total": 40, "percent": "77.5%", "canMiss": 1}
    answers = NOTHING_COUNTED | {
        "attendance": NOTHING_COUNTED["attendance"]
        | {
            "dailyAttendance": [row | figures],
            "target": 75,
            "incomplete": ["Art"],
        },
        "all-attendance": {
            "subjects": {"Art": art | {"mustAttend": 0, "daily": []}},
            "incomplete": [],
        },
    }
    visit = visits(token=token, answers=answers)
    visit.show("subjects")
    card = visit.page.inner_text(".subject")
    assert "31 of 40 classes" in card
    assert "77.5%" in card
    assert "You can miss 1 class" in card


def test_what_if_follows_the_slider(inside):
    """Attending more raises the figure, and the sentence is that of the new figure."""
    inside.show("subjects")
    card = inside.page.locator(".subject", has=inside.page.locator("details")).first
    card.locator("summary").click()
    before = re.search(r"\((\d+) of (\d+)\)", card.locator(".outcome").inner_text())
    slider = card.locator("input[type=range]").first
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    after = re.search(r"\((\d+) of (\d+)\)", card.locator(".outcome").inner_text())
    assert before is not None
    assert after is not None
    assert (int(after[1]), int(after[2])) == (int(before[1]) + 3, int(before[2]) + 3)
    assert card.locator("label [aria-hidden]").first.inner_text() == "3"


def test_calendar_counts_every_day(inside, demo, student):
    """Each day's button tells how many of its marked classes were attended."""
    inside.show("calendar")
    expected: dict[str, Counter[str]] = defaultdict(Counter)
    for course in demo.college.courses(student):
        marks = demo.college.marks(student, course)
        for lesson, mark in zip(course.lessons, marks, strict=True):
            expected[lesson.start[:10]][mark] += 1
    labels = "all => all.map(({id, ariaLabel}) => [id, ariaLabel])"
    shown = {}
    for button, label in inside.page.locator(".day").evaluate_all(labels):
        match = re.search(r"(\d+) of (\d+) attended", label)
        assert match
        shown[button.removeprefix("day-")] = (int(match[1]), int(match[2]))
    assert shown == {
        day: (marks["Present"], marks["Present"] + marks["Absent"] + marks["Leave"])
        for day, marks in expected.items()
    }


def test_a_day_of_the_calendar_opens_its_classes(inside, demo, student):
    """It shows all classes of that day in their order."""
    inside.show("calendar")
    button = inside.page.locator(".day").nth(3)
    day = (button.get_attribute("id") or "").removeprefix("day-")
    button.click()
    times = inside.page.locator(".split > .card .time").all_inner_texts()
    held = [
        lesson
        for course in demo.college.courses(student)
        for lesson in course.lessons
        if lesson.start[:10] == day
    ]
    assert len(times) == len(held)
    assert times == sorted(times)


IS_SEEN = """selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  const tabs = document.querySelector("nav").getBoundingClientRect();
  return box.top >= tabs.bottom && box.bottom <= innerHeight;
}"""


def test_a_day_that_is_chosen_on_a_phone_is_seen(inside):
    """Its classes stand below all months, where a tap seemed to do nothing."""
    inside.show("calendar")
    inside.page.locator(".day").first.click()
    assert inside.page.evaluate(IS_SEEN, "#day-title")


def test_quizzes_shows_every_mark(inside, demo, student):
    """Each evaluated quiz with its marks, and no link that holds a PIN."""
    inside.show("quizzes")
    answer = inside.page.evaluate(
        """async () => (await (await fetch("api/quiz", {headers: {
            Authorization: `Bearer ${sessionStorage.getItem("token")}`}})).json())"""
    )
    sent = answer["response"]["data"]
    rows = inside.page.locator(".quizzes tbody tr").all_inner_texts()
    shown = sorted(tuple(row.split("\t")[i].strip() for i in (0, 2)) for row in rows)
    assert shown == sorted((q["quiz_uc"], str(q["marks_obtained"])) for q in sent)
    assert inside.page.locator("main a").count() == 0
    assert student.pin not in inside.page.inner_text("main")


QUIZZES = [
    None,
    "x",
    {},
    {"quiz_uc": "NULL", "loggedin_at": "0000-00-00 00:00:00", "marks_obtained": "8"},
    {"quiz_uc": "MNTH", "loggedin_at": "2025-13-45", "correct": {"n": 1}},
    {"quiz_uc": 1970, "loggedin_at": "1970-01-01 05:30:00", "incorrect": [1]},
    {"quiz_uc": "GAPS", "marks_obtained": "\u00a0"},
    {"quiz_uc": "GOOD", "loggedin_at": "2025-09-03 13:51:31", "marks_obtained": 7},
]


def test_an_odd_quiz_costs_no_other_one_anything(visits, token):
    """Quizzes come as the platform sends them, so that anything may stand in them."""
    answer = {"response": {"data": QUIZZES}}
    visit = visits(token=token, answers={"quiz": answer})
    visit.show("quizzes")
    rows = visit.page.locator(".quizzes tbody tr").all_inner_texts()
    shown = [[cell.strip() for cell in row.split("\t")[:3]] for row in rows]
    assert shown == [
        ["\u2013", "\u2013", "\u2013"],
        ["NULL", "\u2013", "8"],
        ["MNTH", "\u2013", "\u2013"],
        ["1970", "\u2013", "\u2013"],
        ["GAPS", "\u2013", "\u2013"],
        ["GOOD", "3 September", "7"],
    ]
    assert "Average 7.5, best 8" in visit.page.inner_text("main")


def test_a_course_of_quizzes_is_one_however_its_code_comes(visits, token):
    """The code may be a number, and that of two groups, of which the first is named."""
    counts = {"courseCode": "503", "present": 1, "total": 2}
    courses = [{"course": name} | counts for name in ("Maths", "Maths (503, 7)")]
    summary = NOTHING_COUNTED["attendance"] | {"dailyAttendance": courses}
    rows = [{"master_course_code": code} for code in (503, "503 ", None, "", " ")]
    quizzes = {"response": {"data": rows}}
    visit = visits(token=token, answers={"attendance": summary, "quiz": quizzes})
    visit.show("quizzes")
    assert visit.page.locator("main h2").all_inner_texts() == ["Maths", "\u2013"]


ENVELOPES: list[Callable[[list[dict[str, str]]], Any]] = [
    lambda rows: {"msg": "", "response": rows},
    lambda rows: {"data": rows},
    lambda rows: {"response": "Success", "data": rows},
    lambda rows: {"response": {"message": "Success"}, "data": rows},
    lambda rows: {"response": {"data": None}, "data": rows},
    lambda rows: {"response": [], "data": {"data": rows}},
    lambda rows: {"response": {"data": {"0": rows[0], "2": rows[1]}}},
    lambda rows: {"response": {"data": {"data": rows, "meta": {"total": 2}}}},
]


def test_quizzes_are_shown_out_of_every_envelope(visits, token):
    """They are passed on in the one that the platform has chosen."""
    visit = visits(token=token, answers=NOTHING_COUNTED)
    visit.show("quizzes")
    for number, envelope in enumerate(ENVELOPES):
        names = [f"First {number}", f"Second {number}"]
        visit.serve("quiz", envelope([{"quiz_uc": name} for name in names]))
        visit.refresh()
        assert visit.page.locator(".quizzes tbody th").all_inner_texts() == names


DETAILS = [
    {"time": "2025-09-01 10:45:00", "status": "P", "formatted": ""},
    {"time": "", "status": "DUTY_LEAVE", "formatted": "3:45 p.m. - 4:30 p.m."},
    {"time": "", "status": "Present", "formatted": ""},
    {
        "time": "",
        "status": "\uff21",
        "formatted": "9.40 AM01/Sep/2025",
    },  # A, of full width
    {"time": "", "status": "Present", "formatted": "2:50 - 3:40PM 01/Sep/2025"},
    # Neither a time of another zone nor a date's midnight is when a class began.
    {"time": "2025-09-01T03:20:00.000000Z", "status": "A", "formatted": "01/Sep/2025"},
    {"time": "2025-09-01 03:20:00 UTC", "status": "L", "formatted": ""},
    {"time": "2025-09-01 00:00:00", "status": "Not Present", "formatted": ""},
    {"time": "2025-09-01T16:20:00+05:30", "status": "P", "formatted": ""},
]


def test_the_calendar_reads_marks_and_times_in_every_form(visits, token):
    """Days have the colours of the marks as they are counted."""
    day = {"date": "2025-09-01", "present": 3, "absent": 1, "leave": 1}
    subject = {"daily": [day | {"details": DETAILS}]}
    page = {"subjects": {"Odd": subject}, "incomplete": []}
    visit = visits(token=token, answers={"all-attendance": page})
    visit.show("calendar")
    times = visit.page.locator(".card .lessons .time").all_inner_texts()
    assert times == ["", "", "", "", "09:40", "10:45", "14:50", "15:45", "16:20"]
    marks = visit.page.locator(".card .lessons .mark").all()
    kinds = " ".join((m.get_attribute("class") or "")[len("mark ") :] for m in marks)
    assert kinds == "present absent leave other absent present present leave present"


def test_timetable_shows_the_months_classes(inside):
    """Every slot that the API gives stands under its day."""
    inside.show("timetable")
    answer = inside.page.evaluate(
        """async () => (await (await fetch("api/timetable", {headers: {
            Authorization: `Bearer ${sessionStorage.getItem("token")}`}})).json())"""
    )
    slots = [
        f"{s['start']} \N{EN DASH} {s['end']}"
        for d in answer["days"]
        for s in d["slots"]
    ]
    assert slots
    assert inside.page.locator("main .time").all_inner_texts() == slots


def test_the_timetable_begins_at_today_however_late_it_comes(visits, token):
    """On a phone, today may stand a dozen screens below the first of the month."""
    slot = {"start": "08:50", "end": "09:40", "course": "Maths", "faculty": ""}
    dates = [f"2025-09-{day:02}" for day in range(1, 31)]
    days = [{"date": date, "slots": [slot]} for date in dates]
    answers = NOTHING_COUNTED | {"timetable": {"month": "2025-09", "days": days}}
    visit = visits(token=token, answers=answers, now="2025-09-20T03:00:00Z")
    visit.show("timetable")
    visit.page.reload()
    visit.page.wait_for_selector(".today")
    assert visit.page.evaluate(IS_SEEN, ".today")


def test_the_timetable_can_be_saved_for_a_calendar(inside):
    """The file is iCalendar with an event for each slot."""
    inside.show("timetable")
    slots = inside.page.locator("main .time").count()
    with inside.page.expect_download() as saved:
        inside.page.click("#save-calendar")
    text = saved.value.path().read_text("utf-8")
    assert saved.value.suggested_filename == "timetable.ics"
    assert text.count("BEGIN:VEVENT") == slots


def test_a_calendar_that_is_under_way_is_not_asked_for_twice(inside):
    """A second click leaves one file, and the button shows that the first was heard."""
    asked = []
    inside.show("timetable")
    inside.page.route("**/api/timetable", lambda route: asked.append(route))
    with inside.page.expect_request("**/api/timetable"):
        inside.page.click("#save-calendar")
    inside.page.wait_for_selector("#save-calendar[aria-disabled]")
    with inside.page.expect_download():
        inside.page.evaluate("document.getElementById('save-calendar').click()")
        asked[0].continue_()
    inside.page.wait_for_selector("#save-calendar:not([aria-disabled])")
    assert len(asked) == 1


def test_the_address_names_the_view(inside):
    """A view can be reloaded, and the browser's way back leads to the one before."""
    inside.show("calendar")
    inside.page.reload()
    inside.page.wait_for_selector("#tab-calendar[aria-current=page]")
    inside.show("quizzes")
    inside.page.go_back()
    inside.page.wait_for_selector("#tab-calendar[aria-current=page]")
