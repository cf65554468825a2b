"""What the platform may really send, through HTTP: one odd row costs nobody anything.

The shapes are those of the simulated platform (`aims_server.demo.shapes`); they broke
clients of platforms of this kind.
"""

import json
import re
from collections import Counter

import pytest

from aims_server.demo.college import College
from aims_server.demo.shapes import CARD_SHAPES, COURSE_SHAPES
from aims_server.metrics import labels

from .paths import subject_path

pytestmark = pytest.mark.gen_test

ODDITY = re.compile(
    r'aims_upstream_oddities_total\{endpoint="(?P<endpoint>\w+)",kind="(?P<kind>\w+)"\}'
    r" (?P<count>.+)"
)


async def pages_of(front, token):
    """Both pages of a student as a client reads them."""
    pages = []
    for path in ("/api/attendance", "/api/all-attendance"):
        answer = await front.ask(path, token)
        assert answer.code == 200, answer.body
        pages.append(json.loads(answer.body))
    return pages


@pytest.fixture(name="plain")
def _plain(io_loop, front, college, student):
    """Both pages of the same student on a good day, with another token."""
    token = college.token(student, serial=9)
    return io_loop.run_sync(lambda: pages_of(front, token))


def shown(page):
    """A page without what an answer of its own always has."""
    return {key: value for key, value in page.items() if key != "cachedAt"}


@pytest.mark.parametrize(
    "shape",
    ["counts_gone", "counts_null", "counts_array", "counts_dash"],
)
async def test_a_row_without_counts_leaves_the_others_whole(
    front, token, platform, plain, shape
):
    """It is 0 of 0 and named; its records are counted all the same."""
    platform.switch(shapes=[shape])
    summary, whole = await pages_of(front, token)
    odd, *others = summary["dailyAttendance"]
    assert (odd["present"], odd["total"], odd["percent"]) == (0, 0, "0%")
    assert summary["incomplete"] == [odd["course"]]
    assert others == plain[0]["dailyAttendance"][1:]
    assert whole["incomplete"] == []
    for key in ("totalPresentAllSubjects", "totalAbsentAllSubjects"):
        assert whole[key] == plain[1][key]


@pytest.mark.parametrize(
    "shape",
    [
        "counts_text",
        "counts_negative",
        "strange_rows",
        "total_shouted",
        "total_first",
        "records_twice",
        "records_strange",
    ],
)
async def test_some_shapes_change_nothing_at_all(front, token, platform, plain, shape):
    """With these odd shapes both pages are the same as with sound rows."""
    platform.switch(shapes=[shape])
    pages = await pages_of(front, token)
    assert [shown(page) for page in pages] == [shown(page) for page in plain]


@pytest.mark.parametrize(
    "shape",
    [
        "marks_short",
        "marks_duty_leave",
        "dates_dashed",
        "dates_utc",
        "dates_sept",
        "dates_adjusted",
        "dates_epoch",
        "dates_typed",
        "dates_worded_only",
    ],
)
async def test_marks_and_dates_are_read_in_every_form(
    front, token, platform, plain, shape
):
    """The same days with the same counts, whatever the platform's texts."""
    platform.switch(shapes=[shape])
    page = (await pages_of(front, token))[1]
    assert page["incomplete"] == []
    for key, subject in page["subjects"].items():
        before = plain[1]["subjects"][key]
        counted = [{**day, "details": len(day["details"])} for day in subject["daily"]]
        assert counted == [
            {**day, "details": len(day["details"])} for day in before["daily"]
        ]
        assert {**subject, "daily": 0} == {**before, "daily": 0}


@pytest.mark.parametrize("shape", ["marks_renamed", "marks_blank", "records_gone"])
async def test_a_figure_is_never_silently_zero(front, token, platform, plain, shape):
    """What the summary has and the records have not comes from the summary."""
    platform.switch(shapes=[shape])
    page = (await pages_of(front, token))[1]
    held = {key for key, subject in plain[1]["subjects"].items() if subject["total"]}
    assert set(page["incomplete"]) == held
    for mark in ("Present", "Absent", "Leave"):
        key = f"total{mark}AllSubjects"
        assert page[key] == plain[1][key]
    days = sum(len(subject["daily"]) for subject in page["subjects"].values())
    assert (days == 0) == (shape == "records_gone")


