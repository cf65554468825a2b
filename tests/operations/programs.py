"""The repository's operational files, and the outside programs that judge them."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ..waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


def program(name: str) -> str:
    """The path of an outside program; without it the test is skipped and says so."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
    if path is None:
        pytest.skip(f"{name} is not installed; .ci/run installs it")
    return path


def accepted_by(name: str, *arguments: str | Path) -> str:
    """What the program says; its refusal fails the test with its own words."""
    done = subprocess.run(
        [program(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def unit(name: str) -> dict[str, list[str]]:
    """A unit file's settings; each with all its values, since lines add up."""
    settings: dict[str, list[str]] = {}
    for line in (ROOT / "systemd" / name).read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


def mebibytes(text: str) -> int:
    """``2G``, ``2g`` or ``1792M`` as a number of MiB."""
    return int(text[:-1]) * {"m": 1, "g": 1024}[text[-1].lower()]


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody accepts there; the process ending first is a failure."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen on port {port}")
