"""Pages that lack a part, or are made of old ones: what is given, kept and replaced."""

import asyncio
import json

import pytest

from ..waiting import eventually
from .kept import outcomes, pages_shared, refreshed
from .paths import subject_path

COURSES = ["/api/attendance", "/api/all-attendance"]


pytestmark = pytest.mark.settings(RATE_LIMIT_PER_MINUTE="100000")


@pytest.mark.gen_test
async def test_a_page_made_of_kept_subjects_is_as_old_as_they_are(
    front, token, platform, clock, college, student
):
    """Only what was missing is asked for, and what was had keeps its age."""
    clock.stop()
    course = college.courses(student)[0]
    platform.faults.set("cards", kind="html", match=f"cf_id={course.cf_id}")
    await front.ask("/api/all-attendance", token)
    platform.faults.clear()
    platform.counters.calls.clear()
    clock.advance(20)
    page = await front.ask("/api/all-attendance", token)
    assert platform.counters.calls["cards"] == 1
    assert page.headers["Age"] == "20"
    assert page.headers["Cache-Control"].startswith("private, max-age=280,")


@pytest.mark.gen_test
async def test_what_was_fetched_anew_is_kept_in_place_of_what_was_older(
    front, token, platform, clock, college, student
):
    """On a page that lacks a subject, too: the next one goes back for none."""
    clock.stop()
    subject, failing = college.courses(student)[:2]
    path = subject_path(student.id, subject.cf_id)
    assert (await front.ask(path, token)).code == 200
    clock.advance(100)
    platform.faults.set("cards", kind="html", match=f"cf_id={failing.cf_id}")
    no_cache = {"Cache-Control": "no-cache"}
    await front.ask("/api/all-attendance", token, headers=no_cache)
    platform.faults.clear()
    clock.advance(20)
    page = await front.ask("/api/all-attendance", token)
    assert (page.headers["X-Cache"], page.headers["Age"]) == ("MISS", "20")


@pytest.mark.gen_test
async def test_a_subject_that_has_just_failed_costs_no_page(
    front, token, platform, clock, college, student
):
    """A failure is remembered for a second, by which what comes in it is not kept; the
    page lacks the subject that fails now, and no other.
    """
    clock.stop()
    failed, failing = college.courses(student)[:2]
    platform.faults.set("cards", kind="html", match=f"cf_id={failed.cf_id}")
    path = subject_path(student.id, failed.cf_id)
    assert (await front.ask(path, token)).code == 502
    platform.faults.clear()
    platform.faults.set("cards", kind="html", match=f"cf_id={failing.cf_id}")
    answer = await front.ask("/api/all-attendance", token)
    assert answer.code == 200
    page = json.loads(answer.body)
    lacking = [page["subjects"][name]["cfId"] for name in page["incomplete"]]
    assert lacking == [failing.cf_id]


@pytest.mark.gen_test
async def test_the_last_subject_that_is_missing_may_be_refused(
    front, token, platform, clock, college, student
):
    """It is one of several, though it is the only one that was asked for."""
    clock.stop()
    course = college.courses(student)[0]
    of_it = f"cf_id={course.cf_id}"
    platform.faults.set("cards", kind="html", match=of_it)
    await front.ask("/api/all-attendance", token)
    platform.faults.set("cards", kind="status", status=403, match=of_it)
    clock.advance(20)
    page = await front.ask("/api/all-attendance", token)
    assert (page.code, len(json.loads(page.body)["incomplete"])) == (200, 1)
    assert outcomes([await front.ask("/api/all-attendance", token)]) == ["HIT"]


@pytest.mark.gen_test
async def test_the_last_subjects_that_are_missing_may_be_refused(
    front, token, platform, clock, college, student
):
    """Their refusal is no refusal of the token, since the course files were given."""
    clock.stop()
    some = str(college.courses(student)[-1].cf_id)[:-1]
    refusal = '{"msg":"Session expired"}'
    platform.faults.set(
        "cards", kind="body", status=403, body=refusal, match=f"cf_id={some}"
    )
    lacking = []
    for _ in range(2):
        page = await front.ask("/api/all-attendance", token)
        lacking.append(json.loads(page.body)["incomplete"])
        clock.advance(20)
        # Whether they are given a second time cannot be seen now.
        platform.faults.set("course_files", kind="html")
    assert lacking[0] == lacking[1]
    assert 1 < len(lacking[0]) < 15