@pytest.mark.parametrize("shape", ["records_strange", "records_twice", None])
async def test_pages_of_a_list_are_all_had(front, token, platform, plain, shape):
    """Many small pages give the answer of one large one, also where rows that are no
    records, or come twice, are counted in the list's total.
    """
    platform.switch(page_size=20, shapes=[shape] if shape else [])
    page = (await pages_of(front, token))[1]
    assert shown(page) == shown(plain[1])


async def test_only_the_first_page_of_a_list_is_not_believed(
    front, token, platform, plain
):
    """The summary's counts, the days that there are, the name in `incomplete`."""
    platform.switch(page_size=20, obeys_page=False)
    page = (await pages_of(front, token))[1]
    assert page["incomplete"]
    for key in page["incomplete"]:
        subject = page["subjects"][key]
        assert subject["totalPresent"] == plain[1]["subjects"][key]["totalPresent"]
        assert sum(len(day["details"]) for day in subject["daily"]) == 20


async def test_names_are_shown_without_html(front, token, platform):
    """Tags dropped, entities decoded once, NBSP a blank; alike on both pages."""
    platform.switch(shapes=["html_names"])
    summary, whole = await pages_of(front, token)
    names = [course["course"] for course in summary["dailyAttendance"]]
    assert names[1] == "Signals & Systems BCS502"
    assert names == list(whole["subjects"])


@pytest.mark.parametrize("shape", ["nameless", "naming_array"])
async def test_a_course_without_a_name_is_not_lost(
    front, token, platform, plain, shape
):
    """It is called by its code, else by its id."""
    platform.switch(shapes=[shape])
    summary, whole = await pages_of(front, token)
    first = summary["dailyAttendance"][0]
    cf_id = next(iter(whole["subjects"].values()))["cfId"]
    assert first["course"] == ("BCS553" if shape == "nameless" else str(cf_id))
    assert first["present"] == plain[0]["dailyAttendance"][0]["present"]


async def test_equal_names_are_told_apart_alike_on_both_pages(plain):
    """The names of one are the keys of the other, and no two are equal."""
    names = [course["course"] for course in plain[0]["dailyAttendance"]]
    assert names == list(plain[1]["subjects"])
    assert "Web Technology (BCS552)" in names
    assert len(set(names)) == len(names)


async def test_a_code_leads_to_the_course_that_has_classes(front, token, platform):
    """An empty group row of the same course stands before the real one."""
    platform.switch(shapes=["empty_twin"])
    platform.faults.set("cards", kind="empty", match="cf_id=7299999")
    _, whole = await pages_of(front, token)
    key = whole["courseCodeMap"]["BCS553"]
    assert whole["subjects"][key]["total"] > 0
    assert whole["incomplete"] == []


async def test_halves_stay_halves(front, token, platform, plain):
    """A lab of two hours counted as one and a half is not rounded."""
    platform.switch(shapes=["counts_half"])
    summary, _ = await pages_of(front, token)
    first, before = (p["dailyAttendance"][0] for p in (summary, plain[0]))
    assert first["present"] == before["present"] + 0.5
    assert first["total"] == before["total"] + 1


async def test_thousands_are_read_with_their_comma(front, token, platform, plain):
    """1,031 classes are no 1."""
    platform.switch(shapes=["counts_thousands"])
    summary, _ = await pages_of(front, token)
    first, before = (p["dailyAttendance"][0] for p in (summary, plain[0]))
    for count in ("present", "total"):
        assert first[count] == before[count] + 1000
    assert summary["incomplete"] == []


async def test_more_present_than_held_is_shown_as_sent(front, token, platform, plain):
    """More present than held is shown as sent; other courses are unchanged."""
    platform.switch(shapes=["counts_surplus"])
    summary, _ = await pages_of(front, token)
    first, *others = summary["dailyAttendance"]
    assert (first["present"], first["mustAttend"]) == (first["total"] + 1, 0)
    assert others == plain[0]["dailyAttendance"][1:]
    assert summary["incomplete"] == []


