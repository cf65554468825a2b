"""The alert rules before the real service and a real Prometheus: none fires at what an
operator does, each is fired by its fault, and clears when that is over. Minutes are
seconds here; that the rules wait as long as they say is for promtool's tests
(tests/operations/alerts_test.yml).
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count, islice
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest

from aims_server.demo.college import College
from aims_server.store.sealing import Secrets

from ..operations.programs import CONF, program, wait_for_port
from ..store.server import StoreServer
from ..waiting import PATIENCE_SECONDS, free_port, until
from .conftest import Platform, Service, hand_over, shell

pytestmark = pytest.mark.process

SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
WINDOW = "3s"  # for each [5m], [10m], …
# A restart may keep a scrape or two waiting, which "for: 1m" has to outlast.
WAITS = {"1m": "2s", "2m": "1s", "5m": "1s", "10m": "1s"}
MEMORY_MAX = "2 * 1024 * 1024 * 1024"
COLLEGE = College(students=3000)
PATCHY = {"kind": "close_before_answer", "share": 0.4}
REFUSING = {"kind": "body", "status": 401, "body": '{"msg":"Unauthorized"}'}


class Prometheus:
    """A Prometheus that scrapes one service every half second."""

    def __init__(self, directory: Path, target: str, memory_max: float) -> None:
        rules = (CONF / "alerts.yml").read_text()
        assert MEMORY_MAX in rules
        rules = rules.replace(MEMORY_MAX, str(memory_max))
        rules = re.sub(r"\[\d+m\]", f"[{WINDOW}]", rules)
        (directory / "alerts.yml").write_text(
            re.sub(r"for: (\w+)", lambda wait: f"for: {WAITS[wait[1]]}", rules)
        )
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 400ms,"
            " evaluation_interval: 500ms}\n"
            "rule_files: [alerts.yml]\n"
            "scrape_configs:\n"
            "  - job_name: aims-server\n"
            f"    static_configs: [{{targets: ['{target}']}}]\n"
        )
        self._port = free_port()
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self._port, self.process)
        self.wait_until_scraped()

    def wait_until_scraped(self) -> None:
        """Wait for the first figures: only what comes after them is an increase."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(urllib.error.HTTPError):  # 503 until it is ready
                if self.query("aims_worker_deaths_total"):
                    return
            time.sleep(0.2)
        raise AssertionError("nothing is scraped")

    def query(self, expression: str) -> list[dict[str, str]]:
        """The labels of what it selects."""
        url = f"http://127.0.0.1:{self._port}/api/v1/query?query={quote(expression)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return [found["metric"] for found in json.load(answer)["data"]["result"]]

    def firing(self, within: str = "") -> set[str]:
        """The names of the alerts that fire now, or did at any time ``within``."""
        fired = 'ALERTS{alertstate="firing"}'
        if within:
            fired = f"max_over_time({fired}[{within}])"
        return {labels["alertname"] for labels in self.query(fired)}

    def wait_until_fired(
        self, alerts: set[str], meanwhile: Callable[[], object]
    ) -> None:
        """Wait until each of them has fired since now, if not all at once."""
        began = time.monotonic()
        while not alerts <= (
            fired := self.firing(f"{time.monotonic() - began + 1:.0f}s")
        ):
            assert time.monotonic() < began + PATIENCE_SECONDS, fired
            meanwhile()
            time.sleep(0.1)

    def wait_until_clear(self, meanwhile: Callable[[], object]) -> None:
        """Wait until nothing fires; of a machine that is starved, loops do lag."""
        end = time.monotonic() + PATIENCE_SECONDS
        while firing := self.firing() - {"AimsLoopLagging"}:
            assert time.monotonic() < end, firing
            meanwhile()
            time.sleep(0.1)


