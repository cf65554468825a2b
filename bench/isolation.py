"""A million answers to 500 students over three services that share a store, while
calls fail, tokens are refused and workers and the store die: does one ever get
another's?
"""

import contextlib
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple
from urllib.parse import urlsplit

from aims_server.demo.college import College

from .load import page_request, try_asking
from .machines import CALL_SECONDS, College3000, college, kill_worker, machines
from .report import Row, at_least, at_most
from .turns import Pace

STUDENTS = 500
SERVICES = 3
CONNECTIONS = 8  # to each service, on which so many requests are under way at once:
PIPELINED = 8
TROUBLE_SECONDS = 1.0

_NAMED = re.compile(rb'"studentId":(\d+)')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Task(NamedTuple):
    """What one asking process does: so many requests of one service."""

    url: str
    number: int
    seed: int
    issued: int


def isolation(pace: Pace) -> Iterator[Row]:
    """A million answers (60 000 with --quick) to 500 students over 3 services of two
    workers: each names its asker, while every second a token is refused, a worker
    killed, and the store flushed, cut off or restarted, and one call in ten fails.
    """
    with college() as source:
        yield crossed(source, 1_000_000 if pace.rounds > 1 else 60_000)


def crossed(source: College3000, number: int) -> Row:
    """The row of so many answers."""
    source.turn(
        faults={"course_files": {"kind": "status", "share": 0.1, "delay": 0.02}}
    )
    issued = source.issued
    with machines(source, SERVICES, 2) as (servers, store), _pool() as pool:
        stop = threading.Event()

        def trouble() -> None:
            befalls = (store.flush, store.cut, store.restart)
            turn = 0
            while not stop.wait(TROUBLE_SECONDS):
                turn += 1
                student, serial = turn % STUDENTS, turn // STUDENTS
                token = _token(source.college, student, serial, issued)
                source.turn(revoke=token)
                # A page that nobody keeps: the platform is asked, and refuses.
                try_asking(random.choice(servers).url, [page_request("quiz", token)])
                with contextlib.suppress(IndexError, ProcessLookupError):
                    kill_worker(random.choice(servers), turn % 2)
                befalls[turn % 3]()

        troubled = threading.Thread(target=trouble)
        troubled.start()
        try:
            tasks = [
                Task(server.url, number // SERVICES + 1, n, issued)
                for n, server in enumerate(servers)
            ]
            seen: Counter[str] = sum(pool.map(_ask, tasks), Counter())
        finally:
            stop.set()
            troubled.join()
    source.turn(clear="*", faults={"*": {"delay": CALL_SECONDS}})
    share = seen["own"] / number
    return Row(
        f"{number} answers to {STUDENTS} students, with faults, refusals, kills",
        f"{seen['own']} own, {seen['other']} another student's; beside them"
        f" {seen['401']} refused, {seen['error']} errors, {seen['lost']} lost",
        goal=at_most(0, seen["other"]) if seen["other"] else at_least(1, share),
    )


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(SERVICES, mp_context=get_context("spawn"))


def _token(college: College, student: int, serial: int, issued: int) -> str:
    return college.token(college.student(student), issued=issued, serial=serial)


def _ask(task: Task) -> Counter[str]:
    """Ask one service until so many answers were had; what they were."""
    asker = _Asker(task)
    connections = [_Connection(task.url) for _ in range(CONNECTIONS)]
    while asker.seen["own"] + asker.seen["other"] < task.number:
        for connection in connections:
            asker.ask(connection)
        for connection in connections:
            asker.hear(connection)
    for connection in connections:
        connection.close()
    return asker.seen


class _Connection:
    """A kept connection with requests under way; on a loss it is made anew."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self.asked: list[int] = []
        self._socket: socket.socket | None = None
        self._received = b""

    def send(self, requests: bytes) -> bool:
        """Send some requests; False if that could not be."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=20)
            self._socket.sendall(requests)
        except OSError:
            self.close()
            return False
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """The head and body of the next answer; None if it is lost."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if not self._more():
                return None
        head = self._received[:end]
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        while len(self._received) < whole:
            if not self._more():
                return None
        body = self._received[end + 4 : whole]
        self._received = self._received[whole:]
        return head, body

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def _more(self) -> bool:
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(1 << 17)
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._received += data
        return True


class _Asker:
    """Asks for students at random, and looks whom each answer names; one that is equal,
    byte for byte, to one of this student that was looked at need not be looked at.
    """

    def __init__(self, task: Task) -> None:
        self.seen: Counter[str] = Counter()
        self._college = College()
        self._issued = task.issued
        self._random = random.Random(task.seed)
        self._numbers = [
            str(self._college.student(n).id).encode() for n in range(STUDENTS)
        ]
        self._serials = [0] * STUDENTS
        self._requests = [self._request(n) for n in range(STUDENTS)]
        self._known: list[bytes] = [b""] * STUDENTS

    def ask(self, connection: _Connection) -> None:
        """Send requests of students at random."""
        connection.asked = self._random.choices(range(STUDENTS), k=PIPELINED)
        requests = b"".join(self._requests[student][1] for student in connection.asked)
        if not connection.send(requests):
            self.seen["lost"] += len(connection.asked)
            connection.asked = []

    def hear(self, connection: _Connection) -> None:
        """Receive the answers to them, and judge each."""
        serials = [self._requests[student][0] for student in connection.asked]
        for number, student in enumerate(connection.asked):
            answer = connection.receive()
            if answer is None:
                self.seen["lost"] += len(connection.asked) - number
                return
            self._judge(student, serials[number], *answer)

    def _judge(self, student: int, serial: int, head: bytes, body: bytes) -> None:
        status = head[9:12]
        if status == b"200":
            if body != self._known[student]:
                if set(_NAMED.findall(body)) != {self._numbers[student]}:
                    self.seen["other"] += 1
                    return
                self._known[student] = body
            self.seen["own"] += 1
        elif status == b"401":
            self.seen["401"] += 1
            if self._serials[student] == serial:  # log in again
                self._serials[student] += 1
                self._requests[student] = self._request(student)
        else:
            self.seen["error"] += 1

    def _request(self, student: int) -> tuple[int, bytes]:
        """The serial number of the student's token, and a request with it."""
        serial = self._serials[student]
        token = _token(self._college, student, serial, self._issued)
        text = (
            "GET /api/attendance HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        )
        return serial, text.encode()
