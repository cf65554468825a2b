"""Kept answers as a frontend meets them: X-Cache, Age, ETag, gzip, and their end."""

import asyncio
import gzip
import json
import re

import pytest

from ..waiting import eventually
from .kept import PAGES, outcomes, refreshed, requests_under_way


@pytest.fixture(name="variables")
def _variables():
    return {"RATE_LIMIT_PER_MINUTE": "100000"}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_the_second_answer_comes_from_memory(front, token, platform, path, clock):
    """MISS, then HIT with a true Age and no further call."""
    clock.stop()
    first = await front.ask(path, token)
    calls = platform.counters.total
    clock.advance(100)
    second = await front.ask(path, token)
    assert outcomes([first, second]) == ["MISS", "HIT"]
    assert second.body == first.body
    assert (first.headers["Age"], second.headers["Age"]) == ("0", "100")
    assert platform.counters.total == calls


@pytest.mark.gen_test
async def test_cache_control_counts_down(front, token, clock):
    """Private, fresh for what is left of five minutes, then stale for thirty."""
    clock.stop()
    first = await front.ask("/api/quiz", token)
    clock.advance(200)
    second = await front.ask("/api/quiz", token)
    assert [answer.headers["Cache-Control"] for answer in (first, second)] == [
        "private, max-age=300, stale-while-revalidate=1800",
        "private, max-age=100, stale-while-revalidate=1800",
    ]
    assert first.headers["Vary"] == "Authorization, Origin, Accept-Encoding"


@pytest.mark.gen_test
async def test_three_hundred_at_once_cost_one_page(
    front, token, platform, college, student
):
    """One course-file call and one card call a subject, however many ask."""
    platform.hold("course_files")
    asked = [
        asyncio.ensure_future(front.ask("/api/all-attendance", token))
        for _ in range(300)
    ]
    await platform.until(lambda seen: seen.now["course_files"] == 1)
    platform.release()
    answers = await asyncio.gather(*asked)
    assert len({answer.body for answer in answers}) == 1
    assert set(outcomes(answers)) <= {"HIT", "MISS", "PENDING"}
    assert outcomes(answers).count("MISS") == 1
    assert platform.counters.calls == {
        "course_files": 1,
        "cards": len(college.courses(student)),
    }


@pytest.mark.gen_test
async def test_two_pages_share_the_course_files(front, token, platform):
    """Attendance and all-attendance together cost one course-file call."""
    await asyncio.gather(
        front.ask("/api/attendance", token), front.ask("/api/all-attendance", token)
    )
    assert platform.counters.calls["course_files"] == 1


