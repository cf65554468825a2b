"""A login by the fast path and by its handler: both judge, count and log alike."""

import asyncio
import json
import re
import socket
import struct
import time
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..waiting import eventually
from .browser import SLOW_PATH, Browser, without_time
from .test_login import REFUSALS, credentials

pytestmark = pytest.mark.both_loops

PATH = "/api/login"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WAYS = [pytest.param({}, id="fast"), pytest.param(SLOW_PATH, id="handler")]
# What differs from one login to the next, whichever way it is answered.
OF_THE_MOMENT = ("date", "server-timing", "ratelimit", "content-length")


@pytest.fixture(name="body")
def _body(student):
    return json.dumps(credentials(student))


@pytest.fixture(name="variables")
def _variables():
    return {
        "LOGIN_LIMIT_PER_MINUTE": "1000",
        "LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE": "1000",
        "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "10000",
    }


def told_of(lines):
    """What the log tells of requests."""
    told = map(json.loads, lines.getvalue().splitlines())
    return [line for line in told if "route" in line]


class Ways:
    """Asks by either way, and reads all that is told of it."""

    def __init__(self, browser, taken, worker, access_lines):
        self.browser = browser
        self._taken = taken
        self._worker = worker
        self._lines = access_lines

    def _requests(self):
        return json.loads(self._worker.metrics.summary())["requests"]

    async def told(self, body, headers=None):
        """The same twice; what came of it by the fast path, then by the handler."""
        both = []
        for number, way in enumerate(({}, SLOW_PATH)):
            self._taken.clear()
            self._lines.seek(self._lines.truncate(0))
            before = self._requests()
            answer = await self.browser.post(
                body, {"X-Request-Id": "r", **(headers or {}), **way}, PATH
            )
            assert len(self._taken) == 1 - number
            after = self._requests()
            assert after["total"] - before["total"] == 1
            assert after["inProgress"] == 0
            (line,) = told_of(self._lines)
            assert line.pop("seconds") >= line.pop("upstreamSeconds", 0) >= 0
            del line["time"]
            told = dict(answer.headers)
            timing = re.sub(r"[\d.]+", "", told["server-timing"])
            quota = told.get("ratelimit", "").partition(";t=")[0]
            for name in OF_THE_MOMENT:
                told.pop(name, None)
            text = re.sub(rb'"token":\s*"[^"]*"', b"", without_time(answer.body))
            both.append((answer.status, told, timing, quota, text, line))
        return both

    async def alike(self, body, headers=None):
        """What both ways tell alike: the status, and the line in the log."""
        (*short, _, text, line), (*long, _, other_text, other_line) = await self.told(
            body, headers
        )
        assert short == long
        assert text == other_text
        assert line == other_line
        return short[0], line


@pytest.fixture(name="ways")
def _ways(browser, taken, worker, access_lines):
    return Ways(browser, taken, worker, access_lines)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example"},
        {"X-Request-Id": "mine.1"},
        {"Connection": "keep-alive"},
        {"Content-Type": "text/json; charset=utf-8"},
        {"Content-Type": ""},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Authorization": "Bearer x", "Accept": "text/calendar"},
    ],
)
async def test_a_login_is_told_alike(ways, body, headers):
    """Whatever comes along with it."""
    status, line = await ways.alike(body, headers)
    assert (status, line["route"]) == (200, "login")


@pytest.mark.gen_test
async def test_a_form_is_told_alike(ways, student):
    """It is as simple as JSON."""
    assert (await ways.alike(urlencode(credentials(student)), FORM))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(("said", "fields", "status", "code"), REFUSALS)
