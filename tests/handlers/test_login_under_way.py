"""A login between its first byte and its answer, by the fast path and by its handler:
cut in pieces, left, waiting in line, in a drain.
"""

import asyncio
import json
import logging
import socket
import struct
import time

import pytest

from ..waiting import eventually
from .browser import SLOW_PATH, Browser
from .kept import held, requests_under_way
from .test_login import credentials
from .ways import WAYS, access_line

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.settings(LOGIN_LIMIT_PER_MINUTE="1000"),
]

PATH = "/api/login"


@pytest.fixture(name="body")
def _body(student):
    return json.dumps(credentials(student))


async def asked_turns_ago(port, body, way, turns):
    """A client whose login was sent so many turns of the loop ago."""
    browser = await Browser.open(port)
    browser.send_post(body, way, PATH)
    for _ in range(turns):
        await asyncio.sleep(0)
    return browser


@pytest.mark.gen_test
async def test_a_login_may_be_cut_anywhere(browser, body, platform):
    """A login split into segments anywhere is made once."""
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
    """Have a browser send a login, and wait until the platform has it."""

    async def send(way, asking=browser):
        asking.send_post(body, {**way, "X-Request-Id": "r"}, PATH)
        await held(platform)

    return send


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_is_not_waited_for(
    browser, on_its_way, way, platform, worker, http_port, body, access_lines
):
    """One log line has status 499; the slot is free when the platform has answered."""
    await on_its_way(way)
    linger = struct.pack("ii", 1, 0)  # a reset
    own = browser.writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    browser.writer.close()
    await eventually(lambda: requests_under_way(worker) == 0)
    line = access_line(access_lines)
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
    on_its_way, platform, http_port, access_lines
):
    """A half-close while the login is on its way."""
    told = []
    for way in ({}, SLOW_PATH):
        platform.counters.reset()
        asking = await Browser.open(http_port)
        await on_its_way(way, asking)
        access_lines.forget()
        asking.writer.write_eof()
        answer = await asking.read()
        assert await asking.reader.read() == b""
        asking.writer.close()
        platform.release()
        told.append((*answer.lasting, access_line(access_lines)))
    assert told[0] == told[1]
    assert told[0][0] == 499
    assert told[0][1]["cache-control"] == "no-store"


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_who_sends_no_more_as_its_login_is_read(
    way, body, platform, http_server, http_port
):
    """In the same turn of the loop as the login, or in one of the next, when nobody has
    begun to wait.
    """
    platform.hold()
    for turns in range(6):
        asking = await asked_turns_ago(http_port, body, way, turns)
        asking.writer.write_eof()
        assert (await asking.read()).status == 499, turns
        asking.writer.close()
    platform.release()


@pytest.mark.gen_test
async def test_who_leaves_twice_leaves_once(
    on_its_way, platform, worker, http_server, caplog
):
    """It sends no more and, in the same turn of the loop, its connection is cut off, as
    when a stop's grace is over.
    """
    await on_its_way({})
    (connection,) = http_server._open
    connection.eof_received()
    connection.abort()
    await eventually(lambda: not http_server.connections)
    await eventually(lambda: requests_under_way(worker) == 0)
    assert [line for line in caplog.records if line.levelno >= logging.ERROR] == []
    platform.release()


