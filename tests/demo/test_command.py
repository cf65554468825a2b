import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec
import pytest

from ..children import alive
from ..waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.process


@contextmanager
def started(*arguments, stdin=subprocess.DEVNULL):
    """Run the platform as a process; yields it and its line."""
    with subprocess.Popen(
        [sys.executable, "-m", "aims_server.demo", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, msgspec.json.decode(process.stdout.readline())
        finally:
            process.kill()


def test_prints_one_line_when_ready():
    """The line has address, three sets of credentials and the process id."""
    with started("--delay", "0.01", "--students", "5") as (process, line):
        assert line["pid"] == process.pid
        assert len({one["username"] for one in line["credentials"]}) == 3
        with urlopen(line["control"]) as answer:
            state = msgspec.json.decode(answer.read())
        assert state["faults"]["cards"]["delay"] == 0.01


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(number):
    """SIGTERM and SIGINT end it with status 0 and not a word."""
    with started() as (process, _):
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")
        assert process.returncode == 0


def test_end_of_stdin_ends_it():
    """With a pipe for stdin SIGINT is the parent's affair, the pipe's end is not."""
    with started(stdin=subprocess.PIPE) as (process, _):
        process.stdin.write("ignored\n")
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_dies_with_its_parent():
    """When the parent is killed, it goes too, though a pipe is still open."""
    code = (
        "import subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-m', 'aims_server.demo'],"
        " stdin=subprocess.DEVNULL);"
        "time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = msgspec.json.decode(parent.stdout.readline())["pid"]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(pid))


def test_taken_port_is_one_line():
    """A port in use is told in one line, status 1, without a traceback."""
    with started() as (_, line):
        port = line["url"].split(":")[2].split("/")[0]
        second = subprocess.run(
            [sys.executable, "-m", "aims_server.demo", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "Traceback" not in second.stderr


def test_term_reaches_up_to_today():
    """Without --today the schedule is that of the present month in India."""
    india = timezone(timedelta(hours=5, minutes=30))
    before = f"{datetime.now(india):%B-%Y}"
    with started("--students", "1") as (_, line):
        assert len({one["username"] for one in line["credentials"]}) == 1
        login = urlencode(line["credentials"][0]).encode()
        with urlopen(line["url"] + "/admin/authenticate", login) as answer:
            token = msgspec.json.decode(answer.read())["token"]
        schedule = Request(
            line["url"] + "/custom/getMyScheduleStudent",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urlopen(schedule) as answer:
            rows = msgspec.json.decode(answer.read())["response"]["data"]
    assert rows[0]["name"][3:-4] in {before, f"{datetime.now(india):%B-%Y}"}