async def test_a_refusal_is_told_alike(
    ways, student, platform, said, fields, status, code
):
    """With the platform's own fields."""
    platform.switch(
        wrong_password_status=said, wrong_password_body=json.dumps({**fields, "x": 1})
    )
    body = json.dumps({**credentials(student), "password": "wrong"})
    answered, line = await ways.alike(body)
    assert (answered, line["code"]) == (status, code)


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [418, 419, 440, 451, 460, 499])
async def test_a_status_of_the_platforms_own_is_told_alike(
    ways, platform, body, status
):
    """Whether it has a name or not."""
    platform.faults.set("authenticate", kind="body", status=status, body='{"msg":"No"}')
    assert (await ways.alike(body))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "html"}, 502),
        ({"kind": "status", "status": 503}, 503),
        ({"kind": "reset"}, 502),
        ({"kind": "no_token"}, 401),
        ({"kind": "rate_limited", "retry_after": "60"}, 429),
    ],
)
async def test_an_ill_platform_is_told_alike(
    ways, platform, clock, body, fault, status
):
    """What goes wrong is the same, and asked for once by each."""
    platform.faults.set("authenticate", **fault)
    clock.stop()  # no pause that it asks for becomes shorter
    assert (await ways.alike(body))[0] == status


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/JSON;charset=x",
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=utf-8",
        ";",
        "\tapplication/json",
    ],
)
async def test_an_odd_content_type_is_told_alike(ways, body, content_type):
    """JSON by another name is read or refused by both."""
    status, _ = await ways.alike(body, {"Content-Type": content_type})
    assert status in (200, 400, 415)


texts = st.text(max_size=8) | st.sampled_from(["\x00", "\ud800", " ", "\u00a0x", "x\n"])
values = st.none() | st.booleans() | st.integers() | st.floats() | texts
pairs = st.lists(
    st.tuples(
        st.sampled_from(["username", "password", "x"]), values | st.lists(values)
    ),
    max_size=3,
)
bodies = st.one_of(
    st.binary(max_size=40),
    pairs.map(lambda each: json.dumps(dict(each)).encode()),
    pairs.map(lambda each: json.dumps(each).encode()),
    st.tuples(pairs, st.integers(0, 60), st.binary(max_size=2)).map(
        lambda cut: (whole := json.dumps(dict(cut[0])).encode())[: cut[1]]
        + cut[2]
        + whole[cut[1] :]
    ),
    st.lists(st.sampled_from([b"username=", b"password=p", b"&", b"%", b"%ff", b"+"]))
    .map(b"".join),
)  # fmt: skip


def test_odd_bodies_are_told_alike(io_loop, ways, platform):
    """None fails, and what cannot be a login never reaches the platform."""
    fault = {"kind": "body", "status": 401, "body": "{}"}
    platform.faults.set("authenticate", **fault)

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(body=bodies, form=st.booleans())
    def check(body, form):
        asked = platform.counters.calls["authenticate"]
        status, _ = io_loop.run_sync(lambda: ways.alike(body, FORM if form else None))
        asked = platform.counters.calls["authenticate"] - asked
        assert (status, asked) in ((400, 0), (401, 2))

    check()


@pytest.mark.gen_test
async def test_a_login_uses_up_the_same(ways, body, student):
    """One of its account's, by either way; a faulty one none of it."""
    left = []
    for sent in (body, "{", body):
        for _, _, _, quota, _, _ in await ways.told(sent):
            left.append(quota)
    assert [each.partition(";")[0] for each in left[2:4]] == ['"address"'] * 2
    kept = [int(each.partition("r=")[2]) for each in (*left[:2], *left[4:])]
    assert kept == [999, 998, 997, 996]


