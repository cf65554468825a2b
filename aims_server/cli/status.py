"""``aims-server status``: prints a running service's figures as tables."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from .figures import Figures, readings

__all__ = ["Section", "as_text", "describe", "watch"]

_STATES: Final = {
    "serving": "serving",
    "replacing": "serving; workers that were replaced leave",
    "draining": "draining: stops soon",
}


class Section(NamedTuple):
    """A table: its title, the names of its columns, its rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def describe(before: Figures, after: Figures, seconds: float) -> Iterator[Section]:
    """The tables of a service; rates are those between the two readings."""
    yield _now(before, after, seconds)
    yield _platform(after["upstream"]["endpoints"])
    yield _workers(before["workers"], after["workers"], seconds)
    limited = after["requests"]["limitedBy"]
    yield Section(
        "Refused by a limit",
        ("limit", "requests"),
        [(kind, str(number)) for kind, number in limited.items()],
    )


def _now(before: Figures, after: Figures, seconds: float) -> Section:
    def rate(group: str, name: str) -> str:
        # Counts begin again with the service.
        more = max(0, after[group][name] - before[group][name])
        return f"{more / seconds:.1f}/s"

    requests, cache, upstream = after["requests"], after["cache"], after["upstream"]
    found = cache["hit"] + cache["stale"] + cache["pending"]
    looked_up = found + cache["miss"]
    latency = after["latencySeconds"]
    return Section(
        "Now",
        ("figure", "value"),
        [
            ("state", _STATES[after["state"]]),
            ("requests", rate("requests", "total")),
            ("under way", str(requests["inProgress"])),
            ("failing (5xx)", rate("errors", "server")),
            ("refused by a limit", rate("requests", "limited")),
            ("latency p50 / p99", f"{_ms(latency['p50'])} / {_ms(latency['p99'])}"),
            ("found in the cache", f"{found / looked_up:.1%}" if looked_up else "-"),
            ("kept by workers", f"{cache['entries']} in {_mb(cache['bytes'])}"),
            ("evicted", str(cache["evictions"])),
            ("calls under way", f"{upstream['inUse']} of {upstream['limit']}"),
            ("calls waiting", str(upstream["waiting"])),
            ("loop lag p99", _ms(after["loopLagSeconds"]["p99"])),
            ("log lines lost", str(after["logLinesLost"])),
        ],
    )


def _platform(endpoints: Figures) -> Section:
    return Section(
        "Platform",
        ("endpoint", "calls", "failed", "token refused", "p50", "p99", "circuit"),
        [
            (
                name,
                str(sum(endpoint["calls"].values())),
                str(_failed(endpoint["calls"])),
                str(endpoint["calls"]["unauthorized"]),
                _ms(endpoint["latencySeconds"]["p50"]),
                _ms(endpoint["latencySeconds"]["p99"]),
                endpoint["breaker"],
            )
            for name, endpoint in endpoints.items()
        ],
    )


def _workers(before: Figures, after: Figures, seconds: float) -> Section:
    return Section(
        "Workers",
        ("worker", "memory", "cpu", "up", "reloads", "state", "circuits"),
        [
            (
                name,
                _mb(worker["residentBytes"]),
                _cpu(before.get(name), worker, seconds),
                str(timedelta(seconds=max(0, int(time.time() - worker["startTime"])))),
                str(worker["generation"]),
                "leaving" if worker["leaving"] else "serving",
                worker["breaker"],
            )
            for name, worker in after.items()
        ],
    )


def as_text(sections: Iterator[Section]) -> str:
    """Tables of plain text, columns aligned."""
    lines = []
    for section in sections:
        rows = [section.columns, *section.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append(section.title)
        lines += (
            "  "
            + "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )
        lines.append("")
    return "\n".join(lines)


def watch(url: str, token: str | None) -> None:
    """Draw the tables every second until interrupted; raises ImportError without Rich,
    which the extra ``status`` installs.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    def drawn(section: Section) -> Table:
        table = Table(title=section.title, title_justify="left", expand=True)
        for at, column in enumerate(section.columns):
            table.add_column(column, justify="right" if at else "left")
        for row in section.rows:
            bad = row[-1] in ("open", "half-open")
            table.add_row(*row, style="bold red" if bad else None)
        return table

    # Python drops a KeyboardInterrupt in a destructor or a callback (seen once: the
    # program went on). A flag is always looked at.
    interrupts: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        with Live(screen=True, auto_refresh=False) as live:
            for reading in readings(url, token):
                if interrupts:
                    raise KeyboardInterrupt
                live.update(Group(*map(drawn, describe(*reading))), refresh=True)
    finally:
        signal.signal(signal.SIGINT, previous)


def _failed(calls: dict[str, int]) -> int:
    return sum(n for outcome, n in calls.items() if outcome.startswith("upstream_"))


def _cpu(before: Figures | None, after: Figures, seconds: float) -> str:
    if before is None or before["startTime"] != after["startTime"]:
        return "-"
    return f"{(after['cpuSeconds'] - before['cpuSeconds']) / seconds:.0%}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _mb(number: float) -> str:
    return f"{number / 2**20:.1f} MB"
