"""The machine's clock is set by hours while the real service serves. libfaketime stands
between the service and the wall clock (CLOCK_REALTIME); monotonic time goes on.
"""

import json
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from aims_server.demo.college import College

from ..waiting import PATIENCE_SECONDS, until
from .conftest import Service

SHARED_MEMORY = Path("/dev/shm")
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not LIBRARIES, reason="faketime is not installed"),
]

COLLEGE = College(students=200)
JUMPS = ("+6h", "-6h", "+50h", "-50h", "+0")


class Answer(NamedTuple):
    """What came of one request."""

    status: int
    headers: dict[str, str]


class Clocked:
    """Services whose wall clock can be set."""

    def __init__(self, serve: Callable[..., Service], directory: Path) -> None:
        self._serve = serve
        self._served: list[Service] = []
        self._offset = directory / "offset"
        self.set("+0")

    def set(self, offset: str) -> None:
        """Set the clock of all of them, by an offset to the machine's."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self._offset)  # none reads half of it

    def serve(self, workers: int = 1, **variables: str) -> Service:
        """A service that serves."""
        service = self._serve(
            workers,
            LD_PRELOAD=str(LIBRARIES[0]),
            FAKETIME_TIMESTAMP_FILE=str(self._offset),
            FAKETIME_NO_CACHE="1",
            # The name changed in 0.9.11.
            DONT_FAKE_MONOTONIC="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            **variables,
        )
        self._served.append(service)
        return service

    def close(self) -> None:
        """End them, with the files that libfaketime leaves of a process that is killed:
        the next one of that number would not start.
        """
        for service in self._served:
            service.close()
            for left in SHARED_MEMORY.glob(f"*faketime_*_{service.process.pid}"):
                left.unlink()


@pytest.fixture(name="clocked")
def _clocked(serve: Callable[..., Service], tmp_path: Path) -> Iterator[Clocked]:
    clocked = Clocked(serve, tmp_path)
    yield clocked
    clocked.close()


@pytest.fixture(name="tokens")
def _tokens() -> Iterator[str]:
    """Those of students who were not met before."""
    return (COLLEGE.token(COLLEGE.student(n)) for n in range(COLLEGE.students))


def ask(service: Service, path: str, token: str, **headers: str) -> Answer:
    """One request on a connection of its own."""
    request = urllib.request.Request(
        service.url + path, headers={"Authorization": f"Bearer {token}", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            answer.read()
            return Answer(answer.status, dict(answer.headers))
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, dict(refusal.headers))


def access_lines(service: Service) -> list[dict[str, object]]:
    """The lines of the access log, once a stop has had them all written."""
    service.signal(signal.SIGINT)
    assert service.wait() == 0
    lines = map(json.loads, service.log.splitlines())
    return [line for line in lines if line["logger"] == "aims_server.access"]


def test_kept_pages_keep_their_age(clocked, tokens):
    """A page is found at its true age, by old and new workers; nobody is killed for
    silence, and nothing is warned of.
    """
    service = clocked.serve(2)
    token = next(tokens)
    began = time.monotonic()
    assert ask(service, "/api/quiz", token).headers["X-Cache"] == "MISS"
    for offset in JUMPS:
        clocked.set(offset)
        before = service.workers()
        for _ in range(4):
            found = ask(service, "/api/quiz", token)
            assert (found.status, found.headers["X-Cache"]) == (200, "HIT")
            assert int(found.headers["Age"]) <= time.monotonic() - began
        assert service.workers() == before
        service.signal(signal.SIGHUP)
        service.wait_for_workers(2, but=before)
    lines = map(json.loads, service.log.splitlines())
    assert [line for line in lines if line["level"] != "info"] == []


@pytest.mark.parametrize("offset", ["+6h", "-6h"])
def test_a_request_takes_as_long_as_it_takes(clocked, platform, tokens, offset):
    """The clock is set while a call is under way: the access line, /metrics and
    Server-Timing tell the time that passed; the line's own time is the clock's.
    """
    service = clocked.serve()
    platform.turn(hold="*")
    answers: list[Answer] = []
    token = next(tokens)
    asked_at = time.perf_counter()
    asking = Thread(target=lambda: answers.append(ask(service, "/api/quiz", token)))
    asking.start()
    until(lambda: platform.counters()["calls"].get("quizzes"))
    clocked.set(offset)
    platform.turn(release="*")
    asking.join()
    (answer,) = answers
    assert answer.status == 200
    (total,) = service.figures('aims_request_duration_seconds_sum{route="quiz"')
    (line,) = access_lines(service)
    timing = [
        float(ms) for ms in re.findall(r"dur=([^,]+)", answer.headers["Server-Timing"])
    ]
    passed = time.perf_counter() - asked_at  # here, by a clock that nobody has set
    told = [total, float(str(line["seconds"])), *(ms / 1000 for ms in timing)]
    assert timing
    assert all(0 <= seconds <= passed for seconds in told)
    # The line is written after the answer was counted, and rounded to microseconds.
    assert 0 < total < float(str(line["seconds"])) + 1e-6
    began = json.loads(service.log.splitlines()[0])["time"]
    assert (str(line["time"]) > began) == (offset == "+6h")


def test_limits_refill_by_the_time_that_passes(clocked, tokens):
    """A student past the limit stays past it, and is told the true time to wait."""
    service = clocked.serve(RATE_LIMIT_PER_MINUTE="1")
    token = next(tokens)
    while ask(service, "/api/quiz", token).status == 200:
        pass
    for offset in JUMPS:
        clocked.set(offset)
        refused = ask(service, "/api/quiz", token)
        assert refused.status == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert ask(service, "/api/quiz", next(tokens)).status == 200


def test_a_circuit_rests_by_the_time_that_passes(clocked, platform, tokens):
    """A clock that jumps lengthens no circuit's rest."""
    service = clocked.serve(CACHE_TTL_SECONDS="0", CACHE_STALE_SECONDS="0")
    students = [next(tokens) for _ in range(4)]
    for token in students:
        ask(service, "/api/quiz", token)
    platform.turn(faults={"*": {"kind": "status", "status": 500}})
    for token in students:
        ask(service, "/api/quiz", token)
    service.wait_for_log("The circuit to the platform's quizzes is open")
    for offset in ("+6h", "-6h"):
        clocked.set(offset)
        refused = ask(service, "/api/quiz", students[0])
        assert refused.status in (502, 503)  # on a slow machine the rest may be over
        assert 0 <= int(refused.headers.get("Retry-After", "0")) <= 30
    platform.turn(clear="*")