@pytest.mark.gen_test
async def test_the_summary_is_as_old_as_the_course_files(
    front, token, platform, clock, worker
):
    """It is come by as they are, which another page may have asked for."""
    clock.stop()
    platform.hold("course_files")
    asked = asyncio.ensure_future(front.ask("/api/all-attendance", token))
    await platform.until(lambda seen: seen.now["course_files"] == 1)
    joined = asyncio.ensure_future(front.ask("/api/attendance", token))
    await eventually(lambda: requests_under_way(worker) == 2)
    platform.release()
    assert outcomes([await asked, await joined]) == ["MISS", "PENDING"]
    clock.advance(100)
    again = await front.ask("/api/attendance", token)
    assert (again.headers["X-Cache"], again.headers["Age"]) == ("HIT", "100")
    assert platform.counters.calls["course_files"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_an_old_answer_is_served_while_one_refresh_runs(
    front, token, platform, path, clock, worker
):
    """Past the TTL everybody gets the old answer at once; one refresh goes behind."""
    await front.ask(path, token)
    platform.counters.reset()
    clock.advance(400)
    platform.hold()
    answers = await asyncio.gather(*(front.ask(path, token) for _ in range(20)))
    assert set(outcomes(answers)) == {"STALE"}
    assert all(int(a.headers["Age"]) >= 400 for a in answers)
    assert "max-age=0," in answers[0].headers["Cache-Control"]
    await platform.until(lambda seen: seen.total > 0)
    await asyncio.sleep(0.05)
    platform.release()
    await refreshed(worker)
    calls = platform.counters.calls
    assert [calls[name] for name in calls if name != "cards"] == [1]
    assert outcomes([await front.ask(path, token)]) == ["HIT"]


FAULTS = [
    ("status", {"status": 500}),
    ("status", {"status": 502}),
    ("status", {"status": 503}),
    ("status", {"status": 504}),
    ("rate_limited", {"retry_after": "60"}),
    ("html", {}),
    ("broken_json", {}),
    ("bad_gzip", {}),
    ("bad_header", {}),
    ("reset", {}),
    ("close_before_answer", {}),
    ("hang", {}),
]


class TestIllPlatform:
    """Whatever is wrong, a hanging call too."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {"REQUEST_TIMEOUT_SECONDS": "1.5", "RATE_LIMIT_PER_MINUTE": "100000"}

    @pytest.mark.gen_test
    @pytest.mark.parametrize(("kind", "knobs"), FAULTS)
    async def test_a_failing_platform_leaves_the_old_answer_until_the_window_ends(
        self, front, token, platform, clock, kind, knobs
    ):
        """Whatever is wrong: 200, STALE, true Age; past the window the error."""
        await front.ask("/api/quiz", token)
        platform.faults.set(kind=kind, **knobs)
        clock.advance(301)
        for age in (301, 1001, 1701):
            answer = await front.ask("/api/quiz", token)
            assert (answer.code, answer.headers["X-Cache"]) == (200, "STALE")
            assert int(answer.headers["Age"]) == pytest.approx(age, abs=30)
            clock.advance(700)
        past = await front.ask("/api/quiz", token)
        assert past.code in (502, 503, 504)
        assert "X-Cache" not in past.headers


@pytest.mark.gen_test
async def test_a_revoked_token_gets_no_old_answer(
    front, token, platform, clock, worker
):
    """The platform's 401 in a refresh drops all that was kept for the student."""
    for path in PAGES:
        await front.ask(path, token)
    platform.revoke(token)
    clock.advance(400)
    await front.ask("/api/quiz", token)  # STALE, with the refresh that is refused
    await refreshed(worker)
    assert platform.counters.calls["quizzes"] == 2
    for path in PAGES:
        assert (await front.ask(path, token)).code == 401


@pytest.mark.gen_test
async def test_a_made_up_token_drops_nobodys_answers(
    front, token, platform, student, college
):
    """A forged token that names a student is refused and costs the student nothing."""
    await front.ask("/api/quiz", token)
    head, claims, _ = college.token(student, serial=7).split(".")
    forged = f"{head}.{claims}.AAAA"
    assert (await front.ask("/api/quiz", forged)).code == 401
    assert outcomes([await front.ask("/api/quiz", token)]) == ["HIT"]


@pytest.mark.gen_test
async def test_no_entry_outlives_its_token(front, student, college, clock, platform):
    """A kept answer ends with the token's own exp."""
    token = college.token(student, life=120, issued=int(clock.wall()))
    first = await front.ask("/api/quiz", token)
    (age,) = re.findall(r"max-age=([0-9]+)", first.headers["Cache-Control"])
    assert int(age) <= 120  # a browser keeps it no longer either
    clock.advance(100)
    assert outcomes([await front.ask("/api/quiz", token)]) == ["HIT"]
    clock.advance(21)
    platform.revoke(token)  # the platform's own clock stands still
    assert (await front.ask("/api/quiz", token)).code == 401


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
@pytest.mark.parametrize("path", PAGES)
async def test_no_cache_has_a_floor(front, token, platform, clock, path):
    """no-cache refreshes what is older than 30 s, and only that."""
    fresh = {"Cache-Control": "no-cache"}
    await front.ask(path, token)
    calls = platform.counters.total
    clock.advance(20)
    assert outcomes([await front.ask(path, token, headers=fresh)]) == ["HIT"]
    clock.advance(20)
    again = await front.ask(path, token, headers=fresh)
    assert outcomes([again]) == ["MISS"]
    assert again.headers["Age"] == "0"
    assert platform.counters.total == 2 * calls


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_a_refresh_that_fails_is_stale(front, token, platform, clock, path):
    """no-cache and a failing platform: the kept answer, told as old, and kept on."""
    fresh = {"Cache-Control": "no-cache"}
    first = await front.ask(path, token)
    clock.advance(40)
    platform.faults.set(kind="status", status=500)
    answer = await front.ask(path, token, headers=fresh)
    assert (answer.code, answer.headers["X-Cache"]) == (200, "STALE")
    assert answer.body == first.body
    assert int(answer.headers["Age"]) >= 40
    assert outcomes([await front.ask(path, token)]) == ["HIT"]


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [403, 500])
async def test_no_subject_had_leaves_the_totals(front, token, platform, status):
    """With sound course files the student sees the summary, whatever else fails."""
    platform.faults.set("cards", kind="status", status=status)
    answer = await front.ask("/api/all-attendance", token)
    page = json.loads(answer.body)
    summary = json.loads((await front.ask("/api/attendance", token)).body)
    assert answer.code == 200
    assert sorted(page["incomplete"]) == sorted(page["subjects"])
    present = sum(course["present"] for course in summary["dailyAttendance"])
    assert page["totalPresentAllSubjects"] == present > 0


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
    assert platform.counters.calls["cards"] == 30
    again = await front.ask("/api/all-attendance", token)
    assert (again.headers["X-Cache"], again.headers["Age"]) == ("HIT", "0")


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


