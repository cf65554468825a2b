"""Pages that are not at hand, by the fast path and by their handlers."""

import json
import time
from contextlib import ExitStack
from functools import partial
from math import inf

import pytest

from aims_server.upstream import CallerKey
from aims_server.upstream.resilience.bulkhead import BulkheadFull

from ..waiting import eventually
from .browser import SLOW_PATH, Browser
from .kept import held, refreshed, requests_under_way
from .paths import PAGES, subject_path
from .ways import WAYS

pytestmark = pytest.mark.both_loops

SOMEBODY = CallerKey.student(1)
STRANGER = CallerKey.address("127.0.0.1")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_both_ways_gather_alike(browser, token, path, ways, clock):
    """A page that is asked for anew, then one that is old: status, headers, the line in
    the log, what is left of the quota, and the counts.
    """
    told = []
    for way in ({}, SLOW_PATH):
        clock.advance(6000)  # nothing that is kept may be served any more
        for outcome, later in (("MISS", 0), ("MISS", 31), ("STALE", 301)):
            clock.advance(later)
            fresh = {"Cache-Control": "no-cache"} if outcome == "MISS" else {}
            each = await ways.told({**fresh, **way}, partial(browser.ask, path, token))
            assert each.headers["x-cache"] == each.line["cache"] == outcome
            assert ("upstreamSeconds" in each.line) == (outcome != "STALE")
            each.headers.pop("etag")  # some pages tell when they were made
            told.append(each._replace(body=b""))
    assert told[:3] == told[3:]


@pytest.mark.gen_test
async def test_both_ways_fail_alike(browser, token, platform, clock, ways):
    """A platform that is down, and a token that it refuses."""
    told = []
    for refusal in ("down", "refused"):
        clock.advance(2)  # past the memory of the last failure
        for way in ({}, SLOW_PATH):
            if refusal == "down":
                platform.faults.set("quizzes", kind="html")
            else:
                platform.faults.clear()
                platform.revoke(token)
            each = await ways.told(way, partial(browser.ask, "/api/quiz", token))
            told.append(each._replace(quota=""))
    assert [status for status, *_ in told] == [502, 502, 401, 401]
    assert told[0] == told[1]
    assert told[2] == told[3]


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", WAYS)
async def test_a_page_that_is_gathered_in_a_drain_closes(
    browser, token, platform, http_server, headers
):
    """Its connection closes, though the drain began after the request was read."""
    browser.send("/api/quiz", token, headers)
    await held(platform)
    http_server.disable_keep_alive()
    platform.release()
    answer = await browser.read()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await browser.reader.read() == b""


@pytest.mark.gen_test
async def test_a_page_counts_until_its_calls_have_their_slots(
    browser, token, platform, machine, worker
):
    """Its calls are reserved beside those of strangers until the student is known, then
    as that student's; and no longer once all are made, though they may hang.
    """
    platform.hold("course_files")
    platform.hold("cards")
    browser.send("/api/all-attendance", token)
    reserved = machine.slots.reserved
    await platform.until(lambda seen: seen.now["course_files"] == 1)
    assert reserved[False][0] > 0
    assert reserved[True][0] == 0
    taken: list[CallerKey] = []
    while worker.slots.try_acquire(somebody := CallerKey.student(str(len(taken)))):
        taken.append(somebody)
    platform.release("course_files")
    await eventually(lambda: reserved[True][0] > 0)
    assert reserved[False][0] == 0
    for somebody in taken:
        worker.slots.release(somebody, None)
    await eventually(lambda: reserved[True][0] == 0)
    platform.release("cards")
    assert (await browser.read()).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", WAYS)
async def test_who_leaves_has_the_page_gathered(
    browser, token, platform, http_port, worker, headers
):
    """The request is counted as answered, and whoever asks again has the page."""
    browser.send("/api/quiz", token, headers)
    await held(platform)
    browser.writer.transport.abort()
    platform.release()
    await eventually(lambda: requests_under_way(worker) == 0)
    later = await Browser.open(http_port)
    assert (await later.ask("/api/quiz", token)).headers["x-cache"] == "HIT"
    later.writer.close()


@pytest.mark.gen_test
async def test_what_arrives_behind_a_page_that_is_gathered_waits(
    browser, token, platform
):
    """Requests after a page under way wait for it, and so does the client's end."""
    browser.send("/api/quiz", token, {"X-Request-Id": "first"})
    await held(platform)
    browser.send("/health", token, {"X-Request-Id": "second"})
    browser.writer.write_eof()
    platform.release()
    told = [(await browser.read()).headers["x-request-id"] for _ in range(2)]
    assert told == ["first", "second"]
    assert await browser.reader.read() == b""