class TestLimits:
    """Who logs in too often, or in vain."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {
            "LOGIN_LIMIT_PER_MINUTE": "2",
            "LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE": "4",
            "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "10",
        }

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_each_limit_refuses_in_its_turn(
        self, browser, student, college, way, worker
    ):
        """The account's, that of refused logins, the address's; successes are none."""
        told = []

        async def log_in(number, password=None):
            sent = credentials(college.student(number))
            body = json.dumps({**sent, **({"password": password} if password else {})})
            answer = await browser.post(body, way, PATH)
            kind = answer.headers["ratelimit"].split('"')[1]
            told.append((answer.status, kind))
            assert ("retry-after" in answer.headers) == (answer.status == 429)

        for _ in range(3):
            await log_in(0)
        for number in range(1, 6):
            await log_in(number, "wrong")
        for _ in range(3):
            await log_in(6)
        assert told == [
            *[(200, "login")] * 2,
            (429, "login"),
            *[(401, "login")] * 4,
            (429, "login-failures"),
            (429, "login-failures"),
            (429, "login-failures"),
            (429, "address"),
        ]
        exposed = worker.metrics.exposition().decode()
        counted = dict(
            re.findall(r'limited_requests_total{kind="(.*?)"} (\d+)', exposed)
        )
        assert (counted["login"], counted["login-failures"]) == ("1", "3")
        assert counted["address"] == "1"


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [8_000, 8_192, 8_193, 65_536, 65_537])
async def test_a_body_may_be_as_large_by_either_way(browser, body, size):
    """A small one is taken by the fast path, a larger one by the handler."""
    answers = [
        await browser.post(body.ljust(size), way, PATH) for way in ({}, SLOW_PATH)
    ]
    assert {answer.status for answer in answers} == {200 if size <= 65_536 else 413}


@pytest.mark.gen_test
async def test_other_forms_are_left_to_the_handler(browser, body, taken):
    """Another method, and what is not simple."""
    browser.send(PATH, "x")
    assert (await browser.read()).status == 405
    packed = {"Content-Encoding": "gzip"}
    assert (await browser.post(body, packed, PATH)).status == 415
    browser.writer.write(
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body.encode())
    )
    assert (await browser.read()).status == 200
    assert taken == []


@pytest.mark.gen_test
async def test_a_login_may_be_cut_anywhere(browser, body, platform):
    """It is made once, whatever the segments."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = (head + body).encode()
    cuts = [*range(1, len(whole), 7), len(head) - 1, len(head), len(head) + 1]
    for at in cuts:
        for piece in (whole[:at], whole[at : at + 1], whole[at + 1 :]):
            browser.writer.write(piece)
            await asyncio.sleep(0.001)
        assert (await browser.read()).status == 200, at
    assert platform.counters.calls["authenticate"] == len(cuts)


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_what_arrives_behind_a_login_waits(browser, body, token, platform, way):
    """A page, another login and the end of what the client sends: in their order."""
    browser.send_post(body, {**way, "X-Request-Id": "n0"}, PATH)
    browser.send("/api/quiz", token, {"X-Request-Id": "n1"})
    browser.send_post(body, {"X-Request-Id": "n2"}, PATH)
    browser.send("/health", token, {"X-Request-Id": "n3"})
    told = [await browser.read() for _ in range(4)]
    assert [answer.headers["x-request-id"] for answer in told] == [
        "n0",
        "n1",
        "n2",
        "n3",
    ]
    assert {answer.status for answer in told} == {200}
    assert platform.counters.calls["authenticate"] == 2


@pytest.fixture(name="on_its_way")
def _on_its_way(browser, body, platform):
    """Send a login, and wait until the platform has it."""

    async def send(way):
        platform.hold()
        browser.send_post(body, {**way, "X-Request-Id": "r"}, PATH)
        await eventually(lambda: platform.counters.total == 1)

    return send


def in_progress(worker):
    """Requests that are being answered."""
    return json.loads(worker.metrics.summary())["requests"]["inProgress"]


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_is_not_waited_for(
    browser, on_its_way, way, platform, worker, http_port, body, access_lines
):
    """One line with nginx's status, while the platform still has the login; the slot is
    free when it has answered, and others notice nothing.
    """
    await on_its_way(way)
    linger = struct.pack("ii", 1, 0)  # a reset
    own = browser.writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    browser.writer.close()
    await eventually(lambda: in_progress(worker) == 0)
    (line,) = told_of(access_lines)
    assert (line["level"], line["status"], line["route"]) == ("info", 499, "login")
    assert "code" not in line
    assert worker.slots.in_use == 1
    platform.release()
    other = await Browser.open(http_port)
    assert (await other.post(body, {}, PATH)).status == 200
    other.writer.close()
    await eventually(lambda: worker.slots.in_use == 0)


