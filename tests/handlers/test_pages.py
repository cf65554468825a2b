"""The three pages of a student, through HTTP, against the platform's own records."""

import asyncio
import json
from collections import Counter
from urllib.parse import urlencode

import pytest
from tornado.httpclient import AsyncHTTPClient

from aims_server.demo.college import College
from aims_server.demo.platform import SimulatedPlatform

from .paths import subject_path


def truth(college: College, student) -> Counter[str]:
    """Every record of a student by its state, counted at the source."""
    return Counter(
        record["state"]
        for course in college.courses(student)
        for record in college.cards(student, course.cf_id)
    )


@pytest.mark.gen_test
async def test_attendance_summary(front, token, student, college):
    """It has one entry per course in the platform's order, and no Total row."""
    answer = await front.ask("/api/attendance", token)
    page = json.loads(answer.body)
    rows = college.course_files(student)
    assert answer.code == 200
    assert [c["courseCode"] for c in page["dailyAttendance"]] == [
        row["cdata"]["course_code"] for row in rows[:-1]
    ]
    assert [c["percent"] for c in page["dailyAttendance"]] == [
        row["attendance_summary"]["Percent"] for row in rows[:-1]
    ]
    total = rows[-1]["attendance_summary"]
    assert page["totalPresent"] == total["Present"]
    assert page["totalClasses"] == total["Total"]
    assert page["overallPercentage"] == total["Percent"]
    assert page["studentId"] == student.id
    assert (page["batch"], page["section"], page["branch"]) == (
        rows[0]["batch"],
        rows[0]["section"],
        rows[0]["dept"],
    )


@pytest.mark.gen_test
async def test_attendance_by_post_equals_get(front, token):
    """The token may come in the body."""
    by_get = await front.ask("/api/attendance", token)
    by_post = await front.ask("/api/attendance", method="POST", body={"token": token})
    assert by_post.code == 200
    assert by_post.body == by_get.body


@pytest.mark.gen_test
async def test_totals_equal_the_platforms_records(front, college, platform):
    """The sums on a page are a count over the platform's records, whoever asks."""
    for index in range(100, 140):
        student = college.student(index)
        answer = await front.ask("/api/all-attendance", college.token(student))
        page = json.loads(answer.body)
        counts = truth(college, student)
        assert page["totalPresentAllSubjects"] == counts["Present"]
        assert page["totalAbsentAllSubjects"] == counts["Absent"]
        assert page["totalLeaveAllSubjects"] == counts["Leave"]
        assert page["studentId"] == student.id
        assert page["incomplete"] == []
        details = sum(
            len(day["details"])
            for subject in page["subjects"].values()
            for day in subject["daily"]
        )
        assert details == counts.total()


@pytest.mark.gen_test
async def test_subjects_are_asked_side_by_side(
    front, token, student, college, platform
):
    """All card calls are in flight at once."""
    platform.hold("cards")
    asked = front.ask("/api/all-attendance", token)
    waiting = asyncio.ensure_future(asked)
    subjects = len(college.courses(student))
    await platform.until(lambda seen: seen.now["cards"] == subjects)
    platform.release("cards")
    assert (await waiting).code == 200


@pytest.mark.gen_test
async def test_days_ascend_with_the_records_own_dates(front, token, college, student):
    """Days are the wall-clock dates of the records, in order."""
    page = json.loads((await front.ask("/api/all-attendance", token)).body)
    for subject in page["subjects"].values():
        days = [day["date"] for day in subject["daily"]]
        assert days == sorted(set(days))
        records = college.cards(student, subject["cfId"])
        assert set(days) == {record["start_time"][:10] for record in records}


@pytest.mark.gen_test
async def test_a_failing_subject_falls_back_to_the_summary(
    front, token, college, student, platform: SimulatedPlatform
):
    """A subject without records carries the summary's counts and is named."""
    course = college.courses(student)[0]
    platform.faults.set(
        "cards", kind="status", status=500, match=f"cf_id={course.cf_id}"
    )
    answer = await front.ask("/api/all-attendance", token)
    page = json.loads(answer.body)
    (name,) = page["incomplete"]
    summary = college.course_files(student)[0]["attendance_summary"]
    assert answer.code == 200
    assert page["subjects"][name]["daily"] == []
    assert page["subjects"][name]["totalPresent"] == summary["Present"]
    assert page["subjects"][name]["totalAbsent"] == summary["Absent"]
    assert platform.counters.calls["cards"] > len(college.courses(student))