class Scene:
    """A service that may be restarted, its platform, its store and its Prometheus."""

    def __init__(
        self,
        start: Callable[..., Service],
        platform: Platform,
        store: StoreServer,
        directory: Path,
        stack: ExitStack,
    ) -> None:
        self._start = start
        self._stack = stack
        self.platform = platform
        self.store = store
        self.seen: set[str] = set()
        ids = (COLLEGE.student(n) for n in range(COLLEGE.students))
        self._strangers = map(COLLEGE.token, ids)
        self.held = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.start()
        self.keep_others()
        resident = sum(self.service.figures("aims_worker_resident_bytes"))
        self.prometheus = Prometheus(
            directory, "{}:{}".format(*self.held.getsockname()), 2.0 / 0.85 * resident
        )
        stack.callback(self.prometheus.process.wait)
        stack.callback(self.prometheus.process.kill)

    def start(self) -> None:
        """Start the service."""
        self.service = self._start(
            # The socket stays, as systemd's does, and no scrape is refused.
            command=shell(f"echo WORKERS=2 >.env && {hand_over(self.held.fileno())}"),
            pass_fds=[self.held.fileno()],
            EXTERNAL_API_BASE=self.platform.url,
            STORE_URL=self.store.url,
            STORE_SECRET=SECRET,
            RATE_LIMIT_PER_MINUTE="1000000",
            RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000",
            LOGIN_LIMIT_PER_MINUTE="1",
            MAX_CONCURRENT_REQUESTS="6",
            DRAIN_DELAY_SECONDS="0.2",
        ).wait_until_serving()

    def stop(self) -> None:
        """Stop it."""
        self.service.signal(signal.SIGTERM)
        assert self.service.wait() == 0

    def reload(self, workers: int = 2, ttl: int = 300) -> None:
        """With so many workers, and pages that are fresh for so many seconds."""
        before = self.service.workers()
        (self.service.directory / ".env").write_text(
            f"WORKERS={workers}\nCACHE_TTL_SECONDS={ttl}\n"
        )
        self.service.signal(signal.SIGHUP)
        self.service.wait_for_workers(workers, but=before)

    def keep_others(self) -> None:
        """Have pages of twelve students kept, and ask for those from now on."""
        self.kept = [next(self._strangers) for _ in range(12)]
        self.ask_kept()

    def ask_kept(self) -> None:
        """Students whose pages are kept."""
        for token in self.kept:
            self.service.get("/api/quiz", token)

    def ask_strangers(self) -> None:
        """Students who were not met before, ten at once."""
        with ThreadPoolExecutor(10) as pool:
            for _ in range(10):
                token = next(self._strangers)
                pool.submit(self.service.get, "/api/attendance", token)

    def ask_all(self) -> None:
        """Strangers, and those who are kept for what is not: their calls count."""
        self.ask_strangers()
        self.ask_kept()
        for token in self.kept:
            self.service.get("/api/attendance", token)

    def breakers_closed(self) -> bool:
        """Whether all are, once they had calls that may close them."""
        self.ask_all()
        return not any(self.service.figures("aims_breaker_state"))

    def fires(self, *alerts: str, meanwhile: Callable[[], object]) -> None:
        """Wait until these do."""
        self.prometheus.wait_until_fired(set(alerts), meanwhile)
        self.seen |= set(alerts)

    def clears(self) -> None:
        """Wait until none does."""
        self.prometheus.wait_until_clear(self.ask_kept)


