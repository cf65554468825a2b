"""Fixtures that every test may use: a simulated platform and the service before it.

Both are real servers on free ports in the test's own loop. pytest-tornado is used
through `io_loop`, `http_server`, `base_url` and the `gen_test` mark only.
"""

import asyncio
import io
import json
import logging
import math
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop
from xdist.scheduler import LoadScopeScheduling

from aims_server.app import Machine, Worker, build
from aims_server.config.settings import VARIABLES, Settings
from aims_server.demo.college import College, Student
from aims_server.demo.platform import SimulatedPlatform
from aims_server.http_server.address_limit import AddressLimit
from aims_server.http_server.connection_counts import ConnectionCounts
from aims_server.http_server.listener import Listener
from aims_server.logs.access_log import AccessLog
from aims_server.logs.handlers import configure_logging
from aims_server.metrics.recorder import Metrics
from aims_server.upstream.resilience import lateness

# How long an example takes on a busy machine proves nothing.
hypothesis_settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")


# A proxy out of this machine is none to what listens here.
os.environ["no_proxy"] = f"{os.environ.get('no_proxy', '')},localhost,127.0.0.1"


def pytest_configure() -> None:
    """Without a current loop `asyncio.get_event_loop` would make one of its own, which
    nobody closes.
    """
    asyncio.set_event_loop(None)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for examples in the package's docstrings, not in the tests' helpers."""
    name = collection_path.name
    return True if name.endswith(".py") and not name.startswith("test_") else None


def pytest_xdist_auto_num_workers() -> int:
    """Three for each core, up to eight: tests of real processes mostly wait."""
    return min(8, 3 * len(os.sched_getaffinity(0)))


def _run_together(nodeid: str) -> str:
    """What the tests have in common that run in a row, for their fixtures: the file;
    the browser; each test of real processes runs by itself.
    """
    path = nodeid.partition("::")[0]
    folder, _, file = path.rpartition("/")
    if folder == "tests/page":
        return folder
    by_itself = folder == "tests/process" and file != "test_faults.py"
    return nodeid if by_itself else path


class Together(LoadScopeScheduling):  # type: ignore[misc]  # untyped to mypy
    """Which tests one process of pytest-xdist runs in a row."""

    def _split_scope(self, nodeid: str) -> str:
        return _run_together(nodeid)

    def remove_node(self, node: Any) -> str | None:
        """Count the test that ended its process as run: xdist would run it again, and a
        file without another test would never end.
        """
        work: dict[str, dict[str, bool]] = self.assigned_work[node]
        waiting = (
            (unit, name) for unit in work.values() for name in unit if not unit[name]
        )
        unit, crashed = next(waiting, ({}, None))
        if crashed is not None:
            unit[crashed] = True
        for scope in [scope for scope, unit in work.items() if all(unit.values())]:
            del work[scope]
        super().remove_node(node)
        return crashed


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Hand tests out in the order in which they were collected."""
    config.option.loadscopereorder = False
    return Together(config, log)


_LONGEST = (
    *("tests/page", "tests/process/test_faults", "tests/process/test_alerts_live"),
    *("tests/test_isolation", "tests/upstream/resilience/test_slow_days"),
)
_WAITING = ("tests/process", "tests/operations")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process ends long after the others.
    Tests of real processes, which mostly wait, are spread over those that compute.
    """
    together = [_run_together(item.nodeid) for item in items]
    waiting = dict.fromkeys(name for name in together if name.startswith(_WAITING))
    computing = [name for name in together if name not in waiting]
    place: dict[str, float] = {}
    for group in (list(waiting), computing):
        for number, name in enumerate(group):
            place.setdefault(name, number / len(group))
    place |= {name: -1 for name in place if name.startswith(_LONGEST)}
    items.sort(key=lambda item: place[_run_together(item.nodeid)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """Report what a test logged in UTF-8: xdist cannot send half a surrogate pair."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked ``both_loops`` on each loop that a worker may have."""
    if metafunc.definition.get_closest_marker("both_loops"):
        if "loop_kind" not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, "loop_kind")
        metafunc.parametrize("loop_kind", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture(name="loop_kind")
def _loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if getattr(request, "param", "asyncio") == "uvloop":  # the extra "fast"
        monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)


@pytest.fixture
def io_loop(loop_kind: None, io_loop: IOLoop) -> IOLoop:
    """The loop of pytest-tornado, of the kind that is asked for."""
    return io_loop


@pytest.fixture(scope="session", name="college")
def _college() -> College:
    return College(students=600)


@pytest.fixture(name="platform")
def _platform(io_loop: IOLoop, college: College) -> Iterator[SimulatedPlatform]:
    platform = SimulatedPlatform(college)
    io_loop.run_sync(platform.start)
    yield platform
    io_loop.run_sync(platform.stop)