@pytest.mark.gen_test
async def test_who_sends_no_more_is_told_alike(
    browser, on_its_way, platform, http_port, access_lines, body
):
    """A half-close while the login is on its way."""
    told = []
    for way in ({}, SLOW_PATH):
        platform.counters.reset()
        asking = await Browser.open(http_port)
        platform.hold()
        asking.send_post(body, {**way, "X-Request-Id": "r"}, PATH)
        await eventually(lambda: platform.counters.total == 1)
        access_lines.seek(access_lines.truncate(0))
        asking.writer.write_eof()
        answer = await asking.read()
        assert await asking.reader.read() == b""
        asking.writer.close()
        platform.release()
        headers = {k: v for k, v in answer.headers.items() if k not in OF_THE_MOMENT}
        (line,) = told_of(access_lines)
        del line["time"], line["seconds"]
        told.append((answer.status, headers, answer.body, line))
    assert told[0] == told[1]
    assert told[0][0] == 499
    assert told[0][1]["cache-control"] == "no-store"


class TestInQueue:
    """There is one slot, and somebody has it."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {"MAX_CONCURRENT_REQUESTS": "1"}

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_who_leaves_the_queue_is_never_logged_in(
        self, browser, on_its_way, way, platform, worker, http_port, college
    ):
        """The platform hears nothing of it."""
        await on_its_way({})
        other = await Browser.open(http_port)
        body = json.dumps(credentials(college.student(1)))
        other.send_post(body, way, PATH)
        await eventually(lambda: worker.slots.waiting == 1)
        other.writer.close()
        await eventually(lambda: worker.slots.waiting == 0)
        platform.release()
        assert (await browser.read()).status == 200
        assert platform.counters.calls["authenticate"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_a_login_in_a_drain_is_its_connections_last(
    browser, on_its_way, way, platform, http_server
):
    """Though the drain began when it had been read."""
    await on_its_way(way)
    http_server.disable_keep_alive()
    platform.release()
    answer = await browser.read()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await browser.reader.read() == b""


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_no_time_out_ends_a_login(
    browser, on_its_way, way, platform, http_server
):
    """The client has sent its request."""
    await on_its_way(way)
    for connection in http_server._open:
        connection.close_if_timed_out(time.monotonic() + 1000)
    platform.release()
    assert (await browser.read()).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_the_last_of_a_connection_says_so(browser, body, way):
    """Where its client asks for it."""
    answer = await browser.post(body, {**way, "Connection": "close"}, PATH)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await browser.reader.read() == b""


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_a_fault_of_ours_tells_no_secret(
    browser, body, way, worker, monkeypatch, access_lines
):
    """A 500, a traceback without values, and the next login is served."""

    def fail(*_):
        raise RuntimeError("of ours")

    with monkeypatch.context() as patch:
        patch.setattr(worker.service, "logged_in", fail)
        answer = await browser.post(body, way, PATH)
    assert answer.status == 500
    assert json.loads(answer.body)["code"] == "internal_error"
    told = access_lines.getvalue()
    assert "of ours" in told
    assert json.loads(body)["password"] not in told
    assert (await browser.post(body, way, PATH)).status == 200


class TestPrefetch:
    """A login warms the pages that follow."""

    @pytest.fixture(name="variables")
    def _variables(self):
        return {"PREFETCH_ON_LOGIN": "true"}

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_pages_are_gathered_behind_a_login(
        self, browser, body, way, platform
    ):
        """Nothing is asked twice, and the page is on its way or at hand."""
        token = json.loads((await browser.post(body, way, PATH)).body)["token"]
        page = await browser.ask("/api/quiz", token)
        assert page.headers["x-cache"] in ("HIT", "PENDING")
        await eventually(lambda: platform.counters.calls["schedule"] == 1)
        assert platform.counters.calls["quizzes"] == 1