@pytest.mark.gen_test
@pytest.mark.parametrize("kept", [True, False])
async def test_a_token_that_is_refused_for_what_is_missing_is_refused(
    front, token, platform, clock, college, student, kept
):
    """It is refused though its course files and other subjects are kept."""
    clock.stop()
    match = f"cf_id={college.courses(student)[0].cf_id}"
    if kept:
        platform.faults.set("cards", kind="html", match=match)
        assert (await front.ask("/api/all-attendance", token)).code == 200
        platform.faults.clear()
    else:
        assert (await front.ask("/api/attendance", token)).code == 200
        platform.faults.set("cards", kind="html", match=match)
    platform.revoke(token)
    clock.advance(20)
    assert (await front.ask("/api/all-attendance", token)).code == 401
    assert (await front.ask("/api/attendance", token)).code == 401


@pytest.mark.gen_test
async def test_an_incomplete_page_is_kept_fifteen_seconds(
    front, token, platform, clock, college, student
):
    """It is fresh for 15 s and then not served any more."""
    clock.stop()
    course = college.courses(student)[0]
    platform.faults.set("cards", kind="html", match=f"cf_id={course.cf_id}")
    first = await front.ask("/api/all-attendance", token)
    assert json.loads(first.body)["incomplete"]
    assert "stale-while-revalidate=0" in first.headers["Cache-Control"]
    clock.advance(14)
    assert outcomes([await front.ask("/api/all-attendance", token)]) == ["HIT"]
    platform.faults.clear()
    clock.advance(2)
    third = await front.ask("/api/all-attendance", token)
    assert outcomes([third]) == ["MISS"]
    assert json.loads(third.body)["incomplete"] == []


@pytest.mark.gen_test
async def test_an_incomplete_page_of_an_old_part_is_kept_fifteen_seconds(
    front, token, platform, clock, worker
):
    """While the platform is down, too, no request has all asked for anew."""
    clock.stop()
    await front.ask("/api/attendance", token)
    clock.advance(400)
    platform.faults.set(kind="html")
    platform.counters.calls.clear()
    first = await front.ask("/api/all-attendance", token)
    assert json.loads(first.body)["incomplete"]
    clock.advance(14)
    again = await front.ask("/api/all-attendance", token)
    assert outcomes([first, again]) == ["STALE", "STALE"]
    assert (again.body, again.headers["Age"]) == (first.body, "414")
    await refreshed(worker)
    assert platform.counters.calls == {"course_files": 1, "cards": 15}
    clock.advance(1)
    platform.faults.clear()
    assert outcomes([await front.ask("/api/all-attendance", token)]) == ["MISS"]


@pytest.mark.gen_test
async def test_a_whole_page_of_an_old_part_replaces_an_incomplete_one(
    front, token, platform, clock
):
    """It is shown from then on, though its course files are old and still fail."""
    clock.stop()
    await front.ask("/api/attendance", token)
    clock.advance(400)
    platform.faults.set(kind="html")
    first = await front.ask("/api/all-attendance", token)
    assert json.loads(first.body)["incomplete"]
    clock.advance(2)  # failures are remembered for a second
    platform.faults.clear()
    platform.faults.set("course_files", kind="html")
    no_cache = {"Cache-Control": "no-cache"}
    whole = await front.ask("/api/all-attendance", token, headers=no_cache)
    assert json.loads(whole.body)["incomplete"] == []
    again = await front.ask("/api/all-attendance", token)
    assert (again.body, outcomes([again])) == (whole.body, ["STALE"])


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [200, 403, 500, 503])
async def test_no_subject_had_leaves_the_totals(front, token, platform, clock, status):
    """With sound course files the student sees the summary, whatever else fails."""
    clock.stop()
    platform.faults.set("cards", kind="body", status=status, body="<html>")
    answer = await front.ask("/api/all-attendance", token)
    page = json.loads(answer.body)
    summary = json.loads((await front.ask("/api/attendance", token)).body)
    assert answer.code == 200
    assert page["incomplete"] == list(page["subjects"])
    present = sum(course["present"] for course in summary["dailyAttendance"])
    assert page["totalPresentAllSubjects"] == present == summary["totalPresent"] > 0
    assert "max-age=15" in answer.headers["Cache-Control"]


