"""Pages by the fast path, at hand or not: its answers are those of the handlers."""

import asyncio
import json
import re
from functools import partial

import pytest

from aims_server.handlers.fast_path import _Pending as Pending

from .browser import SLOW_PATH, without_time
from .paths import PAGES
from .ways import WAYS

pytestmark = pytest.mark.both_loops


def forms(etag):
    """Headers that change an answer, each by itself."""
    return [
        {},
        {"Accept-Encoding": "gzip, deflate, br"},
        {"Accept-Encoding": "identity"},
        {"Accept-Encoding": "gzip;q=0"},
        {"If-None-Match": etag},
        {"If-None-Match": "*"},
        {"If-None-Match": 'W/"of another time"'},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example"},
        {"X-Request-Id": "mine.1"},
        {"X-Request-Id": "not mine"},
        {"Cache-Control": "no-cache"},
        {"Connection": "keep-alive"},
    ]


@pytest.mark.gen_test
async def test_a_kept_page_is_given_at_once(browser, token, worker, monkeypatch):
    """Without a task or a turn of the loop, which would cost three times as much."""
    given = []
    answer = worker.fast_path.answer

    def watched(request, peer, *, params):
        given.append(answer(request, peer, params=params))
        return given[-1]

    monkeypatch.setattr(worker.fast_path, "answer", watched)
    for _ in range(2):
        await browser.ask("/api/quiz", token)
    assert [isinstance(each, Pending) for each in given] == [True, False]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", PAGES)
async def test_both_ways_say_the_same(browser, token, path, taken):
    """Status, headers and body are a handler's, whatever form is asked for."""
    first = await browser.ask(path, token)
    assert first.headers["x-cache"] == "MISS"
    for form in forms(first.headers["etag"]):
        before = len(taken)
        short = await browser.ask(path, token, form)
        assert len(taken) == before + 1, form
        long = await browser.ask(path, token, {**form, **SLOW_PATH})
        assert len(taken) == before + 1
        assert short.lasting == long.lasting, form
        assert short.headers.keys() == long.headers.keys()
        assert short.headers["x-cache"] == "HIT"