@pytest.mark.settings(LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE="4")
class TestFailures:
    """Four logins of one address may be refused."""

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_who_leaves_was_not_refused(
        self, browser, body, college, way, platform, worker, http_port
    ):
        """Impatient clients of a slow platform use up nothing of their address's."""

        async def leave(number):
            sent = json.dumps(credentials(college.student(number)))
            leaving = await Browser.open(http_port)
            leaving.send_post(sent, way, PATH)
            await held(platform, number)
            leaving.writer.close()

        for number in range(1, 6):
            await leave(number)
        await eventually(lambda: requests_under_way(worker) == 0)
        platform.release()
        assert (await browser.post(body, way, PATH)).status == 200

    @pytest.fixture(name="at_once")
    def _at_once(self, browser, college, http_port, platform, worker):
        """Statuses, in order, of eight students' logins that are begun together."""

        async def log_in(way, **wrong):
            platform.hold()
            others = [await Browser.open(http_port) for _ in range(7)]
            asking = [browser, *others]
            for number, each in enumerate(asking):
                sent = credentials(college.student(number)) | wrong
                each.send_post(json.dumps(sent), way, PATH)
            await eventually(lambda: requests_under_way(worker) == 8)
            await eventually(lambda: platform.counters.total == 4)
            platform.release()
            told = sorted([(await each.read()).status for each in asking])
            for each in others:
                each.writer.close()
            return told

        return log_in

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_nobody_who_is_right_is_refused(self, at_once, way, platform):
        """A class behind one address logs in together: some wait, all are served."""
        assert await at_once(way) == [200] * 8
        assert platform.counters.calls["authenticate"] == 8

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_wrong_ones_at_once_are_no_more_than_one_by_one(
        self, at_once, way, platform
    ):
        """Nobody guesses more by not waiting for the answers."""
        assert await at_once(way, password="wrong") == [401] * 4 + [429] * 4
        assert platform.counters.calls["authenticate"] == 4

    @pytest.mark.gen_test
    @pytest.mark.parametrize("way", WAYS)
    async def test_who_leaves_while_others_are_pending_is_never_logged_in(
        self, browser, body, college, way, platform, worker, http_port
    ):
        """It waits for them, and so may leave."""
        platform.hold()
        asking = [await Browser.open(http_port) for _ in range(5)]
        bodies = [json.dumps(credentials(college.student(n))) for n in range(1, 6)]
        for each, sent in zip(asking[:4], bodies, strict=False):
            each.send_post(sent, way, PATH)
        await eventually(lambda: platform.counters.total == 4)
        asking[-1].send_post(bodies[-1], way, PATH)
        await eventually(lambda: requests_under_way(worker) == 5)
        asking[-1].writer.close()
        await eventually(lambda: requests_under_way(worker) == 4)
        platform.release()
        assert [(await each.read()).status for each in asking[:4]] == [200] * 4
        assert (await browser.post(body, way, PATH)).status == 200
        assert platform.counters.calls["authenticate"] == 5
        for each in asking:
            each.writer.close()

    @pytest.mark.gen_test
    async def test_who_meets_a_fault_of_ours_was_not_refused(
        self, browser, body, worker, monkeypatch
    ):
        """It costs the address no login."""

        def fail(*_):
            raise RuntimeError("of ours")

        with monkeypatch.context() as patch:
            patch.setattr(worker.service, "log_in", fail)
            for _ in range(5):
                assert (await browser.post(body, {}, PATH)).status == 500
        assert (await browser.post(body, {}, PATH)).status == 200


@pytest.mark.settings(MAX_CONCURRENT_REQUESTS="1")
class TestInQueue:
    """There is one slot, and somebody has it."""

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
    async def test_who_leaves_as_its_login_is_read_is_never_logged_in(
        self, browser, body, on_its_way, way, platform, worker, http_port
    ):
        """Nor is one that is gone before anybody has begun to wait."""
        await on_its_way({})
        for turns in range(6):
            leaving = await asked_turns_ago(http_port, body, way, turns)
            leaving.writer.close()
        await eventually(lambda: requests_under_way(worker) == 1)
        platform.release()
        assert (await browser.read()).status == 200
        assert platform.counters.calls["authenticate"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_a_login_in_a_drain_is_its_connections_last(
    browser, on_its_way, way, platform, http_server
):
    """Its connection closes, though the drain began after the login was read."""
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
    """A client that sends ``Connection: close`` is answered with it."""
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


@pytest.mark.settings(PREFETCH_ON_LOGIN="true")
@pytest.mark.gen_test
@pytest.mark.parametrize("way", WAYS)
async def test_pages_are_gathered_behind_a_login(browser, body, way, platform):
    """Nothing is asked twice, and the page is on its way or at hand."""
    token = json.loads((await browser.post(body, way, PATH)).body)["token"]
    page = await browser.ask("/api/quiz", token)
    assert page.headers["x-cache"] in ("HIT", "PENDING")
    await eventually(lambda: platform.counters.calls["course_files"] == 1)
    assert platform.counters.calls["quizzes"] == 1
