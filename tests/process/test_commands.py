"""The commands as a person types them."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ..waiting import PATIENCE_SECONDS, until
from .conftest import COMMAND, shell

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def run(
    *arguments: str, directory: Path, before: Sequence[str] = (), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end in this directory, with these settings only."""
    return subprocess.run(
        [*before, sys.executable, "-m", "aims_server", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_status_needs_no_settings_where_it_is_told_the_address(tmp_path):
    """While a wrong setting is being looked for, the running service can be asked."""
    done = run("status", "--url", "http://127.0.0.1:9", directory=tmp_path, PORT="x")
    assert done.returncode == 1
    assert "Connection refused (is it running there?" in done.stderr


def test_a_name_that_is_nearly_a_variable_is_warned_about(tmp_path):
    """systemd's EnvironmentFile= is the environment, where other names are no fault."""
    misspelt = {"LOG_LEVLE": "canary-secret", "CACHE_TTL": "3"}
    variables = misspelt | {"HOSTNAME": "x", "WORKER": "2", "LOG_FORMAT": "json"}
    done = run("check", "--quiet", directory=tmp_path, **variables)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "aims-server: warning: 'LOG_LEVLE': no such variable; the nearest is LOG_LEVEL",
        "aims-server: warning: 'CACHE_TTL': no such variable; the nearest is"
        " CACHE_TTL_SECONDS",
    ]


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ("127.0.0.1,localhost", "HOST=localhost, PORT="),
        ("0.0.0.0,127.0.0.1", "HOST=127.0.0.1, PORT="),
    ],
)
def test_addresses_that_include_each_other_are_told_so(tmp_path, hosts, told):
    """The port is taken by the service itself."""
    done = run(directory=tmp_path, HOST=hosts, PORT="0", METRICS_TOKEN="x")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert f"cannot listen on {told}" in line
    assert "(unless HOST names it twice, " in line


def test_a_port_that_needs_rights_says_which():
    """The message for a port below net.ipv4.ip_unprivileged_port_start says why."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("to give up root's rights one has to be root, with setpriv")
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    if int(first) <= 80:
        pytest.skip("everybody may listen on port 80 here")
    unprivileged = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if subprocess.run(
        [*unprivileged, sys.executable, "-c", ""], check=False
    ).returncode:
        pytest.skip(f"others may not run {sys.executable}")
    done = subprocess.run(
        [*unprivileged, sys.executable, "-m", "aims_server"],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "PORT=80: Permission denied (below" in done.stderr


def test_check_waits_for_no_silent_name_server(tmp_path, unresolving):
    """The store's name is still looked up: systemd would call the reload failed."""
    secret = {"STORE_URL": "redis://:x@store.example", "STORE_SECRET": "x" * 44}
    done = run("check", "--quiet", directory=tmp_path, before=unresolving, **secret)
    assert done.returncode == 0
    assert "STORE_URL: it cannot be reached (no answer in time)" in done.stderr


