"""Kept answers as a frontend meets them: X-Cache, Age, ETag, gzip, and their end."""

import asyncio
import gzip
import re

import pytest

from ..waiting import eventually
from .kept import outcomes, refreshed, requests_under_way
from .paths import PAGES, subject_path

pytestmark = pytest.mark.settings(RATE_LIMIT_PER_MINUTE="100000")


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
    page = 1 + len(college.courses(student))
    # Once: twice would be double. On a busy machine a call is late and gets a hedge.
    assert page <= platform.counters.total < 2 * page


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


@pytest.mark.settings(REQUEST_TIMEOUT_SECONDS="3", RATE_LIMIT_PER_MINUTE="100000")
class TestIllPlatform:
    """Whatever is wrong, a hanging call too."""

    @pytest.mark.gen_test
    @pytest.mark.parametrize(("kind", "knobs"), FAULTS)
    async def test_a_failing_platform_leaves_the_old_answer_until_the_window_ends(
        self, front, token, platform, clock, access_lines, kind, knobs
    ):
        """Whatever is wrong: 200, STALE, true Age; past the window the error. A refresh
        that fails so is no fault of ours.
        """
        while (await front.ask("/api/quiz", token)).code != 200:
            pass  # a busy machine may take longer than its deadline
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
        assert "error" not in {line["level"] for line in access_lines.told()}


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
@pytest.mark.parametrize("path", PAGES)
async def test_no_cache_has_a_floor(front, token, platform, clock, path):
    """no-cache refreshes what is older than 30 s, and only that."""
    clock.stop()
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


@pytest.mark.settings(CACHE_REFRESH_FLOOR_SECONDS="0")
class TestNoFloor:
    """No kept answer is too young to be refreshed."""

    @pytest.mark.gen_test
    async def test_what_is_made_meanwhile_is_fresh(
        self, front, token, platform, worker
    ):
        """Several askers share what is made after they came, in place of a call each in
        turn.
        """
        platform.hold("quizzes")
        fresh = {"Cache-Control": "no-cache"}
        askers = [
            asyncio.ensure_future(front.ask("/api/quiz", token, headers=fresh))
            for _ in range(4)
        ]
        await eventually(lambda: requests_under_way(worker) == 4)
        platform.release()
        seen = sorted(outcomes(await asyncio.gather(*askers)))
        assert seen == ["MISS", "PENDING", "PENDING", "PENDING"]
        assert platform.counters.calls["quizzes"] == 1


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
    path = subject_path(student.id, cf_id, "A")
    first = await front.ask(path, token)
    clock.advance(40)
    known = {"Cache-Control": "no-cache", "If-None-Match": first.headers["ETag"]}
    assert (await front.ask(path, token, headers=known)).code == 304
    other = subject_path(student.id, cf_id, "B")
    assert (await front.ask(other, token, headers=known)).code == 200


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
    calls, before = platform.counters.calls, -1
    while before != calls["quizzes"]:  # a busy machine may take a second for one more
        before = calls["quizzes"]
        assert (await front.ask("/api/quiz", token)).code == 502
    platform.faults.clear()
    clock.advance(1.1)
    assert (await front.ask("/api/quiz", token)).code == 200


@pytest.mark.gen_test
async def test_the_first_askers_hangup_hurts_nobody(front, token, platform, worker):
    """The others get the answer that the first one asked for."""
    platform.hold("quizzes")
    port = int(front.base_url.rpartition(":")[2])
    _, first = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /api/quiz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}"
    first.write(f"{request}\r\n\r\n".encode())
    await platform.until(lambda seen: seen.now["quizzes"] == 1)
    others = [asyncio.ensure_future(front.ask("/api/quiz", token)) for _ in range(5)]
    await eventually(lambda: requests_under_way(worker) == 6)
    first.close()
    await asyncio.sleep(0.05)
    platform.release()
    answers = await asyncio.gather(*others)
    assert {answer.code for answer in answers} == {200}
    assert platform.counters.calls["quizzes"] == 1
