"""The image and the compose file: what they promise, as read. ``.ci/image`` builds the
image and runs it, where a builder is.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import yaml

from aims_server.config.settings import VARIABLES, Settings

from ..waiting import PATIENCE_SECONDS
from .programs import ROOT, mebibytes, program, unit

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["aims-server"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions as (name, rest), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (x.partition(" ") for x in lines if x)]


def last_stage() -> dict[str, str]:
    """The instructions of the image that is shipped, the last of each name."""
    steps = instructions()
    begin = max(n for n, (name, _) in enumerate(steps) if name == "FROM")
    return dict(steps[begin:])


def image_environment() -> dict[str, str]:
    """What ENV sets in the shipped image."""
    return dict(pair.split("=", 1) for pair in last_stage()["ENV"].split())


class Health(ThreadingHTTPServer):
    """In the service's place: /health answers with ``status``."""

    status = 200


class _Answers(BaseHTTPRequestHandler):
    server: Health

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(name="health")
def _health() -> Iterator[Health]:
    with Health(("127.0.0.1", 0), _Answers) as server:
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_image_runs_as_a_user_without_rights():
    """The user is a number other than nought, which Kubernetes can judge."""
    user, group = last_stage()["USER"].split(":")
    assert int(user) >= 1000
    assert int(group) >= 1000


def test_the_build_tools_stay_behind():
    """The shipped stage takes wheels from another one and no sources."""
    assert sum(name == "FROM" for name, _ in instructions()) == 2
    assert "COPY" not in last_stage()
    assert "from=wheels" in last_stage()["RUN"]
    assert "--no-index" in last_stage()["RUN"]


def test_signals_reach_the_service_itself():
    """No shell stands between the engine and the parent process."""
    assert json.loads(last_stage()["ENTRYPOINT"]) == ["aims-server"]
    assert last_stage()["STOPSIGNAL"] == "SIGTERM"


def test_the_image_has_a_python_that_the_package_takes():
    """The base image is a slim Python of at least the version of setup.py."""
    (base,) = (rest for name, rest in instructions() if name == "ARG")
    match = re.fullmatch(r"PYTHON=python:3\.(\d+)-slim-\w+", base)
    wanted = re.search(r'python_requires=">=3\.(\d+)"', (ROOT / "setup.py").read_text())
    assert match
    assert wanted
    assert int(match[1]) >= int(wanted[1])


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_service(health: Health, status: int, healthy: bool):
    """The image's own check passes on 200, fails on 503, and heeds no proxy."""
    health.status = status
    command = last_stage()["HEALTHCHECK"].partition("CMD ")[2]
    _, *arguments = json.loads(command)
    environ = {"PORT": str(health.server_port), "http_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environ,
        timeout=PATIENCE_SECONDS,
        check=False,
        capture_output=True,
    )
    assert (done.returncode == 0) is healthy


def test_only_what_the_package_is_made_of_is_sent_to_the_engine():
    """Settings with secrets and the history never get near an image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:].rstrip("/") for rule in rules if rule.startswith("!")}
    assert let_in == {
        "aims_server",
        "conf",
        "systemd",
        "LICENSE",
        "README.rst",
        "pyproject.toml",
        "setup.py",
    }


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_bound(name: str):
    """Read-only root, no capability, no new rights, bounded memory, loopback only."""
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert mebibytes(service["mem_limit"]) <= 2048
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_mounted_file_is_in_the_repository(name: str):
    """A path that does not exist would be mounted as an empty directory."""
    for volume in COMPOSE["services"][name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_containers_get_the_time_that_draining_takes():
    """The engine's KILL never comes into a drain that keeps to the defaults."""
    defaults = Settings.from_mapping({})
    draining = defaults.drain_delay_seconds + defaults.shutdown_grace_seconds
    assert int(SERVICE["stop_grace_period"].rstrip("s")) > draining + 5


def test_the_settings_of_compose_exist():
    """What compose and the image set are variables that the service reads."""
    known = {variable.name for variable in VARIABLES}
    from_image = {name for name in image_environment() if not name.startswith("PYTHON")}
    assert set(SERVICE["environment"]) <= known
    assert from_image <= known
    Settings.from_mapping(
        {name: str(value) for name, value in SERVICE["environment"].items()}
    )


def test_the_unit_and_the_container_have_the_same_limits():
    """Memory, tasks and files are bounded alike under systemd and in compose."""
    service = unit("aims-server.service")
    assert mebibytes(service["MemoryMax"][0]) == mebibytes(SERVICE["mem_limit"])
    assert SERVICE["memswap_limit"] == SERVICE["mem_limit"]
    assert int(service["TasksMax"][0]) == SERVICE["pids_limit"]
    assert int(service["LimitNOFILE"][0]) == SERVICE["ulimits"]["nofile"]
    assert int(service["LimitCORE"][0]) == SERVICE["ulimits"]["core"]


@pytest.mark.parametrize(
    "files", [["compose.yml"], ["compose.yml", "compose.machines.yml"]]
)
def test_docker_compose_accepts_its_files(files: list[str]):
    """``docker compose config`` finds no fault in them."""
    compose = [program("docker"), "compose"]
    has = subprocess.run([*compose, "version"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip("docker has no compose here")
    chosen = [word for name in files for word in ("--file", name)]
    secrets = {"STORE_SECRET": "x", "STORE_PASSWORD": "x"}
    subprocess.run(
        [*compose, *chosen, "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, **secrets},
        check=True,
    )


def test_the_builder_of_the_image_is_a_program_that_bash_reads():
    """CI runs it, and takes the base that the Dockerfile names."""
    builder = ROOT / ".ci" / "image"
    subprocess.run([program("bash"), "-n", builder], check=True)
    assert os.access(builder, os.X_OK)
    (base,) = (rest for name, rest in instructions() if name == "ARG")
    assert f"base={base.removeprefix('PYTHON=')}\n" in builder.read_text()