async def test_no_course_is_an_empty_page(front, token, platform):
    """Both pages of a new student are empty, with status 200."""
    platform.switch(shapes=["no_courses"])
    summary, whole = await pages_of(front, token)
    assert summary["dailyAttendance"] == []
    assert (whole["subjects"], whole["incomplete"]) == ({}, [])


@pytest.mark.parametrize("body", ["[]", '"ok"', "null", "7", "<html>", '{"a":1'])
async def test_quizzes_that_are_no_object_are_a_502(front, token, platform, body):
    """There is nothing in them for a frontend to read."""
    platform.faults.set("quizzes", kind="body", body=body)
    assert (await front.ask("/api/quiz", token)).code == 502


@pytest.mark.parametrize("page", ["attendance", "all-attendance", "quiz"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"status":0,"msg":"Please login again"}'),
        (200, '{"status":0,"response":"Session expired"}'),
        (419, '{"message":"Session timed out"}'),
        (400, '{"error":"Wrong number of segments"}'),
    ],
)
async def test_an_ended_session_is_a_401(front, token, platform, page, status, body):
    """The platform's words for it are a 401, whatever its status."""
    platform.faults.set(kind="body", status=status, body=body)
    assert (await front.ask(f"/api/{page}", token)).code == 401


def nameless(college, student):
    """A student's course files that do not say whose they are."""
    rows = [
        {key: value for key, value in row.items() if key != "student_id"}
        for row in college.course_files(student)
    ]
    return json.dumps({"msg": "", "response": {"data": rows}})


async def test_course_files_of_nobody_are_the_askers(
    front, token, platform, college, student, plain
):
    """The token says whose they are, so both pages are those of a good day."""
    platform.faults.set("course_files", kind="body", body=nameless(college, student))
    pages = await pages_of(front, token)
    assert [shown(page) for page in pages] == [shown(page) for page in plain]


async def test_totals_need_no_student(front, platform, college, student, plain):
    """Where neither token nor platform names one, there are no records to ask for."""
    platform.faults.set("course_files", kind="body", body=nameless(college, student))
    summary, whole = await pages_of(front, "opaque")
    assert summary["dailyAttendance"] == plain[0]["dailyAttendance"]
    assert whole["incomplete"] == list(whole["subjects"]) == list(plain[1]["subjects"])
    assert whole["totalPresentAllSubjects"] == plain[1]["totalPresentAllSubjects"]


@pytest.mark.parametrize(
    "body",
    [
        '{"msg":"No record found"}',
        '{"msg":"No course files found.","response":null}',
        '{"status":0,"message":"No data available","response":{}}',
    ],
)
async def test_nothing_in_words_is_an_empty_page(front, token, platform, body):
    """A body that says "nothing found" is an empty page, not a failure."""
    platform.faults.set("course_files", kind="body", body=body)
    summary, whole = await pages_of(front, token)
    assert summary["dailyAttendance"] == []
    assert (whole["subjects"], whole["incomplete"]) == ({}, [])


@pytest.mark.parametrize(
    "text",
    [
        "No permission to view attendance",
        "Attendance is not available at the moment, please try later",
        "No data received from server",
    ],
)
async def test_words_of_a_failure_are_no_empty_page(front, token, platform, text):
    """It would say that the student has no classes."""
    body = json.dumps({"status": 0, "msg": text})
    platform.faults.set("course_files", kind="body", body=body)
    for path in ("/api/attendance", "/api/all-attendance"):
        assert (await front.ask(path, token)).code == 502


async def test_one_subjects_refusal_logs_nobody_out(
    front, token, platform, college: College, student, plain
):
    """It stands in `incomplete`, the other pages stay, and the next one is had."""
    cf_id = college.courses(student)[0].cf_id
    for body in ('{"status":0,"msg":"Forbidden"}', '{"msg":"Session expired"}'):
        platform.faults.set(
            "cards", kind="body", status=403, body=body, match=f"cf_id={cf_id}"
        )
        fresh = college.token(student, serial=len(body))
        summary, whole = await pages_of(front, fresh)
        assert whole["incomplete"] == [summary["dailyAttendance"][0]["course"]]
        assert (await front.ask("/api/quiz", fresh)).code == 200
        again = await front.ask("/api/attendance", fresh)
        assert (again.code, again.headers["X-Cache"]) == (200, "HIT")


