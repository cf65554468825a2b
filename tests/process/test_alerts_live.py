"""The alert rules before the real service and a real Prometheus: each is fired by its
fault, and clears when that is over. Minutes are seconds here; that the rules wait as
long as they say is for promtool's tests (tests/operations/alerts_test.yml).
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..operations.programs import CONF, program, wait_for_port
from ..waiting import free_port
from .conftest import PATIENCE_SECONDS
from .crowd import tokens

pytestmark = pytest.mark.process

WINDOW = "3s"


class Prometheus:
    """A Prometheus that scrapes one service every half second."""

    def __init__(self, directory: Path, target: str) -> None:
        rules = (CONF / "alerts.yml").read_text()
        rules = re.sub(r"\[\d+m\]", f"[{WINDOW}]", rules)
        (directory / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 0s", rules))
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
        url = (
            f"http://127.0.0.1:{self._port}/api/v1/query?query=aims_worker_deaths_total"
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with (
                suppress(urllib.error.HTTPError),  # 503 until it is ready
                urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer,
            ):
                if json.load(answer)["data"]["result"]:
                    return
            time.sleep(0.2)
        raise AssertionError("nothing is scraped")

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        url = f"http://127.0.0.1:{self._port}/api/v1/alerts"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {
            alert["labels"]["alertname"]
            for alert in alerts
            if alert["state"] == "firing"
        }

    def wait(
        self,
        true: Callable[[set[str]], object],
        meanwhile: Callable[[], object] = lambda: time.sleep(0.2),
    ) -> None:
        """Wait until what fires is so."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not true(firing := self.firing()):
            assert time.monotonic() < end, firing
            meanwhile()


@pytest.fixture(name="scene")
def _scene(busy, tmp_path: Path) -> Iterator[tuple]:
    """A service that keeps nothing and has one call at a time, and its Prometheus."""
    service = busy(
        RATE_LIMIT_PER_MINUTE="1000000",
        LOGIN_LIMIT_PER_MINUTE="1",
        MAX_CONCURRENT_REQUESTS="2",
        REQUEST_TIMEOUT_SECONDS="1",
        GATHER_TIMEOUT_SECONDS="1",
    )
    prometheus = Prometheus(tmp_path, service.url.removeprefix("http://"))
    yield service, prometheus
    prometheus.process.kill()
    prometheus.process.wait()


def test_alerts_fire_and_clear(scene, platform):
    """Deaths, failures, refusals and an absence, one after the other."""
    service, prometheus = scene
    platform.turn(faults={"*": {"delay": 0.0}})
    students = tokens(12)

    def ask() -> None:
        for token in students:
            service.get("/api/quiz", token)

    def log_in() -> None:
        for _ in range(20):
            body = b"username=2099B0000000&password=x"
            request = urllib.request.Request(f"{service.url}/api/login", body)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
            refused.value.close()

    ask()
    prometheus.wait(lambda firing: "AimsServerDown" not in firing)
    assert "AimsWorkersRestarting" not in prometheus.firing()

    for _ in range(3):
        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        service.wait_for_workers(2, but=[victim])
    prometheus.wait(lambda firing: "AimsWorkersRestarting" in firing)

    platform.turn(faults={"*": {"kind": "status", "status": 500}})
    ill = {"AimsPlatformFailing", "AimsHighErrorRate", "AimsBreakerOpen"}
    prometheus.wait(lambda firing: firing >= ill, ask)
    platform.turn(clear="*")

    prometheus.wait(lambda firing: "AimsManyLimited" in firing, log_in)

    gone = {*ill, "AimsWorkersRestarting", "AimsManyLimited"}
    prometheus.wait(lambda firing: not firing & gone, ask)

    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    prometheus.wait(lambda firing: "AimsServerDown" in firing)