def test_check_may_be_quiet(tmp_path):
    """With `--quiet` and sound settings nothing is printed."""
    done = run("check", "--quiet", directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_prints_the_settings_and_no_secret(tmp_path):
    """check shows what would be used, and where it was read."""
    (tmp_path / ".env").write_text("PORT=4000\nMETRICS_TOKEN=canary-secret\n")
    done = run("check", directory=tmp_path)
    assert done.returncode == 0
    assert "PORT=4000\n" in done.stdout
    assert str(tmp_path / ".env") in done.stdout
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "encoding"), [(b"d\xff", "utf-8"), ("d→".encode(), "latin-1")]
)
def test_a_path_need_not_be_text(tmp_path, name, encoding):
    """It is shown as far as it can be."""
    directory = tmp_path / os.fsdecode(name)
    directory.mkdir()
    (directory / ".env").write_text("PORT=4000\n")
    done = run("check", directory=directory, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PORT=4000\n" in done.stdout
    assert f"{tmp_path}/d\\" in done.stdout


def test_wrong_settings_stop_the_start(tmp_path):
    """All faults are printed, a line each; exit status 78, no traceback."""
    done = run(directory=tmp_path, PORT="x", WORKERS="-1", LOG_LEVEL="loud")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 3
    assert all(name in done.stderr for name in ("PORT", "WORKERS", "LOG_LEVEL"))


def test_a_taken_port_is_one_clear_line(tmp_path):
    """The exit status says failure, and there is no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(directory=tmp_path, PORT=str(port))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"PORT={port}: " in done.stderr


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path):
    """Listening on somebody else's address fails in one line."""
    done = run(directory=tmp_path, HOST="203.0.113.7", PORT="0")
    assert done.returncode == 1
    assert "cannot listen on HOST=203.0.113.7, PORT=" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_demo_works_as_printed(tmp_path):
    """The demo's own lines, typed into a shell, log in and show attendance; they offer
    several students. Where a .env is of the college's platform, its proxy is not used.
    """
    (tmp_path / ".env").write_text("EXTERNAL_API_PROXY=http://127.0.0.1:9")
    demo = subprocess.Popen(
        [sys.executable, "-m", "aims_server", "demo"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = demo.stdout.readline()
            assert line, printed
            printed += line
        calls = "\n".join(
            line for line in printed.splitlines() if line.startswith("  ")
            and not re.match(r"    \d{4}B", line)
        )  # fmt: skip
        shell = subprocess.run(
            ["bash", "-ec", calls],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        offered = re.findall(r"^    (\d{4}B\d{7})  (.+?)  ", printed, re.MULTILINE)
        assert len(dict(offered)) >= 2
        assert "dailyAttendance" in shell.stdout
        assert "quiz_link" in shell.stdout
        assert '"status":"healthy"' in shell.stdout
        assert "HTTP/1.1 200" in shell.stdout
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in demo.stderr.read()
        demo.stdout.close()
        demo.stderr.close()


def test_a_worker_loads_no_library_of_its_own(start):
    """All that it runs on is there before the fork: loaded once, shared by all."""

    def libraries(pid: int) -> set[str]:
        maps = Path(f"/proc/{pid}/maps").read_text()
        return set(re.findall(r"\S+\.so\S*", maps))

    service = start(WORKERS="2").wait_until_serving()
    assert service.get("/health")[0] == 200
    shared = libraries(service.process.pid)
    assert [libraries(pid) - shared for pid in service.workers()] == [set(), set()]


def test_status_shows_a_running_service(start, tmp_path):
    """It prints a table or JSON; a wrong token is one line."""
    service = start(WORKERS="2", METRICS_TOKEN="right").wait_until_serving()
    arguments = ("status", "--url", service.url)
    shown = run(*arguments, directory=tmp_path, METRICS_TOKEN="right")
    assert shown.returncode == 0
    assert "Platform\n  endpoint" in shown.stdout
    figures = run(*arguments, "--json", directory=tmp_path, METRICS_TOKEN="right")
    assert set(json.loads(figures.stdout)["workers"]) == {"0", "1"}
    wrong = run(*arguments, directory=tmp_path, METRICS_TOKEN="wrong")
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines() == [
        f"aims-server: {service.url} answered 401: METRICS_TOKEN is another one"
    ]
    without = run(*arguments, directory=tmp_path)
    assert "answered 401: METRICS_TOKEN is not set here" in without.stderr


def test_status_says_why_it_is_refused_the_figures(start, tmp_path):
    """Somebody guesses at METRICS_TOKEN from the same address."""
    service = start(WORKERS="1", METRICS_TOKEN="right").wait_until_serving()
    arguments = ("status", "--url", service.url)

    def refused():
        """The command may take longer to start than one guess more takes to be free."""
        while service.get("/metrics", "wrong")[0] != 429:
            pass
        done = run(*arguments, directory=tmp_path, METRICS_TOKEN="right")
        return done.returncode == 1 and "answered 429: too many wrong" in done.stderr

    until(refused)


def test_status_may_be_watched(start, tmp_path):
    """`--watch` draws until it is interrupted."""
    service = start(WORKERS="1").wait_until_serving()
    reader, writer = os.openpty()
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "aims_server",
            "status",
            "--watch",
            "--url",
            service.url,
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TERM": "xterm"},
        stdin=writer,
        stdout=writer,
        stderr=writer,
    ) as watching:
        os.close(writer)
        seen = b""
        while b"Platform" not in seen:
            seen += os.read(reader, 65536)
        watching.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal ends with its last process
            while os.read(reader, 65536):
                pass
    os.close(reader)
    assert watching.returncode == 130


def test_a_reader_that_has_gone_is_no_fault(tmp_path):
    """``aims-server check | head -0``: no word on stderr, and the same status."""
    reader, writer = os.pipe()
    os.close(reader)
    done = unread(writer, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_full_disk_below_the_output_is_one_line(tmp_path, variables):
    """A full disk under stdout gives one line and the status 1."""
    done = unread(os.open("/dev/full", os.O_WRONLY), tmp_path, **variables)
    assert done.returncode == 1
    assert done.stderr == (
        b"aims-server: cannot write the output: No space left on device\n"
    )


@pytest.mark.parametrize(
    ("variables", "status"),
    [({"PORT": "many"}, 78), ({"HOST": "0.0.0.0"}, 0)],
    ids=["a fault", "a warning"],
)
def test_a_full_disk_below_the_faults_changes_no_status(tmp_path, variables, status):
    """What cannot be written to stderr is lost: a wrong setting is no reason to try
    again, and a warning none to fail a reload.
    """
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aims_server", "check", "--quiet"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **variables},
            stderr=full,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == status


def unread(
    output: int, directory: Path, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """``aims-server check`` into a file that takes nothing, which is closed then."""
    try:
        return subprocess.run(
            [sys.executable, "-m", "aims_server", "check"],
            cwd=directory,
            env={"PATH": os.environ["PATH"], **variables},
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    finally:
        os.close(output)


@pytest.mark.parametrize(
    ("limit", "command", "status", "told"),
    [
        *(
            ("-n 40", command, 78, "open files are limited to 40, and 280 are needed")
            for command in ("serve", "check")
        ),
        ("-v 200000", "serve", 1, "no memory for what the workers share: Cannot alloc"),
    ],
)
def test_limits_that_are_too_low_are_one_line(tmp_path, limit, command, status, told):
    """What is missing and what to raise; `check` says of files what a start does."""
    done = subprocess.run(
        shell(f"ulimit {limit}", (*COMMAND, command)),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr.splitlines()[-1].startswith(f"aims-server: {told}")
    assert "Traceback" not in done.stderr