COURSES = ["/api/attendance", "/api/all-attendance"]


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


class TestLowFloor:
    """Where a new answer may be had within the time that an incomplete one is kept."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {"CACHE_REFRESH_FLOOR_SECONDS": "1"}

    @pytest.mark.gen_test
    @pytest.mark.parametrize("path", COURSES)
    async def test_no_courses_may_be_asked_for_again(
        self, front, token, platform, clock, path
    ):
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
    path = f"/api/subject-attendance?studentId={student.id}&cfId={cf_id}&subject=A"
    assert (await front.ask(path, token)).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_a_refresh_that_changes_nothing_is_a_304(
    front, token, clock, path, platform
):
    """The tag leaves out when the page was made."""
    first = await front.ask(path, token)
    calls = platform.counters.total
    clock.advance(40)
    again = await front.ask(
        path,
        token,
        headers={"Cache-Control": "no-cache", "If-None-Match": first.headers["ETag"]},
    )
    assert (again.code, again.headers["X-Cache"]) == (304, "MISS")
    assert platform.counters.total > calls


@pytest.mark.gen_test
async def test_one_subjects_tag_leaves_its_time_out_too(
    front, token, clock, student, college
):
    """`fetchedAt` is no reason to send it again; another name is."""
    cf_id = college.courses(student)[0].cf_id
    path = f"/api/subject-attendance?studentId={student.id}&cfId={cf_id}&subject="
    first = await front.ask(f"{path}A", token)
    clock.advance(40)
    known = {"Cache-Control": "no-cache", "If-None-Match": first.headers["ETag"]}
    assert (await front.ask(f"{path}A", token, headers=known)).code == 304
    assert (await front.ask(f"{path}B", token, headers=known)).code == 200


@pytest.mark.gen_test
async def test_etags(front, token):
    """If-None-Match saves the body; each encoding has a tag of its own."""
    plain = await front.ask("/api/all-attendance", token)
    tag = plain.headers["ETag"]
    packed = await front.ask(
        "/api/all-attendance", token, headers={"Accept-Encoding": "gzip"}
    )
    again = await front.ask(
        "/api/all-attendance", token, headers={"If-None-Match": tag}
    )
    other = await front.ask(
        "/api/all-attendance", token, headers={"If-None-Match": 'W/"else"'}
    )
    assert tag.startswith('W/"')
    assert packed.headers["ETag"] != tag
    assert (again.code, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"].startswith("private")
    assert other.code == 200


@pytest.mark.gen_test
async def test_gzip(front, token):
    """The same JSON, packed, for those who take it."""
    plain = await front.ask("/api/all-attendance", token)
    packed = await front.ask(
        "/api/all-attendance", token, headers={"Accept-Encoding": "br, gzip"}
    )
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.gen_test
async def test_server_timing(front, token):
    """A missed answer tells the platform's share of its time."""
    missed = (await front.ask("/api/quiz", token)).headers["Server-Timing"]
    hit = (await front.ask("/api/quiz", token)).headers["Server-Timing"]
    assert re.match(r'cache;desc="MISS", upstream;dur=\d', missed)
    assert "upstream" not in hit


@pytest.mark.gen_test
async def test_failures_are_remembered_for_a_second(front, token, platform, clock):
    """A failing key is not hammered, and is tried again soon."""
    clock.stop()
    platform.faults.set("quizzes", kind="html")
    for _ in range(10):
        assert (await front.ask("/api/quiz", token)).code == 502
    assert platform.counters.calls["quizzes"] == 1
    platform.faults.clear()
    clock.advance(1.1)
    assert (await front.ask("/api/quiz", token)).code == 200


@pytest.mark.gen_test
async def test_the_first_askers_hangup_hurts_nobody(front, token, platform, base_url):
    """The others get the answer that the first one asked for."""
    platform.hold("quizzes")
    port = int(front.base_url.rpartition(":")[2])
    _, first = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /api/quiz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}"
    first.write(f"{request}\r\n\r\n".encode())
    await platform.until(lambda seen: seen.now["quizzes"] == 1)
    others = [asyncio.ensure_future(front.ask("/api/quiz", token)) for _ in range(5)]
    await asyncio.sleep(0.05)
    first.close()
    await asyncio.sleep(0.05)
    platform.release()
    answers = await asyncio.gather(*others)
    assert {answer.code for answer in answers} == {200}
    assert platform.counters.calls["quizzes"] == 1
