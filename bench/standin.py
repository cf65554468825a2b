"""The platform of the benchmarks: the simulated one's answers, given faster than the
fastest client can ask. ``python -m bench.standin --help``.

The simulated platform makes the records of every student and serves them through a
web framework; beside it nearly every client would look alike. Here all students of a
section share the records of its first one, each body is made once, and a bare protocol
writes it. Ids and tokens are each student's own.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import time
from functools import lru_cache
from heapq import heappop, heappush
from math import inf
from typing import cast
from urllib.parse import parse_qs

import msgspec
import uvloop

from aims_server.demo.backend import Backend, CardQuery, Reply
from aims_server.demo.college import College
from aims_server.demo.enrolment import COHORTS, FIRST_STUDENT_ID, MOST_STUDENTS
from aims_server.demo.faults import Faults

API = "/api/v1"
CF_ID = re.compile(r"equalto___cf_id=(\d+)")


def college(subjects: int = 15, records: int | None = None) -> College:
    """The college whose students are served."""
    return College(MOST_STUDENTS, subjects, records_per_subject=records)


class Answers:
    """What is answered to a request, as bytes of HTTP."""

    def __init__(self, students: College) -> None:
        self.college = students
        self._backend = Backend(students)
        self._kept: dict[tuple[int, str], bytes] = {}
        self._firsts = [
            students.token(students.student(cohort)) for cohort in range(COHORTS)
        ]

    def answer(self, path: str, authorization: str, body: bytes) -> bytes:
        """The answer to a GET, or to the login."""
        if path == f"{API}/admin/authenticate":
            return self._login(body)
        token = authorization.removeprefix("Bearer ")
        student = _student(token)
        if student is None:
            return _http(Reply(401, b'{"status":0,"msg":"Token is invalid"}'))
        cohort = (student - FIRST_STUDENT_ID) % COHORTS
        name, _, query = path.removeprefix(API).partition("?")
        if name == "/cards":
            course = CF_ID.search(query)
            return self._made(cohort, f"cards/{course[1] if course else ''}")
        if name == "/custom/getCFMappedWithStudentID":
            first = b'"student_id":%d' % (FIRST_STUDENT_ID + cohort)
            own = b'"student_id":%d' % student  # as many digits
            return self._made(cohort, "course_files").replace(first, own)
        if name == "/custom/myEvaluatedQuizzes":
            first_token = self._firsts[cohort].encode()
            quizzes = self._made(cohort, "quizzes")
            if len(token) == len(first_token):
                return quizzes.replace(first_token, token.encode())
            return quizzes
        return _http(Reply(404, b"{}"))

    def _made(self, cohort: int, what: str) -> bytes:
        """A section's answer, as its first student gets it."""
        known = self._kept.get((cohort, what))
        if known is None:
            backend, token = self._backend, self._firsts[cohort]
            name, _, course = what.partition("/")
            if name == "cards":
                reply = backend.cards(
                    token, CardQuery(cf_id=course, sort_by="datetime1")
                )
            elif name == "course_files":
                reply = backend.course_files(token, embed=True)
            else:
                reply = backend.quizzes(token)
            known = self._kept[cohort, what] = _http(reply)
        return known

    def _login(self, body: bytes) -> bytes:
        fields = parse_qs(body.decode())
        name, password = fields["username"][0], fields["password"][0]
        return _http(self._backend.log_in(name, password, ""))


@lru_cache(16384)
def _student(token: str) -> int | None:
    """Whose token it is, by its own claim: the signature is not looked at."""
    try:
        payload = base64.urlsafe_b64decode(token.split(".")[1] + "==")
        return int(msgspec.json.decode(payload)["sub"])
    except (ValueError, IndexError, KeyError):
        return None


def _http(reply: Reply) -> bytes:
    head = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d"
    return head % (reply.status, len(reply.body)) + b"\r\n\r\n" + reply.body


class StandIn:
    """All connections together: what was asked, how long an answer takes, and what
    comes in its place.
    """

    def __init__(self, answers: Answers, faults: Faults) -> None:
        self.answers = answers
        self.faults = faults
        self.calls = 0
        self._free_at: list[float] = []  # each place's, where there is room for a few

    def __call__(self) -> "Connection":
        """One more connection."""
        return Connection(self)

    def reply(self, path: str, authorization: str, body: bytes) -> tuple[float, bytes]:
        """In how many seconds to answer, and what. Without bytes the connection is
        broken then; in infinitely many seconds there is no answer.
        """
        if path == "/calls":
            told = json.dumps({"calls": self.calls}).encode()
            self.calls = 0
            return 0.0, _http(Reply(200, told))
        self.calls += 1
        seconds = self._seconds(self.faults.delay("cards"))
        fault = self.faults.next("cards", path)
        if fault is None:
            return seconds, self.answers.answer(path, authorization, body)
        if fault.kind == "hang":
            return inf, b""
        if fault.kind == "reset":
            return seconds, b""
        return seconds, _http(Reply(fault.status or 503, b"{}"))

    def _seconds(self, delay: float) -> float:
        """The delay, after the wait for a place."""
        capacity = self.faults.capacity("cards")
        if capacity is None:
            return delay
        now = time.monotonic()
        full = len(self._free_at) == capacity
        begins = max(now, heappop(self._free_at)) if full else now
        heappush(self._free_at, begins + delay)
        return begins + delay - now


class Connection(asyncio.Protocol):
    """One kept connection; no client of ours asks before it was answered."""

    def __init__(self, server: StandIn) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (x.partition(": ") for x in lines)
        }
        if len(body) < int(headers.get("content-length", "0")):
            return
        self._received = b""
        path = first.split(" ")[1]
        seconds, answer = self._server.reply(
            path, headers.get("authorization", ""), body
        )
        if seconds == inf:
            return
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not answer:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(options: argparse.Namespace) -> None:
    answers = Answers(college(options.subjects, options.records))
    faults = Faults()
    faults.set("cards", **json.loads(options.faults))  # every endpoint's, here
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        StandIn(answers, faults), "127.0.0.1", 0, backlog=1024
    )
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until killed; prints a line of JSON with its ``url``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", default="{}", help="knobs of `Fault`, as JSON")
    parser.add_argument("--subjects", type=int, default=15)
    parser.add_argument("--records", type=int, help="per subject; else a timetable's")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