@pytest.mark.gen_test
async def test_a_token_that_every_subject_refuses_is_refused(front, token, platform):
    """It is not a subject's refusal then; what was kept for the token goes."""
    await front.ask("/api/attendance", token)
    platform.faults.set("cards", kind="status", status=401)
    assert (await front.ask("/api/all-attendance", token)).code == 401
    platform.faults.set("course_files", kind="status", status=401)
    assert (await front.ask("/api/attendance", token)).code == 401


@pytest.mark.gen_test
async def test_one_subject(front, token, college, student):
    """One subject's page, by GET and by POST, counts its own records."""
    course = max(
        college.courses(student), key=lambda c: len(college.cards(student, c.cf_id))
    )
    records = college.cards(student, course.cf_id)
    query = f"?subject=Any+Name&studentId={student.id}&cfId={course.cf_id}"
    by_get = await front.ask("/api/subject-attendance" + query, token)
    page = json.loads(by_get.body)
    states = Counter(record["state"] for record in records)
    assert by_get.code == 200
    assert page["subject"] == "Any Name"
    assert (page["studentId"], page["cfId"]) == (student.id, course.cf_id)
    assert page["totalRecords"] == len(records)
    assert page["totalPresent"] == states["Present"]
    assert page["totalAbsent"] == states["Absent"]
    by_post = await front.ask(
        "/api/subject-attendance",
        method="POST",
        body={
            "subject": "Any Name",
            "studentId": str(student.id),
            "cfId": course.cf_id,
            "token": token,
        },
    )
    assert by_post.body == by_get.body


@pytest.mark.gen_test
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f"])
async def test_a_name_with_a_control_character_is_refused(front, token, character):
    """It is refused in a query as in a body, not replaced by a blank."""
    path, named = "/api/subject-attendance", {"subject": f"a{character}b"}
    named |= {"studentId": "5900001", "cfId": "7300001"}
    by_get = await front.ask(f"{path}?{urlencode(named)}", token)
    by_post = await front.ask(path, method="POST", body={**named, "token": token})
    assert (by_get.code, by_post.code) == (400, 400)
    assert json.loads(by_get.body)["error"] == json.loads(by_post.body)["error"]


@pytest.mark.gen_test
async def test_another_students_record_is_refused_before_any_call(
    front, token, student, platform
):
    """A token opens its own student's records only."""
    answer = await front.ask(subject_path(student.id + 1, 1), token)
    assert answer.code == 403
    assert json.loads(answer.body)["code"] == "forbidden"
    assert platform.counters.total == 0


@pytest.mark.gen_test
async def test_a_token_that_names_nobody_opens_its_own_students_records_only(
    front, college, student, platform
):
    """The course files say whose it is, and no record of another is asked for."""
    rows = college.course_files(student)
    body = json.dumps({"response": {"data": rows}})
    platform.faults.set("course_files", kind="body", body=body)
    path = subject_path(student.id + 1, rows[0]["id"])
    answer = await front.ask(path, "opaque")
    assert answer.code == 403
    assert platform.counters.calls == {"course_files": 1}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?subject=x&studentId=1",
        "?subject=x&studentId=1&cfId=abc",
        "?subject=x&studentId=-1&cfId=1",
        "?subject=x&studentId=1e3&cfId=1",
        "?subject=x&studentId=1&cfId=99999999999999999999",
        "?subject=%ff&studentId=1&cfId=1",
        "?subject=" + "x" * 600 + "&studentId=1&cfId=1",
    ],
)
async def test_a_subject_is_named_completely(front, token, platform, query):
    """Missing and malformed parameters are refused here."""
    answer = await front.ask("/api/subject-attendance" + query, token)
    assert answer.code == 400
    assert platform.counters.total == 0


@pytest.mark.gen_test
async def test_quiz_is_passed_on_unchanged(front, token, platform):
    """The quizzes are the platform's own bytes."""
    answer = await front.ask("/api/quiz", token)
    source = await AsyncHTTPClient().fetch(
        f"{platform.base_url}/custom/myEvaluatedQuizzes",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.code == 200
    assert answer.body == source.body
    assert len(json.loads(answer.body)["response"]["data"]) > 1


@pytest.mark.gen_test
@pytest.mark.parametrize("switch", ["percent_as_number", "ids_as_text", "cf_id"])
async def test_the_platforms_variants_are_read(front, token, student, platform, switch):
    """Numbers as text, text as numbers and unproven fields change no figure."""
    plain = json.loads((await front.ask("/api/attendance", token)).body)
    platform.switch(**{switch: True})
    varied = json.loads(
        (
            await front.ask(
                "/api/attendance", platform.college.token(student, serial=1)
            )
        ).body
    )
    assert varied == plain
