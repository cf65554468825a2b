"""What arrives on a connection to the platform unasked is nobody's answer
(docs/reliability.rst P41), and who has such a connection loses nothing by it.
"""

import asyncio
import fcntl
import json
import random
import re
import termios

import pytest

from aims_server.upstream import Transport
from aims_server.upstream.transport.transport import Reply

from ..upstream.transport.scripted_server import said
from ..waiting import PATIENCE_SECONDS

# One connection to the platform is kept, and nothing is answered from memory.
pytestmark = [
    pytest.mark.gen_test,
    pytest.mark.settings(MAX_CONCURRENT_REQUESTS="1", CACHE_REFRESH_FLOOR_SECONDS="0"),
]

STUDENTS = 200
ANSWERS = 20_000
CONNECTIONS = 20
BUSY = {
    "CACHE_TTL_SECONDS": "0",
    "CACHE_STALE_SECONDS": "0",
    "CACHE_REFRESH_FLOOR_SECONDS": "0",
    "RATE_LIMIT_PER_MINUTE": "100000",
    "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "100000",
    "MAX_CONCURRENT_REQUESTS": "10",
}


def admission_numbers(answer) -> set[str]:
    """Whose quizzes an answer of the service has."""
    assert answer.code == 200, answer.body
    rows = json.loads(answer.body)["response"]["data"]
    return {row["admission_number"] for row in rows}


async def test_an_answer_sent_twice_is_not_the_next_students(front, platform, college):
    """Fifty milliseconds after the first one, while nobody asks anything."""
    one, other = college.student(11), college.student(22)
    platform.faults.set("quizzes", kind="answer_twice", interval=0.05, count=1)
    answer = await front.ask("/api/quiz", college.token(one))
    assert admission_numbers(answer) == {one.username}
    await asyncio.sleep(0.2)  # nothing that we could wait for tells of its arrival
    answer = await front.ask("/api/quiz", college.token(other))
    assert admission_numbers(answer) == {other.username}
    answer = await front.ask("/api/quiz", college.token(other))
    assert admission_numbers(answer) == {other.username}
    assert answer.headers["X-Cache"] == "HIT"


@pytest.mark.gen_test
@pytest.mark.settings(**BUSY)
async def test_an_answer_that_comes_during_anothers_call_is_not_taken(
    front, platform, college
):
    """The platform repeats answers while the next call on the connection is under way:
    whoever would be given one is asked for again, on a new connection.
    """
    platform.faults.set(
        "course_files", kind="answer_twice", share=0.2, interval=0.004, delay=0.002
    )

    async def visit(number: int) -> None:
        student = college.student(number)
        token = college.token(student)
        for _ in range(30):
            answer = await front.ask(
                "/api/attendance", token, headers={"Cache-Control": "no-cache"}
            )
            assert answer.code == 200
            assert json.loads(answer.body)["studentId"] == student.id

    await asyncio.gather(*map(visit, range(20)))
    assert platform.counters.calls["course_files"] > 20 * 30  # some were made anew


async def after_course_files(front, platform, token, path):
    """A page that is asked for while the platform repeats the course files."""
    platform.faults.set("course_files", kind="answer_twice", delay=0.05, interval=0.01)
    for endpoint in ("quizzes", "schedule"):
        platform.faults.set(endpoint, delay=0.1)
    fresh = {"Cache-Control": "no-cache"}
    called = platform.counters.calls["course_files"]
    before = asyncio.ensure_future(front.ask("/api/attendance", token, headers=fresh))
    await platform.until(lambda counters: counters.calls["course_files"] > called)
    answer = await front.ask(path, token, headers=fresh)
    assert (await before).code == 200
    assert (answer.code, answer.headers["X-Cache"]) == (200, "MISS")
    return json.loads(answer.body)


@pytest.mark.parametrize("path", ["/api/quiz", "/api/timetable"])
async def test_another_endpoints_answer_is_not_taken(front, platform, token, path):
    """The course files are sent again while the call behind them on the connection is
    under way.
    """
    expected = json.loads((await front.ask(path, token)).body)
    had = await after_course_files(front, platform, token, path)
    assert {**had, "cachedAt": 0} == {**expected, "cachedAt": 0}