@pytest.fixture(name="settings")
def _settings(request: pytest.FixtureRequest, platform: SimulatedPlatform) -> Settings:
    """Those of the service under test. The mark ``settings`` changes some: that of the
    test, else that of its class, else that of its module.
    """
    mark = request.node.get_closest_marker("settings")
    changes = mark.kwargs if mark else {}
    assert changes.keys() <= {variable.name for variable in VARIABLES}
    return Settings.from_mapping(
        {
            "EXTERNAL_API_BASE": platform.base_url,
            "PREFETCH_ON_LOGIN": "false",
            **changes,
        }
    )


class LogLines(io.StringIO):
    """What was logged, a JSON object a line."""

    def told(self) -> list[dict[str, Any]]:
        """All of it, or since it was last forgotten."""
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def forget(self) -> None:
        """Begin anew."""
        self.seek(self.truncate(0))


@pytest.fixture(name="access_lines")
def _access_lines() -> Iterator[LogLines]:
    """What the service logs from INFO on, a JSON object a line."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = LogLines()
    configure_logging("info", "json", lines)
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


class Clock:
    """Real time that a test may push forward, for what is kept and for how long."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._wall_off = 0.0
        self._stopped_at: float | None = None

    def stop(self) -> None:
        """From now on monotonic time passes only by `advance`. It stands at a full
        second: sums of fractions are rounded otherwise beyond each power of two.
        """
        self._stopped_at = float(math.ceil(time.monotonic()))

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._ahead += seconds

    def limiter_ns(self) -> int:
        """Nanoseconds of the limits' clock, for which time passes only by `advance`: a
        busy machine refills no bucket while a test counts.
        """
        return 10**12 + round(self._ahead * 1e9)

    def monotonic(self) -> float:
        """Seconds of the service's monotonic clock."""
        now = time.monotonic() if self._stopped_at is None else self._stopped_at
        return now + self._ahead

    def wall(self) -> float:
        """Unix time as the service sees it."""
        return time.time() + self._ahead + self._wall_off

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back; monotonic time takes no notice."""
        self._wall_off = seconds


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="machine")
def _machine(settings: Settings, clock: Clock) -> Machine:
    return Machine(settings, clock=clock.monotonic, clock_ns=clock.limiter_ns)


@pytest.fixture(name="hedges")
def _hedges(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, so that calls can be counted: on a busy machine some would be late, and get
    another one beside them, the first of all too. Override to have them.
    """
    monkeypatch.setattr(lateness, "_ENOUGH", 10**9)
    monkeypatch.setattr(lateness, "_UNKNOWN_SECONDS", math.inf)


@pytest.fixture(name="worker")
def _worker(
    io_loop: IOLoop,
    settings: Settings,
    machine: Machine,
    access_lines: LogLines,
    clock: Clock,
    hedges: None,
) -> Iterator[Worker]:
    async def make() -> Worker:
        return build(
            settings,
            machine,
            metrics=Metrics(),
            access_log=AccessLog(),
            clock=clock.monotonic,
            wall=clock.wall,
        )

    worker = io_loop.run_sync(make)
    yield worker
    io_loop.run_sync(worker.close)


@pytest.fixture(name="listener_options")
def _listener_options() -> dict[str, Any]:
    """Arguments of the service's listener; override to change some."""
    return {}


@pytest.fixture
def http_server(
    io_loop: IOLoop,
    _unused_port: Any,
    worker: Worker,
    listener_options: dict[str, Any],
) -> Iterator[Listener]:
    """The service's own server in place of pytest-tornado's plain one."""
    options = {
        "max_connections": 2000,
        "address_limit": AddressLimit(2000, exempt=lambda peer: True),
        "on_refused": bool,
        **listener_options,
    }
    listener = Listener(
        worker.delegate,
        reject=worker.reject,
        fast_path=worker.fast_path,
        connection_count=ConnectionCounts().of(0),
        **options,
    )
    listener.add_sockets([_unused_port[0]])
    yield listener
    listener.stop()
    io_loop.run_sync(listener.close_all_connections)


class Front:
    """A frontend of the service: asks, and reads what comes back."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._client = AsyncHTTPClient(force_instance=True, max_clients=1000)

    async def ask(
        self,
        path: str,
        token: str | None = None,
        *,
        method: str = "GET",
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> HTTPResponse:
        """One request; `body` is sent as it is when it is bytes, else as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        request = HTTPRequest(
            self.base_url + path,
            method=method,
            headers=sent,
            body=body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            request_timeout=60,
        )
        return await self._client.fetch(request, raise_error=False)

    async def log_in(self, student: Student) -> str:
        """The token of a login."""
        answer = await self.ask(
            "/api/login",
            method="POST",
            body={"username": student.username, "password": student.password},
        )
        return str(json.loads(answer.body)["token"])

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


@pytest.fixture(name="front")
def _front(io_loop: IOLoop, http_server: Listener, base_url: str) -> Iterator[Front]:
    front = Front(base_url.replace("localhost", "127.0.0.1"))
    yield front
    front.close()


@pytest.fixture(name="student")
def _student(college: College) -> Student:
    return college.student(0)


@pytest.fixture(name="token")
def _token(college: College, student: Student) -> str:
    return college.token(student)