@pytest.mark.gen_test
async def test_both_ways_say_the_same_to_a_post(browser, token, taken):
    """The token in the body: the same page, and no 304."""
    body = json.dumps({"token": token})
    first = await browser.post(body)
    assert first.headers["x-cache"] == "MISS"
    for form in forms(first.headers["etag"]):
        before = len(taken)
        short = await browser.post(body, form)
        assert len(taken) == before + 1, form
        long = await browser.post(body, {**form, **SLOW_PATH})
        assert len(taken) == before + 1
        assert short.lasting == long.lasting, form
        assert (short.status, short.headers["x-cache"]) == (200, "HIT")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{", {}, 400),
        ("[]", {}, 400),
        ('{"token": 1}', {}, 400),
        ('{"token": "a b"}', {}, 400),
        ('{"token": "TOKEN"}', {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_both_ways_refuse_a_faulty_post(
    browser, token, taken, body, headers, status
):
    """In the same words; the page at hand does not go out."""
    await browser.post(json.dumps({"token": token}))
    taken.clear()
    told = []
    for way in ({}, SLOW_PATH):
        named = {**headers, **way, "X-Request-Id": "r"}
        answer = await browser.post(body.replace("TOKEN", token), named)
        assert answer.status == status
        told.append((answer.lasting[1], without_time(answer.body)))
    assert told[0] == told[1]
    assert len(taken) == 1


@pytest.mark.gen_test
async def test_both_ways_refuse_a_page_of_another_student(
    browser, worker, platform, college, student
):
    """A page kept for an opaque token is a 502 once the token names another student."""
    rows = json.dumps({"response": {"data": college.course_files(student)}})
    platform.faults.set("course_files", kind="body", body=rows)
    assert (await browser.ask("/api/attendance", "opaque")).status == 200
    worker.sessions._sessions.clear()
    worker.sessions.read("opaque").confirm(student_id=student.id + 1)
    for way in ({}, SLOW_PATH):
        answer = await browser.ask("/api/attendance", "opaque", way)
        assert (answer.status, json.loads(answer.body)["code"]) == (
            502,
            "upstream_error",
        )


@pytest.mark.gen_test
async def test_a_compressed_post_is_left_to_its_handler(browser, token, taken):
    """The fast path leaves it to its handler, which never unpacks it."""
    body = json.dumps({"token": token})
    assert (await browser.post(body, {"Content-Encoding": "gzip"})).status == 415
    assert taken == []


@pytest.mark.gen_test
async def test_both_ways_tell_the_same(browser, token, ways, worker):
    """The line in the log, the counts, and the quota, which is one less each time."""
    ask = partial(browser.ask, "/api/quiz", token)
    await ask()
    told = [await ways.told(way, ask) for way in ({}, {}, SLOW_PATH, {})]
    left = [each.quota for each in told]
    assert left == [f'"student";r={number}' for number in (98, 97, 96, 95)]
    assert {each.line["requestId"] for each in told} == {"r"}
    first, *others = (each._replace(quota="") for each in told)
    assert others == [first] * 3
    assert json.loads(worker.metrics.summary())["cache"]["hit"] == 4


@pytest.mark.settings(TRUSTED_PROXIES="127.0.0.1")
@pytest.mark.gen_test
async def test_both_ways_believe_whom_it_names(browser, token, access_lines):
    """A page's first request, one for the kept page, and one of a handler."""
    named = {"X-Forwarded-For": "203.0.113.7"}
    for headers in (named, named, {**named, **SLOW_PATH}):
        await browser.ask("/api/quiz", token, headers)
    addresses = [line["address"] for line in access_lines.told()]
    assert addresses == ["203.0.113.7"] * 3


@pytest.mark.gen_test
async def test_a_post_is_counted_as_one(browser, token, worker):
    """A POST is counted under its own method."""
    for _ in range(3):
        await browser.post(json.dumps({"token": token}))
    series = 'aims_requests_total{method="POST",route="attendance",status="200"} 3.0'
    assert series in worker.metrics.exposition().decode()


@pytest.mark.gen_test
async def test_what_is_no_page_goes_the_usual_way(browser, token, taken):
    """Other paths, and pages in another form, are left to their handlers."""
    assert (await browser.ask("/api/nothing", token)).status == 404
    assert (await browser.ask("/docs", token)).status == 200
    calendar = {"Accept": "text/calendar"}
    assert (await browser.ask("/api/timetable", token, calendar)).status == 200
    assert taken == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", [*PAGES, "/health", "/health/live", "/health/ready"])
async def test_refusals_and_health_are_a_handlers(
    browser, path, taken, worker, access_lines
):
    """Answers, log lines and counts equal a handler's, also in a drain."""
    for draining in (False, True):
        worker.lifecycle.draining = draining
        told = []
        for headers in ({}, SLOW_PATH):
            access_lines.forget()
            answer = await browser.ask(
                path, "no token", {**headers, "X-Request-Id": "r"}
            )
            lines = access_lines.told()
            for line in lines:
                del line["time"], line["seconds"]
            body = without_time(answer.body)
            told.append((*answer.lasting[:2], body, lines))
        for _, headers, _, _ in told:
            headers.pop("content-length")  # of uptimeSeconds
        assert told[0] == told[1]
    assert len(taken) == 2
    counted = re.findall(
        r'aims_requests_total{method="GET",route="([\w-]+)",status="\d+"} (\d+)',
        worker.metrics.exposition().decode(),
    )
    route = "health" if "health" in path else path.removeprefix("/api/")
    assert sum(int(number) for each, number in counted if each == route) == 4


@pytest.mark.gen_test
async def test_in_a_drain_the_fast_path_closes_too(browser, token, http_server, taken):
    """The next kept page is the connection's last answer."""
    await browser.ask("/api/quiz", token)
    http_server.disable_keep_alive()
    answer = await browser.ask("/api/quiz", token)
    assert answer.headers["connection"] == "close"
    assert await browser.reader.read() == b""
    assert len(taken) == 2


@pytest.mark.gen_test
async def test_pipelined_requests_keep_their_order(browser, token):
    """A kept page requested behind one that is not kept waits for it."""
    await browser.ask("/api/quiz", token)
    paths = ["/api/quiz", "/api/all-attendance", "/api/quiz", "/health", "/api/quiz"]
    for number, path in enumerate(paths):
        browser.send(path, token, {"X-Request-Id": f"n{number}"})
        await asyncio.sleep(0.001 * number)
    told = [(await browser.read()).headers["x-request-id"] for _ in paths]
    assert told == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", WAYS)
async def test_who_sends_no_more_is_answered(browser, token, headers):
    """A client may shut its side behind its request."""
    whole = await browser.ask("/api/quiz", token)
    browser.send("/api/quiz", token, headers)
    browser.writer.write_eof()
    assert (await browser.read()).body == whole.body
    assert await browser.reader.read() == b""


@pytest.mark.settings(RATE_LIMIT_PER_MINUTE="10000")
@pytest.mark.gen_test
async def test_the_fast_path_does_not_pile_up_answers(browser, token, taken):
    """A client that reads too slowly is left to Tornado, which waits for it."""
    await browser.ask("/api/all-attendance", token)
    browser.writer.transport.pause_reading()
    for _ in range(400):  # 25 MB, several times what the sockets hold
        browser.send("/api/all-attendance", token)
        await asyncio.sleep(0.001)
    assert 10 < len(taken) < 300
    browser.writer.transport.resume_reading()
    for _ in range(400):
        assert (await browser.read()).status == 200


@pytest.mark.settings(RATE_LIMIT_PER_MINUTE="10000")
@pytest.mark.gen_test
async def test_a_request_may_be_split_anywhere(browser, token):
    """Between any two of its bytes, on one connection: always the same answer."""
    whole = await browser.ask("/api/quiz", token)
    lines = ("GET /api/quiz HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    request = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    for at in range(1, len(request)):
        browser.writer.write(request[:at])
        await asyncio.sleep(0.0005)
        browser.writer.write(request[at:])
        answer = await browser.read()
        assert (answer.status, answer.body) == (200, whole.body), at


@pytest.mark.settings(RATE_LIMIT_PER_MINUTE="5", RATE_LIMIT_PER_ADDRESS_PER_MINUTE="20")
@pytest.mark.gen_test
async def test_a_refusal_is_counted_once(browser, token, college, worker):
    """A refusal counts once, and not against the address, which others share."""
    answers = [await browser.ask("/api/quiz", token) for _ in range(20)]
    statuses = [answer.status for answer in answers]
    assert answers[-1].headers["ratelimit"].startswith('"student";r=0;t=')
    assert int(answers[-1].headers["retry-after"]) >= 1
    counted = 'aims_limited_requests_total{kind="student"} 15.0'
    assert counted in worker.metrics.exposition().decode()
    assert statuses == [200] * 5 + [429] * 15
    other = college.token(college.student(1))
    assert (await browser.ask("/api/quiz", other)).status == 200
