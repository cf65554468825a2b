"""The units under a real systemd, in a small machine made of namespaces."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..waiting import PATIENCE_SECONDS
from .programs import ROOT, program

pytestmark = pytest.mark.process

HERE = Path(__file__).parent
SYSTEMD = Path("/usr/lib/systemd/systemd")
NAMESPACES = [
    *("--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--net"),
    *("--cgroup", "--propagation", "private"),
]
SECONDS = 300


@pytest.fixture(name="leaf", scope="module")
def _leaf() -> Iterator[Path]:
    """A cgroup of its own, so that the machine's systemd sees no other process."""
    if os.geteuid() != 0:
        pytest.skip("a systemd of its own needs root")
    if not SYSTEMD.exists():
        pytest.skip("systemd is not installed; .ci/run installs it")
    for command in ("unshare", "setpriv"):
        program(command)
    ours = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    where = next((m[1] for m in mounts if m[2] == "cgroup2"), None)
    possible = subprocess.run(
        [program("unshare"), *NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    if where is None or possible.returncode:
        pytest.skip("namespaces or cgroups cannot be made here (a container?)")
    leaf = Path(where + ours, f"aims-test-{os.getpid()}")
    try:
        leaf.mkdir()
    except OSError:
        pytest.skip("cgroups cannot be made here (a container?)")
    yield leaf
    end = time.monotonic() + PATIENCE_SECONDS
    while "populated 1" in (leaf / "cgroup.events").read_text():
        assert time.monotonic() < end, "the machine does not end"
        time.sleep(0.05)
    for directory, _, _ in os.walk(leaf, topdown=False):
        os.rmdir(directory)


@pytest.fixture(name="facts", scope="module")
def _facts(leaf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What visit.py found in the machine."""
    shared = tmp_path_factory.mktemp("machine")
    enter = f'echo $$ >"{leaf}/cgroup.procs" && exec "$@"'
    with (shared / "machine.log").open("wb") as log:
        machine = subprocess.Popen(
            [
                *("bash", "-c", enter, "enter", program("unshare"), *NAMESPACES),
                *("bash", HERE / "machine.sh", shared),
                *(Path(sys.executable).name, sys.base_prefix),
                *(Path(msgspec.__file__).parents[1], ROOT),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    end = time.monotonic() + SECONDS
    while not (shared / "done").exists() and machine.poll() is None:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    machine.kill()  # --kill-child: and the machine with it
    machine.wait()
    if not (shared / "facts.json").exists():
        logs = [path.read_text() for path in sorted(shared.glob("*.log"))]
        raise AssertionError("\n".join(logs))
    facts: dict[str, Any] = json.loads((shared / "facts.json").read_text())
    facts["log"] = (shared / "service.log").read_text()
    return facts


def test_it_is_ready_when_it_says_so(facts: dict[str, Any]):
    """A start ends when the workers serve, with a status a person can read."""
    assert facts["started"]["ActiveState"] == "active"
    assert facts["started"]["StatusText"] == "Serving with 2 workers"
    assert facts["started"]["NRestarts"] == "0"


def test_it_is_nobody_with_no_rights(facts: dict[str, Any]):
    """A user made for the run, no capability, system calls filtered."""
    assert facts["started"]["User"] == "aims-server"
    assert int(facts["process"]["Uid"].split()[0]) >= 61184  # systemd's dynamic ones
    assert int(facts["process"]["CapBnd"], 16) == 0
    assert facts["process"]["NoNewPrivs"] == "1"
    assert facts["process"]["Seccomp"] == "2"


def test_it_works_under_its_hardening(facts: dict[str, Any]):
    """A student logs in and reads the page of all subjects."""
    assert facts["login"] == 200
    assert facts["page"] == [200, 15]


def test_a_dead_worker_is_replaced_without_a_restart(facts: dict[str, Any]):
    """systemd does not even notice."""
    assert facts["worker replaced"] is True
    assert facts["reloaded"]["same parent"] is True


def test_a_reload_replaces_the_workers_without_a_loss(facts: dict[str, Any]):
    """``systemctl reload``: the same parent, other workers, only 200s meanwhile."""
    assert list(facts["reload"]) == ["200"]
    assert facts["reloaded"] == {
        "same parent": True,
        "new workers": 2,
        "active": True,
    }


def test_a_restart_refuses_no_connection(facts: dict[str, Any]):
    """``systemctl restart`` with the socket unit: clients wait, and all get 200."""
    assert facts["restarted"] is True
    assert list(facts["restart"]) == ["200"]


def test_a_hung_parent_is_restarted(facts: dict[str, Any]):
    """The watchdog ends a parent that stands still, and systemd starts another."""
    assert facts["watchdog"] is True
    assert facts["watched"] == ["1", True]


def test_a_stop_is_clean(facts: dict[str, Any]):
    """SIGTERM drains and the exit status is 0."""
    assert facts["stopped"] == {
        "ActiveState": "inactive",
        "Result": "success",
        "ExecMainStatus": "0",
    }


def test_it_works_without_its_socket(facts: dict[str, Any]):
    """The service alone binds HOST and PORT."""
    assert facts["alone"] == ["inactive", True]


def test_a_wrong_setting_fails_the_reload_and_changes_nothing(facts: dict[str, Any]):
    """``systemctl reload`` says so, and the workers are the same."""
    assert facts["wrong reload"] == {
        "failed": True,
        "same workers": True,
        "status": 200,
    }
    assert "WORKERS='many': must be" in facts["log"]


def test_a_reload_after_an_upgrade_asks_for_a_restart(facts: dict[str, Any]):
    """It goes on with the old code and says so, in the log and in the status."""
    assert "restart" in facts["upgraded"]["StatusText"]
    assert "the program has changed on disk" in facts["log"]


def test_a_wrong_setting_under_the_socket_stops_once(facts: dict[str, Any]):
    """One start, one line; then nobody listens, and the documented way back works."""
    assert facts["socket stopped"] is True
    assert facts["asked in vain"] == [0, 0, 0]
    assert facts["misconfigured with socket"] == {
        "ActiveState": "failed",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    assert facts["log"].count("CACHE_MAX_MB='much'") == 1
    assert "no longer listening. Correct them, then: systemctl start" in facts["log"]
    assert facts["back"] == ["active", "active", True]


FINDINGS = {
    "curl -s http://127.0.0.1:3001/health": '"state":"closed"',
    "systemctl status aims-server": "Serving with 2 workers",
    "systemctl reload aims-server": "",
    "systemctl reset-failed aims-server.socket aims-server.service": "",
    "systemctl start aims-server.socket aims-server.service": "",
    "aims-server check": "EXTERNAL_API_BASE",
    "aims-server status": "under way",
    "aims-server --version": "aims-server",
    "journalctl -u aims-server -n 50": "Serving on 127.0.0.1:3001",
    "journalctl -u aims-server -p err": "Worker 0 died (SIGKILL)",
    "journalctl -u aims-server -p warning": "login failed on 127.0.0.1",
    'journalctl -u aims-server -p err -g "died|silent|not start"': (
        "Worker 0 died (SIGKILL)"
    ),
    'journalctl -u aims-server -p err -g "another student"': "-- No entries --",
    'journalctl -u aims-server -g "/api/login 40[13]"': "/api/login 401",
    'journalctl -u aims-server -g \'"code":"unauthorized"\'': "/api/attendance 401",
}


def test_each_command_of_the_runbooks_finds_what_it_should(facts: dict[str, Any]):
    """Each is run on a service that lost a worker, whose platform failed, and that
    refused a login and a token.
    """
    found = facts["runbook"]
    by_request = "journalctl -u aims-server -g 9f86d081884c7d65"
    expected = {**FINDINGS, by_request: facts["runbook's request"]}
    assert set(found) == set(expected)
    for command, (status, output) in found.items():
        assert expected[command] in output, command
        assert status == 0 or "No entries" in output, command


def test_the_runbook_leads_out_of_a_crash_loop(facts: dict[str, Any]):
    """The socket has failed with the service, and both are back."""
    assert facts["crash loop"] is True
    assert facts["after a crash loop"] == ["active", "active", True]


def test_a_priority_leaves_the_rest_out(facts: dict[str, Any]):
    """-p err shows errors alone: no warning, nothing of a start."""
    _, output = facts["runbook"]["journalctl -u aims-server -p err"]
    assert "login failed" not in output
    assert "Serving on" not in output


def test_a_wrong_setting_ends_the_start_once(facts: dict[str, Any]):
    """Exit status 78 with a line that names the variable; no second try."""
    assert facts["misconfigured"] == {
        "ActiveState": "failed",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    assert "PORT" in facts["log"].splitlines()[-2]