def test_a_token_ends_by_the_clock(clocked, tokens):
    """Past the end that it claims nothing is kept for it, and not kept long before."""
    service = clocked.serve()
    token = COLLEGE.token(COLLEGE.student(7), life=3600)
    clocked.set("+2h")
    for _ in range(2):
        assert ask(service, "/api/quiz", token).headers["X-Cache"] == "MISS"
    clocked.set("-2h")
    outcomes = [ask(service, "/api/quiz", token).headers["X-Cache"] for _ in range(2)]
    assert outcomes == ["MISS", "HIT"]


def test_a_pause_of_the_platform_is_counted_from_its_answer(clocked, platform, tokens):
    """A pause lasts from the answer on, by elapsed time."""
    service = clocked.serve()
    clocked.set("+6h")
    platform.turn(faults={"*": {"kind": "rate_limited", "retry_after": "60"}})
    token = next(tokens)
    ask(service, "/api/quiz", token)
    for offset in JUMPS:
        clocked.set(offset)
        paused = ask(service, "/api/quiz", token)
        assert paused.status == 503
        assert 1 <= int(paused.headers["Retry-After"]) <= 60
    platform.turn(clear="*")


def test_the_watchdog_is_fed_by_the_time_that_passes(clocked, tmp_path):
    """systemd hears of the service in time, whatever the clock says."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(PATIENCE_SECONDS)
        clocked.serve(NOTIFY_SOCKET=path, WATCHDOG_USEC="2000000")
        for offset in JUMPS:
            clocked.set(offset)
            while b"WATCHDOG=1" not in (told := systemd.recv(4096)):
                assert b"STOPPING" not in told


def test_a_stop_waits_by_the_time_that_passes(clocked, platform, tokens):
    """What is under way is answered, though the clock passes every grace period."""
    service = clocked.serve(SHUTDOWN_GRACE_SECONDS="60")
    platform.turn(hold="*")
    answers: list[Answer] = []
    token = next(tokens)
    asking = Thread(target=lambda: answers.append(ask(service, "/api/quiz", token)))
    asking.start()
    until(lambda: platform.counters()["calls"].get("quizzes"))
    service.signal(signal.SIGTERM)
    service.wait_for_log("Stopping")
    clocked.set("+50h")
    platform.turn(release="*")
    asking.join()
    assert answers[0].status == 200
    assert service.wait() == 0
