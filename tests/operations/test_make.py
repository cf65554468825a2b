"""The list of tasks, as one who has just cloned the repository meets it."""

import subprocess
from pathlib import Path

import pytest

from ..waiting import PATIENCE_SECONDS
from .programs import ROOT, program

pytestmark = pytest.mark.process

# Debian's without python3-venv, and with it once there is a file "pip".
PYTHON = """#!/bin/sh
mkdir -p .venv/bin && cp /bin/true .venv/bin/python
test -e pip && cp pip .venv/bin
"""


def make(directory: Path) -> int:
    """The exit status of a set-up there."""
    return subprocess.run(
        [program("make"), "PYTHON=./python", ".venv/base.stamp"],
        cwd=directory,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    ).returncode


def test_a_set_up_that_failed_is_begun_again(tmp_path: Path):
    """make set-up works again once the missing program is installed."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("setup.py", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    assert make(tmp_path) != 0
    (tmp_path / "pip").touch(0o755)
    assert make(tmp_path) == 0
    assert (tmp_path / ".venv" / "bin" / "pip").exists()