@pytest.mark.settings(MAX_CONCURRENT_REQUESTS="1", PREFETCH_ON_LOGIN="false")
async def test_a_logins_answer_is_not_taken(front, platform, college):
    """It is sent again while a timetable, which names nobody, is under way on the same
    connection: this one came next, and was given to another student.
    """
    one, other = college.student(11), college.student(22)
    platform.faults.set("authenticate", kind="answer_twice", interval=0.03)
    platform.faults.set("schedule", delay=0.1)
    login = {"username": one.username, "password": one.password}
    await front.ask("/api/login", method="POST", body=login)
    for student in (one, other):
        answer = await front.ask("/api/timetable", college.token(student))
        assert answer.code == 200
        days = json.loads(answer.body)["days"]
        shown = {slot["cfId"] for day in days for slot in day["slots"]}
        assert shown <= {course.cf_id for course in college.courses(student)}


async def test_after_a_crossed_answer_no_kept_connection_is_trusted(
    front, platform, college, token, access_lines
):
    """A timetable names nobody: that another one's is sent again is not to be seen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "the answer to an earlier one" not in access_lines.getvalue():
            # Again if it came too early or too late.
            await after_course_files(front, platform, token, "/api/quiz")
    platform.faults.set("schedule", delay=0.0)
    before = platform.counters.connections
    for number in range(3):
        student = college.student(number)
        await front.ask("/api/timetable", college.token(student))
    assert platform.counters.connections == before + 3


@pytest.mark.parametrize("kind", ["stray_408", "stray_crlf", "stray_garbage"])
async def test_what_a_platform_says_between_calls_costs_no_call(
    front, platform, college, kind
):
    """Each next call is made on a new connection, once."""
    platform.faults.set("quizzes", kind=kind, interval=0.0)
    for number in range(1, 6):
        student = college.student(number)
        answer = await front.ask("/api/quiz", college.token(student))
        assert admission_numbers(answer) == {student.username}
    assert platform.counters.calls["quizzes"] == 5


LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


class ErraticPlatform(asyncio.Protocol):
    """Answers each student with the own name; then, now and then, says something more
    on the same connection: at once, or at some moment at which nobody asks anything.
    """

    strays = 0
    open = 0
    all_closed: asyncio.Event

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def connection_made(self, transport) -> None:
        """Learn where to answer."""
        self._transport = transport
        self._socket = transport.get_extra_info("socket").fileno()
        ErraticPlatform.open += 1
        ErraticPlatform.all_closed.clear()

    def connection_lost(self, _) -> None:
        """Count it out."""
        ErraticPlatform.open -= 1
        if not ErraticPlatform.open:
            ErraticPlatform.all_closed.set()

    def data_received(self, data: bytes) -> None:
        """Answer a request, which is a single segment."""
        name = re.search(rb"Bearer (\S+)", data)
        assert name
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name[1])
        answer = head + name[1]
        stray = b""
        if self._draw.random() < 0.2:
            stray = self._draw.choice([answer, answer[:30], LATE, b"\r\n", b"x"])
        if self._draw.random() < 0.3:
            self._transport.write(answer + stray)
        else:
            self._transport.write(answer)
            moment = self._draw.random() * 0.003
            asyncio.get_running_loop().call_later(moment, self._say, stray)

    def _say(self, stray: bytes) -> None:
        if not stray or self._transport.is_closing():
            return
        if fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)) == bytes(4):
            ErraticPlatform.strays += 1
            self._transport.write(stray)


@pytest.mark.gen_test
async def test_no_answer_is_crossed_by_what_comes_unasked():
    """200 students, 20 000 answers over 20 connections, one in five followed by an
    answer's copy, a part of it, a 408, a line or a byte: each student has the own one.
    """
    draw = random.Random(41)
    ErraticPlatform.all_closed = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ErraticPlatform(draw), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = Transport(CONNECTIONS, "test")
    crossed = 0

    async def visit(name: str) -> None:
        nonlocal crossed
        headers = {"Authorization": f"Bearer {name}"}
        for _ in range(ANSWERS // STUDENTS):
            reply = await transport.fetch(url, headers=headers, seconds=30.0)
            crossed += said(reply) != Reply(200, name.encode())
            if draw.random() < 0.1:
                await asyncio.sleep(draw.random() * 0.01)

    await asyncio.gather(*(visit(f"student-{n}") for n in range(STUDENTS)))
    transport.close()
    await ErraticPlatform.all_closed.wait()
    server.close()
    await server.wait_closed()
    assert crossed == 0
    assert ErraticPlatform.strays > ANSWERS / 500
