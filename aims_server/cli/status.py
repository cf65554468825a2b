"""``aims-server status``: a running service's figures in a terminal.

They are read from ``/metrics`` of the service that the settings describe, twice, a
second apart, so that rates can be told.
"""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPException
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from ..config import Settings

__all__ = [
    "NoAnswer",
    "Section",
    "as_text",
    "checked_url",
    "describe",
    "read_figures",
    "readings",
    "service_url",
    "watch",
]

_PATIENCE_SECONDS: Final = 5.0
_EVERY_SECONDS: Final = 1.0
_SHOWN: Final = {
    *("state", "requests", "errors", "latencySeconds"),
    *("cache", "upstream", "workers"),
}
_STATES: Final = {
    "serving": "serving",
    "replacing": "serving; workers that were replaced leave",
    "draining": "draining: stops soon",
}

Figures = dict[str, Any]


class NoAnswer(Exception):
    """The service gave no figures; the message is one line."""


class Section(NamedTuple):
    """A table: its title, the names of its columns, its rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def service_url(settings: Settings) -> str:
    """Where a service with these settings is reached from this machine."""
    host = settings.hosts[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


def checked_url(url: str) -> str:
    """The URL that somebody typed, whose scheme may be left out; raises
    :class:`NoAnswer`.
    """
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # of a port that is none, or half a pair of brackets
        known = False
    if not known or not parts.hostname:
        raise NoAnswer("--url must be http://host:port")
    return url


def read_figures(url: str, token: str | None) -> Figures:
    """The figures of all workers; raises :class:`NoAnswer`."""
    # Whatever http_proxy says: the service is on this machine, or named by --url.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(
            f"{url}/metrics", headers={"Accept": "application/json"}
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            figures = json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            hint = _hint_of_refusal(refusal.code, token)
            raise NoAnswer(f"{url} answered {refusal.code}{hint}") from None
    except (OSError, ValueError, HTTPException, RecursionError) as failure:
        reason = getattr(failure, "reason", failure)
        why = getattr(reason, "strerror", None) or str(reason)
        if isinstance(reason, ConnectionRefusedError):
            why += " (is it running there? HOST and PORT or --url say where it is)"
        raise NoAnswer(f"no figures from {url}: {why}") from None
    if not isinstance(figures, dict) or not figures.keys() >= _SHOWN:
        raise NoAnswer(f"{url} is not aims-server, or another version of it")
    return figures


def _hint_of_refusal(status: int, token: str | None) -> str:
    match status:
        case 401:
            return f": METRICS_TOKEN is {'another one' if token else 'not set here'}"
        case 429:
            return ": too many wrong METRICS_TOKEN from this address; wait a minute"
    return ""


def describe(before: Figures, after: Figures, seconds: float) -> Iterator[Section]:
    """What a person wants to know; rates are those between the two readings."""
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
        return f"{(after[group][name] - before[group][name]) / seconds:.1f}/s"

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
            ("kept", f"{cache['entries']} in {_mb(cache['bytes'])}"),
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
        ("endpoint", "calls", "failed", "p50", "p99", "circuit"),
        [
            (
                name,
                str(sum(endpoint["calls"].values())),
                str(_failed(endpoint["calls"])),
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


def readings(url: str, token: str | None) -> Iterator[tuple[Figures, Figures, float]]:
    """Two readings and the time between them, again and again."""
    before, began = read_figures(url, token), time.monotonic()
    while True:
        time.sleep(_EVERY_SECONDS)
        after, now = read_figures(url, token), time.monotonic()
        yield before, after, now - began
        before, began = after, now


def watch(url: str, token: str | None) -> None:
    """Draw them anew every second until interrupted; raises ImportError without Rich,
    which the extra ``status`` brings.
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

    # A KeyboardInterrupt that falls into a destructor or a callback is dropped by
    # Python (seen once: the program went on). A flag is always looked at.
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