@pytest.mark.gen_test
async def test_no_subject_had_never_replaces_a_page_that_had_them(
    front, token, platform, clock
):
    """Sound course files and failing records: the kept page, told as old."""
    path = "/api/all-attendance"
    first = await front.ask(path, token)
    clock.advance(40)
    platform.faults.set("cards", kind="status", status=500)
    again = await front.ask(path, token, headers={"Cache-Control": "no-cache"})
    assert (again.code, again.headers["X-Cache"]) == (200, "STALE")
    assert again.body == first.body
    assert (await front.ask(path, token)).body == first.body


@pytest.mark.gen_test
async def test_no_subject_had_leaves_the_totals_when_the_kept_page_ends(
    front, token, platform, clock, worker
):
    """A refresh that failed for the sake of a page which has ended since is no 502."""
    clock.stop()
    path = "/api/all-attendance"
    await front.ask(path, token)
    clock.advance(2099.5)
    platform.faults.set("cards", kind="status", status=500)
    assert (await front.ask(path, token)).headers["X-Cache"] == "STALE"
    await refreshed(worker)
    clock.advance(0.6)
    page = await front.ask(path, token)
    assert page.code == 200
    told = json.loads(page.body)
    assert sorted(told["incomplete"]) == sorted(told["subjects"])


@pytest.mark.gen_test
async def test_a_page_of_an_old_part_is_stale(front, token, platform, clock, worker):
    """Course files that should have been newer: the Age is theirs, max-age is 0."""
    clock.stop()
    await front.ask("/api/attendance", token)
    clock.advance(400)
    platform.faults.set("course_files", kind="status", status=500)
    page = await front.ask("/api/all-attendance", token)
    assert (page.code, page.headers["X-Cache"]) == (200, "STALE")
    assert int(page.headers["Age"]) >= 400
    assert "max-age=0," in page.headers["Cache-Control"]
    assert json.loads(page.body)["incomplete"] == []
    platform.faults.clear()
    clock.advance(2)  # failures are remembered for a second
    await front.ask("/api/all-attendance", token)  # old; has it refreshed
    await refreshed(worker)
    assert platform.counters.calls["cards"] == 15
    again = await front.ask("/api/all-attendance", token)
    assert (again.headers["X-Cache"], again.headers["Age"]) == ("HIT", "2")


@pytest.mark.gen_test
async def test_newer_records_of_an_old_part_are_shown(
    front, token, platform, clock, worker
):
    """They replace an old page made of the same course files, once a minute: each page
    that is kept overwrites others' pages.
    """
    clock.stop()
    platform.faults.set("cards", kind="empty")
    first = await front.ask("/api/all-attendance", token)
    platform.faults.clear()
    clock.advance(400)
    platform.faults.set("course_files", kind="html")
    assert (await front.ask("/api/all-attendance", token)).body == first.body
    await refreshed(worker)
    again = await front.ask("/api/all-attendance", token)
    assert (again.headers["X-Cache"], again.headers["Age"]) == ("STALE", "400")
    assert json.loads(again.body)["incomplete"] == []
    clock.advance(2)  # failures are remembered for a second
    await front.ask("/api/all-attendance", token)
    await refreshed(worker)
    assert (await front.ask("/api/all-attendance", token)).body == again.body
    clock.advance(60)
    await front.ask("/api/all-attendance", token)
    await refreshed(worker)
    assert (await front.ask("/api/all-attendance", token)).body != again.body