@pytest.fixture(name="scene")
def _scene(start, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        platform = Platform("--students", str(COLLEGE.students))
        stack.callback(platform.close)
        store = StoreServer(tmp_path).start()
        stack.callback(store.kill)
        yield Scene(start, platform, store, tmp_path, stack)


class Impostor(BaseHTTPRequestHandler):
    """What answers at the service's address and is none."""

    def do_GET(self) -> None:
        """A page of metrics without one of ours."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        with suppress(OSError):  # a scrape that has waited too long for its turn
            self.wfile.write(b"up_and_well 1\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_alerts_fire_and_clear(scene: Scene):
    """One fault after the other makes every rule of the file fire and clear."""
    by_an_operator(scene)
    by_ourselves(scene)
    by_clients(scene)
    by_the_platform(scene)
    by_the_store(scene)
    by_a_slow_platform(scene)
    scene.clears()
    by_an_absence(scene)
    scene.clears()
    rules = (CONF / "alerts.yml").read_text()
    assert scene.seen == set(re.findall(r"alert: (\w+)", rules))


# A share of a few seconds' requests, or a wait of seconds, which a starved machine may
# outlast; promtool's tests have the true minutes. What is counted leaves no doubt.
BY_MINUTES = {
    *("AimsServerDown", "AimsNoReadyWorker", "AimsStoreDown", "AimsRefusalsWaiting"),
    *("AimsLoopLagging", "AimsMemoryNearLimit", "AimsSlowAnswers", "AimsCallsWaiting"),
    "AimsStaleShareHigh",
}


def by_an_operator(scene: Scene) -> None:
    """Reloads, a worker told to end, restarts: no alert, and no death is counted."""
    scene.clears()  # of what fired before the first scrape
    began = time.monotonic()
    deaths = []
    for _ in range(2):
        scene.reload()
        scene.ask_kept()
    (told, _) = scene.service.workers()
    os.kill(told, signal.SIGTERM)
    scene.service.wait_for_workers(2, but=[told])
    for _ in range(2):
        deaths += scene.service.figures("aims_worker_deaths_total")
        scene.stop()
        scene.start()
        scene.ask_kept()
    deaths += scene.service.figures("aims_worker_deaths_total")
    end = time.monotonic() + 2.5  # what is pending would fire
    while time.monotonic() < end:
        scene.ask_kept()
        time.sleep(0.1)
    assert deaths == [0.0] * 3
    fired = scene.prometheus.firing(f"{time.monotonic() - began:.0f}s")
    assert fired <= BY_MINUTES


def by_ourselves(scene: Scene) -> None:
    """Workers die, hang for a moment, and need too much memory."""
    service = scene.service

    def kill() -> None:
        """All workers, once they serve: a death before would be a failed start."""
        until(lambda: len(service.figures("aims_worker_start_time_seconds")) == 2)
        victims = service.workers()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        service.wait_for_workers(2, but=victims)

    scene.fires("AimsWorkersRestarting", meanwhile=kill)
    scene.ask_kept()

    def hang() -> None:
        for worker in service.workers():
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(worker, signal.SIGCONT)

    scene.fires("AimsLoopLagging", meanwhile=hang)
    scene.reload(workers=6)
    scene.fires("AimsMemoryNearLimit", meanwhile=scene.ask_kept)
    scene.reload()


def by_clients(scene: Scene) -> None:
    """Somebody tries passwords, of one account and of many."""
    accounts = count(1)

    def log_in() -> None:
        for number in (*[0] * 10, *islice(accounts, 10)):
            body = b"username=2099B%07d&password=x" % number
            request = urllib.request.Request(f"{scene.service.url}/api/login", body)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
            refused.value.close()

    scene.fires("AimsManyLimited", "AimsLoginsRefused", meanwhile=log_in)


def by_the_platform(scene: Scene) -> None:
    """It mixes students up, drops connections, refuses everybody, and fails."""
    platform = scene.platform
    scene.reload(ttl=3)
    scene.keep_others()
    platform.turn(switches={"answers_for": COLLEGE.student(0).id})
    scene.fires("AimsWrongStudent", meanwhile=scene.ask_strangers)
    platform.turn(switches={"answers_for": None}, faults={"*": PATCHY})
    scene.fires("AimsRetriesHigh", meanwhile=scene.ask_strangers)
    platform.turn(clear="*", faults={"*": REFUSING})
    scene.fires("AimsTokensRefused", meanwhile=scene.ask_strangers)

    platform.turn(clear="*", faults={"*": {"kind": "status", "status": 500}})
    scene.fires("AimsStaleShareHigh", meanwhile=scene.ask_kept)
    scene.fires(
        "AimsPlatformFailing",
        "AimsHighErrorRate",
        "AimsBreakerOpen",
        meanwhile=scene.ask_all,
    )
    platform.turn(clear="*")


def by_a_slow_platform(scene: Scene) -> None:
    """Its calls take all slots, and longer than five seconds."""
    until(scene.breakers_closed)

    def hold() -> None:
        scene.platform.turn(hold="*")
        asking = Thread(target=scene.ask_strangers)
        asking.start()
        time.sleep(5.5)  # AimsSlowAnswers: longer than 5 s
        scene.platform.turn(release="*")
        asking.join()

    scene.fires("AimsCallsWaiting", "AimsSlowAnswers", meanwhile=hold)


def by_the_store(scene: Scene) -> None:
    """It is gone, while a token is refused; and somebody else writes into it."""
    scene.store.kill()
    scene.platform.turn(revoke=scene.kept[0])
    scene.service.get("/api/timetable", scene.kept.pop(0))
    scene.fires("AimsStoreDown", "AimsRefusalsWaiting", meanwhile=scene.ask_kept)
    scene.store.start()
    stream = Secrets(b64decode(SECRET)).stream_key
    forged = ("XADD", stream, "*", "o", "nobody's")
    scene.fires("AimsStoreStrangeEntries", meanwhile=lambda: scene.store.ask(*forged))


def by_an_absence(scene: Scene) -> None:
    """Nobody answers; then something else does; then it is back."""
    scene.stop()
    scene.fires("AimsServerDown", meanwhile=lambda: None)
    with HTTPServer(scene.held.getsockname(), Impostor, False) as impostor:
        impostor.socket.close()
        impostor.socket = scene.held.dup()
        answering = Thread(target=impostor.serve_forever, args=[0.02])
        answering.start()
        scene.fires("AimsNoReadyWorker", meanwhile=lambda: None)
        impostor.shutdown()
        answering.join()
    scene.start()
