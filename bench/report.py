"""The figures of a run: a line as each is had, the tables, and RESULTS.rst."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "tornado",
    "pycurl",
    "msgspec",
    "uvloop",
    "fastapi",
    "uvicorn",
    "httptools",
    "httpx",
    "aiohttp",
    "cachetools",
)
MARKER = ".. figures of the last run"
HEADING = re.compile(r"^([\w:-]+)\n-+\n", re.MULTILINE)
"""A section's: its name and the line under it."""
RULE = re.compile("=+(?:  =+)+")
"""The lines above and below a table and its head."""
HEADINGS = ("what", "ours", "beside", "ratio", "goal")


@dataclass(frozen=True)
class Goal:
    """A bound on a figure, and whether it was kept."""

    bound: str
    met: bool

    def __str__(self) -> str:
        return f"{self.bound}: {'met' if self.met else 'MISSED'}"


def at_least(least: float, found: float) -> Goal:
    """For a ratio that should be large."""
    return Goal(f"at least {least:g}", found >= least)


def at_most(most: float, found: float, unit: str = "") -> Goal:
    """For a figure that should be small."""
    return Goal(f"at most {most:g}{unit}", found <= most)


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, ours, the other's, and the one by the other."""

    what: str
    ours: str
    other: str = ""
    ratio: float | None = None
    goal: Goal | None = None

    def cells(self) -> tuple[str, ...]:
        """As texts, in the order of the table's columns."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.what, self.ours, self.other, ratio, str(self.goal or ""))


@dataclass(frozen=True)
class Section:
    """The rows of one benchmark, under its name and what it shows."""

    name: str
    shows: str
    rows: Sequence[Row]


def table(rows: Iterable[Row]) -> str:
    """The rows as a simple table of reStructuredText."""
    cells: list[tuple[str, ...]] = []
    for what, *figures in map(Row.cells, rows):
        # Named again: a row without its first cell would be part of the row above.
        cells.append((what or cells[-1][0], *figures))
    return _table_of(cells)


def _table_of(rows: Iterable[Sequence[str]]) -> str:
    cells = [HEADINGS, *rows]
    widths = [max(len(line[n]) for line in cells) for n in range(len(HEADINGS))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in (rule, lines[0], rule, *lines[1:], rule))


def machine() -> str:
    """Where, when and with what the figures were taken."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {len(os.sched_getaffinity(0))} CPUs "
        f"({_processor()}), Linux {platform.release()}, Python "
        f"{platform.python_version()}; {', '.join(versions)}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def written(sections: Iterable[Section]) -> str:
    """What a run has to say: the goals first, then all figures."""
    parts = []
    goals: list[list[str]] = []
    for section in sections:
        figures = table(section.rows)
        parts += [_heading(section.name), section.shows, figures]
        goals += _with_goal(figures)
    first = [_heading("Goals"), _table_of(goals)] if goals else []
    return "\n\n".join([machine(), *first, *parts])


def _heading(text: str) -> str:
    return f"{text}\n{'-' * len(text)}"


def _with_goal(text: str) -> list[list[str]]:
    """The rows of the tables in a text that have a goal, as their cells."""
    rows = []
    columns: list[slice] = []
    for line in text.splitlines():
        if RULE.fullmatch(line):
            columns = [slice(*column.span()) for column in re.finditer("=+", line)]
        elif columns and line.endswith((": met", ": MISSED")):
            rows.append([line[column].strip() for column in columns])
    return rows


def write_results(path: Path, section: Section, order: Sequence[str]) -> None:
    """Put a section into the file in place of its last figures, below the marker and
    in ``order``; what stands above remains, and so do the other known sections.
    The goals of all of them stand first.
    """
    above, _, below = path.read_text().partition(MARKER)
    _, *parts = HEADING.split(below)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    texts[section.name] = f"{machine()}\n\n{section.shows}\n\n{table(section.rows)}"
    known = [
        f"{_heading(name)}\n\n{texts[name].strip()}" for name in order if name in texts
    ]
    goals = _table_of(row for text in known for row in _with_goal(text))
    head = ("Figures of the last runs\n========================", _heading("Goals"))
    path.write_text("\n\n".join((f"{above}{MARKER}", *head, goals, *known)) + "\n")
