"""The figures of a run: lines for the terminal, a table for RESULTS.rst."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "tornado",
    "pycurl",
    "uvloop",
    "fastapi",
    "uvicorn",
    "httpx",
    "aiohttp",
)
MARKER = ".. figures of the last run"


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, ours, the other's, and the one by the other."""

    what: str
    ours: str
    other: str = ""
    ratio: float | None = None
    goal: str = ""

    def cells(self) -> tuple[str, ...]:
        """As texts, in the order of the table's columns."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.what, self.ours, self.other, ratio, self.goal)


HEADINGS = ("what", "ours", "beside", "ratio", "goal")


def table(rows: Iterable[Row]) -> str:
    """The rows as a simple table of reStructuredText."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(HEADINGS))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        # An empty first cell would read as the line before, continued.
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in (rule, lines[0], rule, *lines[1:], rule))


def machine() -> str:
    """Where and with what the figures were taken."""
    cpus = len(os.sched_getaffinity(0))
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{now}; {cpus} CPUs, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}."
    )


def write_results(path: Path, rows: Iterable[Row]) -> None:
    """Put the figures into the file, below its marker; what stands above remains."""
    kept = path.read_text().partition(MARKER)[0] if path.exists() else ""
    path.write_text(f"{kept}{MARKER}\n\n{machine()}\n\n{table(rows)}\n")