def path_of_subject(college, student):
    """Where the records of a student's first course are asked for."""
    cf_id = college.courses(student)[0].cf_id
    return subject_path(student.id, cf_id)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_one_subject_asked_for_logs_nobody_out(
    front, token, platform, college: College, student, status
):
    """The platform gives the course files all the same; the other pages stay."""
    path = path_of_subject(college, student)
    refusal = '{"msg":"Session expired"}'
    platform.faults.set("cards", kind="body", status=status, body=refusal)
    assert (await front.ask("/api/quiz", token)).code == 200
    assert (await front.ask(path, token)).code == 502
    kept = await front.ask("/api/quiz", token)
    assert (kept.code, kept.headers["X-Cache"]) == (200, "HIT")


async def test_a_refused_token_asks_for_one_subject_in_vain(
    front, token, platform, college: College, student
):
    """It is a 401 though course files are kept, and those are dropped."""
    assert (await front.ask("/api/attendance", token)).code == 200
    platform.revoke(token)
    assert (await front.ask(path_of_subject(college, student), token)).code == 401
    assert (await front.ask("/api/attendance", token)).code == 401


async def test_odd_answers_are_counted_and_logged_once_a_minute_without_values(
    front, token, platform, college, access_lines, clock
):
    """The log has the shape of the answer and nothing that it said."""
    platform.switch(shapes=["counts_array", "strange_rows"])
    for serial in range(3):
        await front.ask(
            "/api/attendance", college.token(college.student(3), serial=serial)
        )
    clock.advance(61)
    await front.ask("/api/attendance", college.token(college.student(3), serial=7))
    metrics = (await front.ask("/metrics")).body.decode()
    counted: Counter[str] = Counter()
    for line in metrics.splitlines():
        if line.startswith("aims_upstream_oddities_total{"):
            name, value = line.rsplit(" ", 1)
            counted[name.split('kind="')[1].split('"')[0]] += int(float(value))
    assert counted["row"] == 4 * 5
    assert counted["counts"] == counted["type"] - 4 * 1 == 4
    told = [
        line["message"]
        for line in access_lines.told()
        if "odd answer" in line["message"]
    ]
    rows = [line for line in told if "course_files: row" in line]
    assert len(rows) == 2
    assert "14 more" in rows[1]


async def test_every_kind_of_oddity_has_a_label(front, platform, college):
    """What all shapes together bring is counted under kinds that are listed."""
    tokens = iter(college.token(college.student(9), serial=n) for n in range(99))
    for shape in (*COURSE_SHAPES, *CARD_SHAPES):
        platform.switch(shapes=[shape])
        await front.ask("/api/all-attendance", next(tokens))
    platform.switch(shapes=[], unreadable_dates=0.5, page_size=9, prefix="\ufeff")
    await front.ask("/api/all-attendance", next(tokens))
    platform.switch(obeys_page=False)
    await front.ask("/api/all-attendance", next(tokens))
    rows = [{"name": "May-2025"}, {"cf_id": 7, "c3": 5, "course_name": []}, None, {}]
    for endpoint, path, some in (
        ("schedule", "timetable", rows),
        ("course_files", "attendance", [{"id": 7}]),
    ):
        body = json.dumps({"response": {"data": some, "last_page": 2}})
        platform.faults.set(endpoint, kind="body", body=body)
        await front.ask(f"/api/{path}", next(tokens))
    counted = set()
    for line in (await front.ask("/metrics")).body.decode().splitlines():
        match = ODDITY.match(line)
        if match and float(match["count"]):
            counted.add((match["endpoint"], match["kind"]))
    listed = set(labels.ODDITIES)
    assert counted <= listed
    assert {kind for _, kind in listed - counted} <= {"encoding"}