@pytest.mark.gen_test
@pytest.mark.parametrize("path", COURSES)
async def test_records_are_not_asked_for_again_for_the_sake_of_course_files(
    front, token, platform, clock, worker, path
):
    """While only the course files fail, records are fetched once and then kept."""
    clock.stop()
    await front.ask(path, token)
    clock.advance(400)
    platform.faults.set("course_files", kind="html")
    platform.counters.calls.clear()
    for _ in range(3):
        page = await front.ask("/api/all-attendance", token)
        assert page.headers["X-Cache"] == "STALE"
        await refreshed(worker)
        clock.advance(2)  # failures are remembered for a second
    assert platform.counters.calls["cards"] == 15


@pytest.mark.gen_test
async def test_a_refresh_that_lacks_a_subject_leaves_the_whole_page(
    front, token, student, college, platform, clock, worker
):
    """STALE, with its Age, until the subject comes, which alone is asked for then."""
    whole = await front.ask("/api/all-attendance", token)
    clock.advance(400)
    course = college.courses(student)[3]
    match = f"cf_id={course.cf_id}"
    platform.faults.set("cards", kind="html", match=match)
    await front.ask("/api/all-attendance", token)  # old; has it refreshed
    await refreshed(worker)
    again = await front.ask("/api/all-attendance", token)
    assert (again.headers["X-Cache"], again.body) == ("STALE", whole.body)
    platform.faults.clear()
    calls = platform.counters.calls["cards"]
    clock.advance(2)  # failures are remembered for a second
    await front.ask("/api/all-attendance", token)
    await refreshed(worker)
    newer = await front.ask("/api/all-attendance", token)
    assert newer.headers["X-Cache"] == "HIT"
    assert json.loads(newer.body)["incomplete"] == []
    assert platform.counters.calls["cards"] == calls + 1


@pytest.mark.gen_test
@pytest.mark.parametrize("path", COURSES)
async def test_no_courses_are_kept_fifteen_seconds(front, token, platform, clock, path):
    """A new student's page is empty, and soon asked for again."""
    clock.stop()
    platform.faults.set("course_files", kind="empty")
    assert (await front.ask(path, token)).code == 200
    clock.advance(14)
    assert outcomes([await front.ask(path, token)]) == ["HIT"]
    clock.advance(2)
    platform.faults.clear()
    again = await front.ask(path, token)
    assert again.headers["X-Cache"] == "MISS"
    assert len(again.body) > 1000


# A page waits three seconds for a subject that hangs.
@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="3", GATHER_TIMEOUT_SECONDS="3")
@pytest.mark.gen_test
async def test_a_subject_is_as_old_as_its_records(
    front, token, platform, college, student, worker
):
    """Its age is not the page's, which has waited for another subject."""
    subject, failing = college.courses(student)[:2]
    platform.faults.set("cards", kind="hang", match=f"cf_id={failing.cf_id}")
    await front.ask("/api/all-attendance", token)
    await refreshed(worker)
    kept = await front.ask(subject_path(student.id, subject.cf_id), token)
    assert kept.headers["X-Cache"] == "HIT"
    assert int(kept.headers["Age"]) >= 2


# A page waits half a second for newer course files.
@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="1")
@pytest.mark.gen_test
async def test_course_files_that_come_late_are_those_of_the_page(
    front, token, platform, clock, worker
):
    """They come while the records are asked for, as on a platform that is slow in
    all it does; the page is as new as any other.
    """
    clock.stop()
    await front.ask("/api/all-attendance", token)
    await refreshed(worker)
    clock.advance(400)
    platform.hold("course_files")
    platform.hold("cards")
    await front.ask("/api/all-attendance", token)  # old; has it refreshed
    await platform.until(lambda seen: seen.now["cards"] == 15)
    platform.release("course_files")
    _, parts = worker.kept.flights
    await eventually(lambda: not len(parts))
    platform.release("cards")
    await refreshed(worker)
    page = await front.ask("/api/all-attendance", token)
    assert (page.headers["X-Cache"], page.headers["Age"]) == ("HIT", "0")
    assert json.loads(page.body)["incomplete"] == []


