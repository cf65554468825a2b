"""The page that lists the faults and their lines."""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from . import FAULTS
from .bench import Bench

PAGE = Path(__file__).parents[3] / "docs" / "faults-and-logs.rst"


class Told(NamedTuple):
    """A fault, and the line that told it."""

    group: str
    fault: str
    level: str
    line: str


def provoked() -> Iterator[Told]:
    """All faults, one after the other."""
    with ExitStack() as stack:
        bench = Bench(stack)
        for group, faults in FAULTS.items():
            for fault, provoke in faults.items():
                bench.platform.turn(clear="*", release="*")
                yield Told(group, fault, *map(without_chance, provoke(bench)))


def without_chance(line: str) -> str:
    """What stays the same from run to run."""
    line = line.replace(sys.executable, "python")
    line = re.sub(r"/\S*/(\.env)", r"/etc/aims-server/\1", line)
    line = re.sub(r"PORT=\d{4,5}\b", "PORT=3001", line)
    line = re.sub(r"(?<=127\.0\.0\.1:)\d{4,5}/0", "6379/0", line)
    line = re.sub(r"(?<=after )\d+\.\d+ s", "0.2 s", line)
    line = re.sub(r"(?<=after )\d+ s", "7 s", line)
    line = re.sub(r"\b\d+ (answers left|kept in|log lines)", r"7 \1", line)
    line = re.sub(r"(?<=took none for )\d+ s", "3 s", line)
    line = re.sub(r"(?<=lately took )\d+\.\d s", "0.3 s", line)
    line = re.sub(r"(?<=files, with )\d+ open", "0 open", line)  # some close late
    return re.sub(r"in \d+\.\d MB", "in 0.9 MB", line)


def page(told: list[Told]) -> str:
    """docs/faults-and-logs.rst."""
    text = """\
Faults and their lines
======================

For each fault, the first line that the log has about it, without its time.
``tests/process/faults`` provokes every fault on a running service and writes this page.
Lines on *stderr* are printed before the log begins.

A fault that occurs thousands of times is logged at once and then counted: "… 999 times
more in the last 60 s". The access line of a failed request has its ``code`` and
``upstreamSeconds``. Under systemd ``journalctl -u aims-server -p warning`` shows
warnings and everything worse.
"""
    for group in FAULTS:
        text += f"\n{group}\n{'-' * len(group)}\n\n"
        text += ".. list-table::\n   :widths: 30 8 62\n   :header-rows: 1\n\n"
        text += "   * - fault\n     - level\n     - line\n"
        for entry in told:
            if entry.group == group:
                text += f"   * - {entry.fault}\n     - {entry.level}\n"
                text += f"     - ``{entry.line}``\n"
    return text
