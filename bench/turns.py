"""One load on several servers in turn, round after round, so that whatever else the
machine does falls on all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .load import Rate, Request, ask, drive, median
from .processes import Server
from .report import Row, at_least

Side = tuple[Server, Request]
"""A server, and what it is asked."""


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds in turn, and seconds a turn."""

    rounds: int = 3
    seconds: int = 1


def warm(server: Server, *requests: Request) -> None:
    """Let every worker of a server have had each request."""
    for request in requests:
        ask(server.url, [request] * 300, at_once=100)  # raises if there is a failure
        drive(server.url, request, 50, 1)


def beside(
    what: str,
    sides: Sequence[Side],
    connections: int,
    pace: Pace,
    goals: Mapping[str, float] | None = None,
) -> Iterator[Row]:
    """The first side beside each of the others: medians, and the median of the ratios
    within the rounds. ``goals`` are least ratios, by the other's name.
    """
    for server, request in sides:
        ask(server.url, [request] * 20, at_once=10)
    # A goal is judged by more rounds: one that is disturbed decides less.
    number = 2 * pace.rounds - 1 if goals else pace.rounds
    rounds = [
        [
            drive(server.url, request, connections, pace.seconds)
            for server, request in sides
        ]
        for _ in range(number)
    ]
    ours, *others = zip(*rounds, strict=True)
    for (server, _), rates in zip(sides[1:], others, strict=True):
        ratio = median(
            a.per_second / b.per_second for a, b in zip(ours, rates, strict=True)
        )
        least = (goals or {}).get(server.name)
        yield Row(
            what,
            _text(ours),
            f"{server.name} {_text(rates)}",
            ratio,
            at_least(least, ratio) if least else None,
        )
        what = ""


def _text(rates: Sequence[Rate]) -> str:
    per_second = median(rate.per_second for rate in rates)
    p99 = 1000 * median(rate.p99 for rate in rates)
    failed = sum(rate.failed for rate in rates)
    told = f"{per_second:.0f}/s, p99 {p99:.0f} ms"
    return f"{told}, {failed} FAILED" if failed else told