# A new answer may be had within the time that an incomplete one is kept.
@pytest.mark.settings(CACHE_REFRESH_FLOOR_SECONDS="1")
@pytest.mark.gen_test
@pytest.mark.parametrize("path", COURSES)
async def test_no_courses_may_be_asked_for_again(front, token, platform, clock, path):
    """An empty page takes the place of an empty one, and is as new as it is."""
    clock.stop()
    platform.faults.set("course_files", kind="empty")
    await front.ask(path, token)
    clock.advance(5)
    fresh = {"Cache-Control": "no-cache"}
    again = await front.ask(path, token, headers=fresh)
    assert (again.headers["X-Cache"], again.headers["Age"]) == ("MISS", "0")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", COURSES)
async def test_no_courses_never_replace_some(
    front, token, platform, clock, path, worker
):
    """The kept page stays, and is told as old."""
    tag = (await front.ask(path, token)).headers["ETag"]
    platform.faults.set("course_files", kind="empty")
    clock.advance(40)
    fresh = {"Cache-Control": "no-cache"}
    again = await front.ask(path, token, headers=fresh)
    assert (again.headers["X-Cache"], again.headers["ETag"]) == ("STALE", tag)
    clock.advance(300)
    await front.ask(path, token)
    await refreshed(worker)
    later = await front.ask(path, token)
    assert (later.headers["X-Cache"], later.headers["ETag"]) == ("STALE", tag)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [
        '{"msg":"","response":{"data":[]}}',
        '{"status":0,"msg":"Something went wrong"}',
        '{"responseStatus":"Failure","errors":["Invalid URL"]}',
    ],
)
async def test_an_answer_without_quizzes_never_replaces_some(
    front, token, platform, clock, worker, body
):
    """It is passed on to whoever has none; for others the kept ones go on as old."""
    kept = await front.ask("/api/quiz", token)
    platform.faults.set("quizzes", kind="body", body=body)
    clock.advance(400)
    await front.ask("/api/quiz", token)
    await refreshed(worker)
    later = await front.ask("/api/quiz", token)
    assert (later.headers["X-Cache"], later.body) == ("STALE", kept.body)


@pytest.mark.gen_test
async def test_no_quiz_is_kept_fifteen_seconds(front, token, platform, clock):
    """An empty list of quizzes is kept for 15 s only."""
    clock.stop()
    platform.faults.set("quizzes", kind="empty")
    first = await front.ask("/api/quiz", token)
    assert first.headers["Cache-Control"].startswith("private, max-age=15")
    platform.faults.clear()
    clock.advance(15)
    again = await front.ask("/api/quiz", token)
    assert (again.code, again.headers["X-Cache"]) == (200, "MISS")


@pytest.mark.gen_test
async def test_the_course_files_known_outlive_an_empty_answer(
    front, token, platform, college, student, clock
):
    """A subject is still the student's, though the platform names none."""
    await front.ask("/api/all-attendance", token)
    platform.faults.set("course_files", kind="empty")
    clock.advance(40)
    fresh = {"Cache-Control": "no-cache"}
    await front.ask("/api/all-attendance", token, headers=fresh)
    cf_id = college.courses(student)[0].cf_id
    assert (await front.ask(subject_path(student.id, cf_id), token)).code == 200


@pytest.mark.gen_test
async def test_what_was_begun_before_a_refusal_is_not_kept_after_it(
    front, token, platform, worker, college, student
):
    """An incomplete page is not kept, nor are the subjects that it has."""
    course = college.courses(student)[0]
    platform.faults.set("cards", kind="html", match=f"cf_id={course.cf_id}")
    platform.hold("cards")
    asked = asyncio.ensure_future(front.ask("/api/all-attendance", token))
    await eventually(lambda: platform.counters.calls["cards"])
    platform.faults.set("quizzes", kind="body", status=401, body="{}")
    assert (await front.ask("/api/quiz", token)).code == 401
    kept = pages_shared(worker)
    platform.release()
    assert (await asked).code == 200
    await refreshed(worker)
    assert pages_shared(worker) == kept