@pytest.mark.gen_test
async def test_no_time_out_ends_what_is_gathered(browser, token, platform, http_server):
    """The client has sent its request; the page takes as long as its deadline lets."""
    browser.send("/api/quiz", token)
    await held(platform)
    for connection in http_server._open:
        connection.close_if_timed_out(time.monotonic() + 1000)
    platform.release()
    assert (await browser.read()).status == 200


@pytest.mark.gen_test
async def test_one_students_many_courses_refuse_nobody(
    front, token, platform, student, college, worker
):
    """What a page is thought to take follows the last one's, within bounds: on a slow
    platform every other page would be refused, and so nothing else learnt.
    """
    rows = [{"id": cf_id, "student_id": student.id} for cf_id in range(1, 257)]
    body = json.dumps({"response": {"data": rows}})
    platform.faults.set("course_files", kind="body", body=body)
    page = await front.ask("/api/all-attendance", token)
    assert len(json.loads(page.body)["subjects"]) == 256
    platform.faults.clear()
    for _ in range(50):  # calls of a second
        assert worker.slots.try_acquire(SOMEBODY)
        worker.slots.release(SOMEBODY, 1.0)
    other = college.token(college.student(1))
    assert (await front.ask("/api/attendance", other)).code == 200
    assert (await front.ask("/api/all-attendance", other)).code == 200


def no_room(worker):
    """While this is entered there is none for a page's calls."""
    for _ in range(50):  # calls of a second
        assert worker.slots.try_acquire(SOMEBODY)
        worker.slots.release(SOMEBODY, 1.0)
    return worker.slots.reserve(SOMEBODY, 1000, inf)


@pytest.mark.gen_test
async def test_a_page_is_thought_to_take_what_the_last_one_did(
    front, token, platform, student, college, worker
):
    """Here three calls: on a slow platform there is room for these where there would
    be none for 16.
    """
    rows = [{"id": cf_id, "student_id": student.id} for cf_id in (1, 2)]
    body = json.dumps({"response": {"data": rows}})
    platform.faults.set("course_files", kind="body", body=body)
    await front.ask("/api/all-attendance", token)
    platform.faults.clear()
    for _ in range(50):  # calls of a second
        assert worker.slots.try_acquire(SOMEBODY)
        worker.slots.release(SOMEBODY, 1.0)

    def has_room(number):
        try:
            worker.slots.reserve(STRANGER, number, seconds=7).end()
        except BulkheadFull:
            return False
        return True

    other = college.token(college.student(1))
    with ExitStack() as others:
        while has_room(16):
            others.enter_context(worker.slots.reserve(SOMEBODY, 1, inf))
        assert has_room(3)
        answer = await front.ask("/api/all-attendance", other)
    assert answer.code == 200


@pytest.mark.gen_test
async def test_no_room_for_a_page_leaves_the_totals(front, token, platform, worker):
    """The course files at hand give the totals, and no further call is made."""
    attendance = json.loads((await front.ask("/api/attendance", token)).body)
    with no_room(worker):
        answer = await front.ask("/api/all-attendance", token)
    assert answer.code == 200
    page = json.loads(answer.body)
    assert page["totalPresentAllSubjects"] == attendance["totalPresent"]
    assert page["incomplete"] == list(page["subjects"])
    assert platform.counters.calls["cards"] == 0


@pytest.mark.gen_test
async def test_no_room_for_a_page_leaves_the_subjects_that_are_kept(
    front, token, platform, worker, clock, college, student
):
    """An incomplete page's subjects are shown, with their true age."""
    clock.stop()
    course = college.courses(student)[0]
    platform.faults.set("cards", kind="html", match=f"cf_id={course.cf_id}")
    first = json.loads((await front.ask("/api/all-attendance", token)).body)
    await refreshed(worker)  # and the subjects kept
    asked = platform.counters.calls["cards"]
    clock.advance(20)
    with no_room(worker):
        answer = await front.ask("/api/all-attendance", token)
    page = json.loads(answer.body)
    assert page["subjects"] == first["subjects"]
    assert page["incomplete"] == first["incomplete"]
    assert len(page["incomplete"]) == 1
    assert answer.headers["Age"] == "20"
    assert platform.counters.calls["cards"] == asked


@pytest.fixture(name="subject_path")
def _subject_path(college, student):
    return subject_path(student.id, college.courses(student)[0].cf_id)


@pytest.mark.gen_test
async def test_one_subject_needs_room_for_one_call(front, token, worker, subject_path):
    """Its course files are kept, and a slot is free."""
    await front.ask("/api/attendance", token)
    with no_room(worker):
        answer = await front.ask(subject_path, token)
    assert answer.code == 200


@pytest.mark.gen_test
async def test_one_subject_without_course_files_needs_room_for_two_calls(
    front, token, platform, worker, subject_path
):
    """It is refused before the first of them, else it would wait for the second one
    until its deadline, and bystanders beside it.
    """
    with no_room(worker):
        answer = await front.ask(subject_path, token)
    assert answer.code == 503
    assert platform.counters.total == 0
